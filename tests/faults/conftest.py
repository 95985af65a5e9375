"""Places for the fault tests, on either database."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import new_database

from .harness import Place
from .scenarios import CannotMount

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


@pytest.fixture
def act_on_postgresql(postgresql_server: Any, tmp_path: Path) -> Callable[[Act], None]:
    """Acts a scenario out on PostgreSQL."""

    def acted(scene: Act) -> None:
        url = new_database(postgresql_server)
        scene(Place(tmp_path, url, server=postgresql_server), random.Random(1))

    return acted
