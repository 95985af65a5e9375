"""A database URL to an engine and Optuna's storage. The only place that knows a dialect."""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    StaticPool,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    SQLAlchemyError,
)
from sqlalchemy.sql import ColumnElement

from search.errors import StorageUnavailable
from search.retry import _open_files, error_summary, retry_storage
from search.storage import clock, migrations, sqlite_files, tables
from search.storage.checks import (
    _check_foreign_tables,
    _check_integrity,
    _check_writable,
    check_optuna_version,
)
from search.storage.connections import (
    _engine_options,
    _probe_engine,
    _set_up_postgresql,
    _set_up_sqlite,
)
from search.storage.urls import parse_url, plain_url, redacted_url, sqlite_path
from search.system.processes import LeaseObserver

log = logging.getLogger(__name__)


class Storage:
    """One open database: Optuna's storage and our tables share its engine."""

    def __init__(self, url: URL, rdb: RDBStorage, lease_observer: LeaseObserver) -> None:
        self.url = url
        self.engine: Engine = rdb.engine
        self.optuna: BaseStorage = get_storage(rdb)  # with Optuna's cache of finished trials
        self.lease_observer = lease_observer
        self.failures = 0
        """Statements and commits that failed so far, also those that Optuna tried again itself."""
        event.listen(self.engine, "handle_error", self._count_failure)
        if (path := sqlite_path(url)) is not None:
            _open_files[id(self)] = path.absolute()

    @property
    def redacted_url(self) -> str:
        """The URL for people: without a password."""
        return redacted_url(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short read."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A short transaction that is the only writer from its first statement on.

        SQLite: BEGIN IMMEDIATE, since it knows no SELECT FOR UPDATE and a transaction that only
        later turns to writing can fail at once. On PostgreSQL the caller locks the study's row.
        """
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def now(self) -> ColumnElement[float]:
        """The database's clock, in seconds since 1970; see `clock.py`."""
        return clock.now()

    def lately(self, seen_at: ColumnElement[float]) -> ColumnElement[bool]:
        """Whether a process gave a sign of life within the time of a lease."""
        return clock.lately(seen_at)

    def set_read_only(self) -> None:
        """From now on the database itself refuses to be written over this storage's connections.

        SQLite: not `mode=ro`, which cannot roll back what a killed writer left behind.
        """
        sqlite = self.engine.dialect.name == "sqlite"
        statement = "PRAGMA query_only = ON" if sqlite else "SET default_transaction_read_only = on"

        def set_up(connection: Any, _record: object) -> None:
            connection.execute(statement).close()
            connection.commit()

        event.listen(self.engine, "connect", set_up)
        self.engine.dispose()  # connections from before the listener

    def limit_waiting(self, seconds: float) -> None:
        """From now on a statement over this storage's connections waits at most so long for a lock,
        as somebody waits for its answer."""
        sqlite = self.engine.dialect.name == "sqlite"
        milliseconds = round(1000 * seconds)
        setting = "PRAGMA busy_timeout" if sqlite else "SET lock_timeout"

        def set_up(connection: Any, _record: object) -> None:
            connection.execute(f"{setting} = {milliseconds}").close()
            connection.commit()

        event.listen(self.engine, "connect", set_up)
        self.engine.dispose()  # connections from before the listener

    def _count_failure(self, _context: object) -> None:
        self.failures += 1

    def close(self) -> None:
        _open_files.pop(id(self), None)
        self.optuna.remove_session()
        self.engine.dispose()


def open_storage(raw_url: str, *, wait: bool = False, writing: bool = False) -> Storage:
    """Opens a database that exists and holds our tables; creates nothing.

    Args:
        wait: whether to ride out a database that is locked or gone, as `patient` does. A launcher
            fails at once when it cannot start; a worker that it replaces must not.
        writing: whether one that cannot be written is of no use.

    Raises:
        StorageUnavailable: one line that says what, where and what would be right.
    """
    url = parse_url(raw_url)
    redacted = redacted_url(url)
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        what = "is a directory" if path.is_dir() else "no such database"
        raise StorageUnavailable(f"storage {redacted}: {what}; `run STUDY.toml` creates one")
    with _as_storage_unavailable(redacted):
        if writing:
            if path is not None:
                sqlite_files.check_lockable(path.parent, redacted)
            _check_writable(url, path, redacted)
        return retry_storage(_open)(url, redacted) if wait else _open(url, redacted)


def create_storage(raw_url: str) -> Storage:
    """Opens a database to work on, making it first if it is not there: whole or not at all.

    A SQLite file is built beside its place and then put there, so that of several processes that
    create it at once exactly one wins and none ever sees half a schema. One that is there is
    checked: a damaged one, or one that cannot be written, is refused and left as it is.
    """
    url = parse_url(raw_url)
    path = sqlite_path(url)
    redacted = redacted_url(url)
    with _as_storage_unavailable(redacted):
        if path is not None and not (path.exists() and path.stat().st_size):
            _create_file(url, path, redacted)
        elif path is not None:
            sqlite_files.check_lockable(path.parent, redacted)
            _check_integrity(url, redacted)
        if not _has_our_tables(url):
            _check_foreign_tables(url, path, redacted)
            _create_tables(url if path is None else plain_url(url, path))
        _check_writable(url, path, redacted)
    return open_storage(raw_url)


def _create_file(url: URL, path: Path, redacted: str) -> None:
    sqlite_files.check_lockable(path.parent.absolute(), redacted)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _create_tables(plain_url(url, temporary))
        sqlite_files.put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _create_tables(url: URL) -> None:
    """Adds Optuna's tables and ours; of several processes at once, one after the other."""
    guard = create_engine(url, poolclass=NullPool)
    with guard.connect() as connection:
        if url.get_backend_name() == "postgresql":  # held until this connection is closed
            connection.execute(text("SELECT pg_advisory_lock(7215533)"))
        rdb = _rdb_storage(url, create=True)
        _add_our_tables(rdb.engine)
        rdb.remove_session()
        rdb.engine.dispose()


def _add_our_tables(engine: Engine) -> None:
    with engine.begin() as transaction:
        tables.metadata.create_all(transaction)
        if transaction.execute(select(tables.schema)).first() is None:
            transaction.execute(tables.schema.insert().values(id=1, version=tables.SCHEMA_VERSION))


@contextmanager
def new_database_in_memory() -> Iterator[Engine]:
    """One without studies, to look at its schema."""
    options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    rdb = RDBStorage("sqlite://", engine_kwargs=options)
    try:
        _add_our_tables(rdb.engine)
        yield rdb.engine
    finally:
        rdb.remove_session()
        rdb.engine.dispose()


def _open(url: URL, redacted: str) -> Storage:
    lease_observer = LeaseObserver()
    if not _has_our_tables(url):
        raise StorageUnavailable(
            f"storage {redacted}: holds no studies of this program; `run STUDY.toml` adds them"
        )
    rdb = _rdb_storage(url, create=False)
    try:
        version = migrations.migrate(rdb.engine)
    except BaseException:
        rdb.engine.dispose()
        raise
    if version > tables.SCHEMA_VERSION:
        rdb.engine.dispose()
        raise StorageUnavailable(
            f"storage {redacted}: its tables have version {version}, written by a newer program; "
            f"this one supports versions up to {tables.SCHEMA_VERSION}: use the newer one"
        )
    return Storage(url, rdb, lease_observer)


class _ClosingRDBStorage(RDBStorage):
    """Optuna's storage, which closes its connections where it refuses the schema that it finds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise


def _rdb_storage(url: URL, *, create: bool) -> RDBStorage:
    check_optuna_version()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Optuna sends the URL through str.format, which a brace in a password would break.
    raw = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    options = _engine_options(url, create=create)
    rdb = _ClosingRDBStorage(raw, engine_kwargs=options, skip_table_creation=not create)
    set_up = _set_up_sqlite if url.get_backend_name() == "sqlite" else _set_up_postgresql
    event.listen(rdb.engine, "connect", set_up)
    rdb.engine.dispose()  # connections from before the listener
    return rdb


def _has_our_tables(url: URL) -> bool:
    return inspect(_probe_engine(url)).has_table(tables.schema.name)


@contextmanager
def _as_storage_unavailable(redacted: str) -> Iterator[None]:
    """Database errors as one line; a password never stands in it."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageUnavailable(
            f"storage {redacted}: cannot be used ({error_summary(error)})"
        ) from error
    except RuntimeError as error:  # Optuna: the schema is of another version
        cause = str(error).strip().splitlines()[0]
        raise StorageUnavailable(f"storage {redacted}: {cause[:200]}") from error
    except OSError as error:
        raise StorageUnavailable(f"storage {redacted}: {error.strerror or error}") from error
