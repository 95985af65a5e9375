"""SQLite files on file systems without hard links or without locks."""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from search.errors import StorageUnavailable

LOCK_SECONDS = 60.0


def put_in_place(new: Path, path: Path) -> None:
    """Gives a complete new database its name, unless another process was first.

    A hard link does that in one step. On a file system without hard links, or over an empty file,
    the tables are copied into the file in one transaction: SQLite's lock admits one process, and
    what a killed process left is rolled back.

    Raises:
        OSError: the file cannot be written.
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
    schema = target.execute(
        "SELECT type, name, sql FROM new.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE "
        "'sqlite!_%' ESCAPE '!' ORDER BY type = 'table' DESC, rowid"
    ).fetchall()
    for kind, name, sql in schema:
        target.execute(sql)
        if kind == "table":
            target.execute(f'INSERT INTO main."{name}" SELECT * FROM new."{name}"')


def check_lockable(directory: Path, redacted: str) -> None:
    """Raises StorageUnavailable if files in a directory cannot be locked.

    SQLite itself would take that for a lock of another process and wait for it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent  # it will be created, on the same file system
    probe = directory / f".locks.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        file = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:  # it cannot be written, which other checks report
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StorageUnavailable(
            f"storage {redacted}: files in {directory} cannot be locked ({error.strerror}); "
            "put it on a local disk (--data-dir, --storage), or use PostgreSQL"
        ) from None
    finally:
        os.close(file)
        probe.unlink(missing_ok=True)
