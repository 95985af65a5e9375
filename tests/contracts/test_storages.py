"""Optuna's own storage contract, on storages as this program opens them, for every database."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase
from servers import new_database
from sqlalchemy.engine import make_url
from workspace import Workspace

from search.storage.database import create_storage, open_storage

Empty = Callable[[], str]
"""Gives the URL of a database of its own, without studies."""


@pytest.fixture(scope="session")
def postgresql(postgresql_server: Any) -> Empty:
    """Each call makes a copy of an empty database, which is quicker than to make the tables."""
    first = new_database(postgresql_server)
    create_storage(first).close()
    return lambda: new_database(postgresql_server, template=str(make_url(first).database))


LONG = pytest.mark.long
HOMES = [
    pytest.param("UTC", "sqlite", id="sqlite"),
    pytest.param("UTC", "postgresql", id="postgresql"),
    pytest.param("America/New_York", "sqlite", id="sqlite in New York", marks=LONG),
    pytest.param("America/New_York", "postgresql", id="postgresql in New York", marks=LONG),
]


@pytest.fixture
def storage(
    request: pytest.FixtureRequest, zone: str, kind: str, bed: Workspace
) -> Iterator[BaseStorage]:
    """What the search hands to Optuna, over a new database."""
    if kind == "sqlite":
        yield bed.storage.optuna
        return
    opened = open_storage(request.getfixturevalue(kind)())
    yield opened.optuna
    opened.close()


@pytest.mark.parametrize(("zone", "kind"), HOMES, indirect=["zone"])
class TestContract(StorageTestCase):
    """Every promise of an Optuna storage holds for ours."""

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_pickle_storage(self, storage: BaseStorage) -> None:
        """As Optuna has it; the copy's connection is left to the collector, which comes here."""
        super().test_pickle_storage(storage)
        gc.collect()
