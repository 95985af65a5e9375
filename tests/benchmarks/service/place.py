"""A place with a database, studies in it, and the service as a process of its own."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where pytest finds these modules by itself

from servers import new_database, start_server
from sqlalchemy import text
from workspace import Workspace

from search.storage.database import Storage, create_storage
from search.storage.table_copy import Tables
from search.study.study import StoredStudy
from tests.browser.large import fill_study

FILLED = [
    *("trials", "trial_params", "trial_values", "trial_intermediate_values"),
    "makemore_attempts",
]
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def places(kind: str) -> Iterator[Any]:
    """A function that makes an empty place, with a SQLite file or a database of PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="service-") as directory:
        root = Path(directory)
        server = start_server(root / "server") if kind == "postgresql" else None

        def new(name: str) -> Workspace:
            (root / name).mkdir()
            if server is None:
                return Workspace(root / name)
            url = new_database(server)
            create_storage(url).close()
            return Workspace(root / name, url)

        yield new
        if server is not None:
            server.cleanup()


def fill(place: Workspace, done: int, open_ones: int, trials: int) -> None:
    """Adds studies: some whose budget is met, and some that have half of it."""
    for number in range(done + open_ones):
        stored = place.create(study={"name": f"study-{number:03d}"}, budget={"trials": trials})
        count = trials if number < done else trials // 2
        fill_study(place.storage, stored, count, reports=10, taken=number * trials)
    _settle(place.storage)
    place.close()


def _settle(storage: Storage) -> None:
    """Leaves the database as one that has been in use for long."""
    with storage.write() as connection:
        filled = Tables(connection, FILLED)
        for name in filled.names:
            filled.advance_sequences(name)
    with storage.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


@dataclass
class Running:
    """A service that runs."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """Seconds of a processor that the service's own process has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def serving(place: Workspace, workers: int) -> Iterator[Running]:
    """The service over a place, until the block ends."""
    process = place.start("serve", "--workers", workers, "--port", 0, "--writable")
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert " on http" in line, line + process.stderr.read()
        yield Running(line.split(" on ")[-1].split("/ ")[0], process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def steady_study(place: Workspace, name: str, examples: int) -> StoredStudy:
    """A study without an end whose trials all cost the same."""
    fixed = {"embedding_size": 16, "hidden_width": 128, "block_size": 3, "batch_size": 128}
    return place.create(
        study={"name": name},
        budget={"trials": 1_000_000, "examples": examples, "evaluations": 20},
        search=fixed | {"schedule": "cosine", "optimizer": "adamw"},
        sampler={"kind": "random"},
        pruner={"kind": "none"},
    )
