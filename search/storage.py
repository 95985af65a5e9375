"""A database URL to an engine and Optuna's storage. The only place that knows a dialect."""

import contextlib
import functools
import logging
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import (
    Connection,
    Engine,
    Float,
    cast,
    create_engine,
    event,
    extract,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.sql import ColumnElement

from search import tables
from search.errors import StorageLost, StorageUnusable

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)

BUSY_SECONDS = 60
"""How long SQLite itself waits for another writer."""
PATIENCE_SECONDS = 600.0
"""How long a running worker waits for a database that is locked, full or gone."""


class Storage:
    """One open database: Optuna's storage and our tables share its engine."""

    def __init__(self, url: URL, rdb: RDBStorage) -> None:
        self.url = url
        self.engine: Engine = rdb.engine
        self.optuna: BaseStorage = get_storage(rdb)  # with Optuna's cache of finished trials

    @property
    def told(self) -> str:
        """The URL for people: without a password."""
        return self.url.render_as_string(hide_password=True)

    def optuna_study(self, name: str, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """A study to ask a sampler with, for a trial that is not stored yet."""
        storage: Any = _Deaf(self.optuna)
        return optuna.Study(study_name=name, storage=storage, sampler=sampler)

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
        """The database's clock, in seconds since 1970."""
        if self.engine.dialect.name == "sqlite":
            return (func.julianday("now", type_=Float) - 2440587.5) * 86400.0
        return cast(extract("epoch", func.clock_timestamp()), Float)

    def close(self) -> None:
        self.optuna.remove_session()
        self.engine.dispose()


class _Deaf:
    """A storage that drops what samplers note about the trial they are asked for.

    TPE and GP store what they sampled on that trial, which does not exist yet: it is created with
    its parameters in one go, so the note would say nothing new.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Drops the note."""


def parse_url(raw: str) -> URL:
    """Checks a storage URL without touching the database."""
    try:
        url = make_url(raw)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise StorageUnusable(
            "storage: not a database URL; give sqlite:///PATH or postgresql+psycopg://HOST/NAME"
        ) from None
    except ImportError as error:
        raise StorageUnusable(f"storage: its driver is not installed ({error.name})") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageUnusable(
            f"storage: {url.get_backend_name()} is not supported; use SQLite or PostgreSQL"
        )
    return url


def open_storage(raw_url: str) -> Storage:
    """Opens a database that exists and holds our tables; creates nothing.

    Raises:
        StorageUnusable: one line that says what, where and what would be right.
    """
    url = parse_url(raw_url)
    told = url.render_as_string(hide_password=True)
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        what = "is a directory" if path.is_dir() else "no such database"
        raise StorageUnusable(f"storage {told}: {what}; `run STUDY.toml` creates one")
    with _domain_errors(told):
        _check_tables(url, told)
        return Storage(url, _rdb_storage(url, create=False))


def create_storage(raw_url: str) -> Storage:
    """Opens a database, making it first if it is not there: whole or not at all.

    A SQLite file is built beside its place and linked into it, so that of several processes that
    create it at once exactly one wins and none ever sees half a schema.
    """
    url = parse_url(raw_url)
    path = sqlite_path(url)
    told = url.render_as_string(hide_password=True)
    with _domain_errors(told):
        if path is not None and not path.exists():
            _create_file(url, path)
        elif not _has_our_tables(url):
            _create_tables(url)
        if path is not None and not os.access(path, os.W_OK):
            raise StorageUnusable(f"storage {told}: is read-only; make it writable")
    return open_storage(raw_url)


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise StorageUnusable("storage sqlite://: a database in memory is lost; give a file")
    return Path(url.database)


def _create_file(url: URL, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _create_tables(url.set(database=str(temporary)))
        with contextlib.suppress(FileExistsError):  # another process was first: as good
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _create_tables(url: URL) -> None:
    rdb = _rdb_storage(url, create=True)
    with rdb.engine.begin() as connection:
        if rdb.engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7215533)"))
        tables.metadata.create_all(connection)
        if connection.execute(select(tables.schema)).first() is None:
            connection.execute(tables.schema.insert().values(id=1, version=tables.SCHEMA_VERSION))
    rdb.remove_session()
    rdb.engine.dispose()


def _rdb_storage(url: URL, *, create: bool) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}} if sqlite else {}
    if not sqlite:
        options |= {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 2}
    # Optuna sends the URL through str.format, which a brace in a password would break.
    raw = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    rdb = RDBStorage(raw, engine_kwargs=options, skip_table_creation=not create)
    if sqlite:
        event.listen(rdb.engine, "connect", _set_up_sqlite)
        rdb.engine.dispose()  # connections from before the listener
    return rdb


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """A rollback journal that survives a power cut. No WAL: before SQLite 3.51.3 it can corrupt."""
    for pragma in ("journal_mode = DELETE", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _has_our_tables(url: URL) -> bool:
    engine = create_engine(url)
    try:
        return inspect(engine).has_table(tables.schema.name)
    finally:
        engine.dispose()


def _check_tables(url: URL, told: str) -> None:
    engine = create_engine(url)
    try:
        if not inspect(engine).has_table(tables.schema.name):
            raise StorageUnusable(
                f"storage {told}: holds no studies of this program; `run STUDY.toml` adds them"
            )
        with engine.connect() as connection:
            version = connection.execute(select(tables.schema.c.version)).scalar_one()
    finally:
        engine.dispose()
    if version != tables.SCHEMA_VERSION:
        raise StorageUnusable(
            f"storage {told}: its tables have version {version}, this program has "
            f"{tables.SCHEMA_VERSION}; use the program that made them"
        )


def patient(call: Callable[P, R]) -> Callable[P, R]:
    """Makes a database call ride out a database that is locked, full, restarting or gone.

    The call must bear repetition: it may have been carried out when its answer was lost.

    Raises:
        StorageLost: the database did not come back within PATIENCE_SECONDS.
    """

    @functools.wraps(call)
    def tried(*args: P.args, **kwargs: P.kwargs) -> R:
        started, pause = time.monotonic(), 0.05
        while True:
            try:
                return call(*args, **kwargs)
            except (OperationalError, InterfaceError, StorageInternalError) as error:
                waited = time.monotonic() - started
                if waited > PATIENCE_SECONDS or not _may_pass(error):
                    raise StorageLost(f"storage: {told_error(error)}; gave up") from error
                log.warning("storage: %s; trying again", told_error(error))
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 5.0)

    return tried


def _may_pass(error: Exception) -> bool:
    """Whether a database error may go away by itself."""
    lasting = ("no such table", "no such column", "readonly", "malformed", "not a database")
    return not any(words in _whole(error) for words in lasting)


def _whole(error: BaseException) -> str:
    """The text of an error and of what caused it: Optuna wraps the database's own words."""
    return f"{error} {error.__cause__ or ''}"


def told_error(error: BaseException) -> str:
    """A database's own words for what is wrong, in one line."""
    inner = error.__cause__ or error
    return str(getattr(inner, "orig", None) or inner).strip().splitlines()[0][:160]


@contextmanager
def _domain_errors(told: str) -> Iterator[None]:
    """Database errors as one line; a password never stands in it."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageUnusable(f"storage {told}: cannot be used ({told_error(error)})") from error
    except RuntimeError as error:  # Optuna: the schema is of another version
        cause = str(error).strip().splitlines()[0]
        raise StorageUnusable(f"storage {told}: {cause[:200]}") from error
    except OSError as error:
        raise StorageUnusable(f"storage {told}: {error.strerror or error}") from error
