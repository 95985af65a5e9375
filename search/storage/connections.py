"""Connects to SQLite and PostgreSQL, and sets their connections up."""

import functools
import logging
import sqlite3
from typing import Any

from sqlalchemy import (
    Engine,
    NullPool,
    create_engine,
)
from sqlalchemy.engine import URL

from search.storage.urls import sqlite_uri

log = logging.getLogger(__name__)


BUSY_SECONDS = 60
"""The time that SQLite itself waits for another writer, unless the URL says otherwise."""


IDLE_TRANSACTION_SECONDS = 30
"""The time after which PostgreSQL ends the transaction of a process that was stopped within it."""


MAX_CONNECTIONS = 12
"""To PostgreSQL, of one open storage: as many as a service has threads that may ask it at the same
time, so that none waits for another's. Each is opened when it is first needed; a worker needs
two."""


def _engine_options(url: URL, *, create: bool) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        arguments: dict[str, Any] = {"timeout": BUSY_SECONDS}
        if create:
            return {"connect_args": arguments}
        arguments.update(url.get_dialect()().create_connect_args(url)[1], uri=True)
        return {"creator": functools.partial(sqlite3.connect, sqlite_uri(url), **arguments)}
    limits = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
    missing = {name: value for name, value in limits.items() if name not in url.query}
    return {
        "pool_pre_ping": True,
        "pool_size": MAX_CONNECTIONS,
        "max_overflow": 0,
        "connect_args": missing,
    }


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """A rollback journal that survives a power cut. No WAL: before SQLite 3.51.3 it can corrupt.

    A database that another program holds open in WAL mode stays in it. Temporary tables are kept in
    memory, since not every machine has a directory for them.
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
    """Warns once in each process, if its SQLite may corrupt such a database."""
    if sqlite3.sqlite_version_info < (3, 51, 3):
        log.warning(
            "storage: another program holds this database open in WAL mode, where SQLite %s can "
            "damage it when two processes write at once; close that program",
            sqlite3.sqlite_version,
        )


def _set_up_postgresql(connection: Any, _record: object) -> None:
    """Limits the wait for a lock, and for a process that was stopped while it held one."""
    limits = {
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_SECONDS,
        "lock_timeout": BUSY_SECONDS,
    }
    for name, seconds in limits.items():
        connection.execute(f"SET {name} = '{seconds}s'").close()
    connection.commit()


def _probe_engine(url: URL) -> Engine:
    """An engine for a look at a database that exists, before anything else is done with it."""
    options = _engine_options(url, create=False)
    kept = {name: options[name] for name in ("creator", "connect_args") if name in options}
    return create_engine(url, poolclass=NullPool, **kept)
