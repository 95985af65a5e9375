"""Retries calls to a storage or a file system that may come back, for a limited time."""

import errno
import functools
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)

from search.errors import FilesUnusable, Interrupted, StorageLost
from search.system import file_errors

log = logging.getLogger(__name__)


P = ParamSpec("P")


R = TypeVar("R")


RETRY_SECONDS = 600.0
"""How long a worker waits for a database or a disk that is locked, full or unavailable."""


_patience: ContextVar[float | None] = ContextVar("patience", default=None)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Limits the retries of calls in this context, and in threads that take it over."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


RETRY_SECONDS_AFTER_SIGNAL = 5.0
"""How long it waits once a signal has asked the process to end."""


SECONDS_BETWEEN_NOTICES = 30.0


_open_files: dict[int, Path] = {}
"""The files of the SQLite storages that are open, so that an error can name one that vanished."""


def retry_storage(call: Callable[P, R]) -> Callable[P, R]:
    """Retries a call while a database or a disk is locked, full, restarting or unavailable.

    The call must be idempotent: it may have been executed when its answer was lost.

    Raises:
        StorageLost: it did not come back within RETRY_SECONDS, or the error is permanent.
    """

    @functools.wraps(call)
    def tried(*args: P.args, **kwargs: P.kwargs) -> R:
        trouble = RetryState()
        while True:
            try:
                result = call(*args, **kwargs)
            except (DatabaseError, InterfaceError, StorageInternalError, OSError) as error:
                if not _is_storage_error(error):
                    raise
                trouble.wait(error)
            else:
                trouble.end()
                return result

    return tried


class RetryState:
    """The state of one outage of a database or a disk: logs it, backs off, and gives up."""

    _leave_by = math.inf

    @classmethod
    def shorten_deadline(cls) -> None:
        """Limits all retries to RETRY_SECONDS_AFTER_SIGNAL, after a signal."""
        cls._leave_by = min(cls._leave_by, time.monotonic() + RETRY_SECONDS_AFTER_SIGNAL)

    def __init__(self) -> None:
        self._started: float | None = None
        self._last_notice = 0.0
        self._pause = 0.05

    def wait(self, error: Exception) -> None:
        """Waits before the next try.

        Raises:
            StorageLost: the outage lasted too long, or is permanent.
            Interrupted: a signal asked the process to end.
        """
        now = time.monotonic()
        self._started = self._started or now
        if now > self._leave_by:
            raise Interrupted(
                f"storage: {error_summary(error)}; interrupted, and not waiting for it"
            ) from error
        limit = _patience.get()
        limit = RETRY_SECONDS if limit is None else limit
        if now - self._started > limit or not _is_transient(error):
            raise StorageLost(f"storage: {error_summary(error)}; gave up") from error
        if now - self._last_notice > SECONDS_BETWEEN_NOTICES or not self._last_notice:
            self._last_notice = now
            log.warning("storage: %s; waiting, and trying again", error_summary(error))
        time.sleep(self._pause * random.uniform(0.5, 1.5))
        self._pause = min(2 * self._pause, 5.0)

    def end(self) -> None:
        """Ends the outage."""
        if self._started is not None:
            took = time.monotonic() - self._started
            log.warning("storage: answers again after %.1f s", took)
            self._started = None


def _is_storage_error(error: Exception) -> bool:
    """Whether an error is the storage's, and not a mistake of the call."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    inner = error.__cause__ if isinstance(error, StorageInternalError) else error
    return not isinstance(inner, (IntegrityError, ProgrammingError, DataError))


PERMANENT_IN_SQLITE = ("SQLITE_READONLY", "SQLITE_CORRUPT", "SQLITE_NOTADB")
"""How the names of result codes begin that no retry mends."""

PERMANENT_IN_POSTGRESQL = ("25006", "28", "3D000", "XX001", "XX002")
"""How SQLSTATEs begin that no retry mends: read-only, no login, no such database, damaged data."""

PERMANENT_WORDS = (
    "no such table",
    "no such column",
    "readonly",
    "read-only",
    "malformed",
    "not a database",
    "authentication failed",
    "does not exist",
)
"""Of SQLite, whose code for them is that of any error; and of PostgreSQL while it connects, where
the driver gives no SQLSTATE: a refusal in another language than English counts as an outage."""


def _is_transient(error: Exception) -> bool:
    """Whether a storage error may go away by itself: by its code, and by its words without one."""
    if isinstance(error, OSError):
        return file_errors.is_transient(error)
    driver_error = _driver_error(error)
    sqlstate = getattr(driver_error, "sqlstate", None)
    if sqlstate is not None:
        return not sqlstate.startswith(PERMANENT_IN_POSTGRESQL)
    name = getattr(driver_error, "sqlite_errorname", None)
    if name not in (None, "SQLITE_ERROR"):
        return not name.startswith(PERMANENT_IN_SQLITE)
    return not any(words in _full_message(error) for words in PERMANENT_WORDS)


def _driver_error(error: BaseException) -> BaseException | None:
    """The database driver's error, below SQLAlchemy's and Optuna's."""
    inner = error.__cause__ if isinstance(error, StorageInternalError) else error
    return getattr(inner, "orig", None)


def _full_message(error: BaseException) -> str:
    """Returns the text of an error and of its cause: Optuna wraps the database's errors."""
    return f"{error} {error.__cause__ or ''}"


def error_summary(error: BaseException) -> str:
    """Returns a database's own message in one line."""
    inner = error.__cause__ or error
    if isinstance(inner, OSError):
        return file_errors.describe(inner)
    if isinstance(error, DatabaseError):
        for path in _open_files.values():
            if not path.exists():
                return f"{path} is gone: it was removed, moved or unmounted while in use"
    message = str(getattr(inner, "orig", None) or inner).strip().splitlines()[0][:160]
    return f"{message}: another program keeps writing to it" if message == LOCKED else message


LOCKED = "database is locked"


def retry_files(step: Callable[[], R], meanwhile: Callable[[], object] = lambda: None) -> R:
    """Retries a step that writes files while a disk is full or a store is unavailable.

    Permanent errors, such as a read-only disk, are not retried.

    Args:
        meanwhile: called before each wait; may raise to give up.

    Raises:
        FilesUnusable: the error is permanent.
        StorageLost: it did not succeed within RETRY_SECONDS.
    """
    trouble = RetryState()
    while True:
        try:
            result = step()
        except OSError as error:
            meanwhile()
            if not file_errors.is_transient(error):
                raise FilesUnusable(
                    f"model files: {file_errors.describe(error)}; make their directory writable, "
                    "and the same command goes on"
                ) from error
            trouble.wait(error)
        else:
            trouble.end()
            return result
