"""SQLite files on file systems that lack something: hard links, or locks."""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from search.errors import StorageUnavailable

LOCK_SECONDS = 60.0


def put_in_place(new: Path, path: Path) -> None:
    """Gives a whole new database its name, unless somebody else was first.

    A hard link does that in one step. Where there are none, or an empty file is there already, the
    tables are copied into it in one transaction: SQLite's lock lets one process begin, and what a
    killed one left is rolled back.

    Raises:
        OSError: nothing can be written there.
    """
    try:
        os.link(new, path)
    except FileExistsError:
        if path.stat().st_size == 0:
            _copy_tables(new, path)
    except OSError:
        _copy_tables(new, path)


def _copy_tables(new: Path, path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as target:
            target.execute("ATTACH ? AS new", [str(new)])
            target.execute("BEGIN IMMEDIATE")
            if not target.execute("SELECT 1 FROM main.sqlite_master").fetchall():
                _copy_into(target)
            target.execute("COMMIT")
    except sqlite3.Error as error:
        raise OSError(str(error)) from error


def _copy_into(target: sqlite3.Connection) -> None:
    made = target.execute(
        "SELECT type, name, sql FROM new.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE "
        "'sqlite!_%' ESCAPE '!' ORDER BY type = 'table' DESC, rowid"
    ).fetchall()
    for kind, name, sql in made:
        target.execute(sql)
        if kind == "table":
            target.execute(f'INSERT INTO main."{name}" SELECT * FROM new."{name}"')


def check_lockable(directory: Path, told: str) -> None:
    """Raises StorageUnavailable where files cannot be locked, which SQLite itself takes for a lock
    that somebody else holds, and waits for."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent  # it is to be made, on the same file system
    probe = directory / f".locks.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        file = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:  # it cannot be written, which others tell
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StorageUnavailable(
            f"storage {told}: files in {directory} cannot be locked ({error.strerror}); put it on "
            "a local disk (--data-dir, --storage), or use PostgreSQL"
        ) from None
    finally:
        os.close(file)
        probe.unlink(missing_ok=True)
