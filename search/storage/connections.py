"""How SQLite and PostgreSQL are connected to and set up."""

import functools
import logging
import sqlite3
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    Engine,
    NullPool,
    create_engine,
)
from sqlalchemy.engine import URL

log = logging.getLogger(__name__)


BUSY_SECONDS = 60
"""How long SQLite itself waits for another writer."""


IDLE_TRANSACTION_SECONDS = 30
"""After so long PostgreSQL ends the transaction of a process that was stopped within one."""


def _engine_options(url: URL, *, create: bool) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}}
        if not create and not url.query:
            options["creator"] = functools.partial(_connect_to_file, str(url.database))
        return options
    vanished = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
    arguments = {name: value for name, value in vanished.items() if name not in url.query}
    return {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 2, "connect_args": arguments}


def _connect_to_file(path: str) -> sqlite3.Connection:
    """To a file that exists: one that was removed is never made again, empty, in passing."""
    return sqlite3.connect(
        f"file:{quote(path)}?mode=rw", timeout=BUSY_SECONDS, uri=True, check_same_thread=False
    )


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """A rollback journal that survives a power cut. No WAL: before SQLite 3.51.3 it can corrupt.

    A database that another program holds open in WAL mode cannot leave it: it is used as it is.
    Temporary tables stay in memory: not every machine has a directory for them.
    """
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()
    try:
        connection.execute("PRAGMA journal_mode = DELETE").close()
    except sqlite3.OperationalError as error:
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        if "locked" not in str(error) or mode != ("wal",):
            raise
        _warn_of_wal()


@functools.cache
def _warn_of_wal() -> None:
    """Said once by each process, of a SQLite that may corrupt such a database."""
    if sqlite3.sqlite_version_info < (3, 51, 3):
        log.warning(
            "storage: another program holds this database open in WAL mode, where SQLite %s can "
            "damage it when two processes write at once; close that program",
            sqlite3.sqlite_version,
        )


def _set_up_postgresql(connection: Any, _record: object) -> None:
    """Nobody waits for ever for a lock, nor for a process that was stopped while it held one."""
    limits = {
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_SECONDS,
        "lock_timeout": BUSY_SECONDS,
    }
    for name, seconds in limits.items():
        connection.execute(f"SET {name} = '{seconds}s'").close()
    connection.commit()


def _probe_engine(url: URL) -> Engine:
    """For a look at a database that exists, before anything else is done with it."""
    arguments = _engine_options(url, create=True)["connect_args"]
    return create_engine(url, poolclass=NullPool, connect_args=arguments)
