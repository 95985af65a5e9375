"""Places for the fault tests, on either database."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import new_database

from .harness import FaultRun, NotHere

Act = Callable[[FaultRun, random.Random], None]


@pytest.fixture
def act(tmp_path: Path) -> Callable[[Act], None]:
    """Acts a scenario out on SQLite; skipped, with the reason, where it needs what is not there."""
    return lambda scene: _act(scene, FaultRun(tmp_path, f"sqlite:///{tmp_path}/runs/studies.db"))


@pytest.fixture
def act_on_postgresql(postgresql_server: Any, tmp_path: Path) -> Callable[[Act], None]:
    """As `act`, on PostgreSQL."""
    url = new_database(postgresql_server)
    return lambda scene: _act(scene, FaultRun(tmp_path, url, server=postgresql_server))


def _act(scene: Act, place: FaultRun) -> None:
    try:
        scene(place, random.Random(1))
    except NotHere as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))
