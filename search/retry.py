"""Waits for a storage or a file system that may come back, and gives up in the end."""

import errno
import functools
import logging
import math
import random
import time
from collections.abc import Callable
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

from search import file_errors
from search.errors import FilesUnusable, Interrupted, StorageLost

log = logging.getLogger(__name__)


P = ParamSpec("P")


R = TypeVar("R")


RETRY_SECONDS = 600.0
"""How long a running worker waits for a database or a disk that is locked, full or gone."""


RETRY_SECONDS_AFTER_SIGNAL = 5.0
"""The same, once a signal has told the process to end."""


SECONDS_BETWEEN_NOTICES = 30.0


_open_files: dict[int, Path] = {}
"""The SQLite files of the storages that are open: one that vanishes is told as what it is."""


def retry_storage(call: Callable[P, R]) -> Callable[P, R]:
    """Makes a call ride out a database or a disk that is locked, full, restarting or gone.

    The call must bear repetition: it may have been carried out when its answer was lost.

    Raises:
        StorageLost: it did not come back within RETRY_SECONDS, or never will.
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
    """A database or a disk that does not answer as it should: said at once, waited for, ended."""

    _leave_by = math.inf

    @classmethod
    def shorten_deadline(cls) -> None:
        """A signal told this process to end: it retries for RETRY_SECONDS_AFTER_SIGNAL more."""
        cls._leave_by = min(cls._leave_by, time.monotonic() + RETRY_SECONDS_AFTER_SIGNAL)

    def __init__(self) -> None:
        self._started: float | None = None
        self._told = 0.0
        self._pause = 0.05

    def wait(self, error: Exception) -> None:
        """Waits before the next try.

        Raises:
            StorageLost: there must be none.
            Interrupted: a signal came, and whoever sent it does not want to wait.
        """
        now = time.monotonic()
        self._started = self._started or now
        if now > self._leave_by:
            raise Interrupted(
                f"storage: {error_summary(error)}; interrupted, and not waiting for it"
            ) from error
        if now - self._started > RETRY_SECONDS or not _is_transient(error):
            raise StorageLost(f"storage: {error_summary(error)}; gave up") from error
        if now - self._told > SECONDS_BETWEEN_NOTICES or not self._told:
            self._told = now
            log.warning("storage: %s; waiting, and trying again", error_summary(error))
        time.sleep(self._pause * random.uniform(0.5, 1.5))
        self._pause = min(2 * self._pause, 5.0)

    def end(self) -> None:
        """It answers again."""
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


def _is_transient(error: Exception) -> bool:
    """Whether the storage's trouble may go away by itself."""
    if isinstance(error, OSError):
        return file_errors.is_transient(error)
    lasting = (
        "no such table",
        "no such column",
        "readonly",
        "read-only",
        "malformed",
        "not a database",
        "authentication failed",
        "does not exist",
    )
    return not any(words in _full_message(error) for words in lasting)


def _full_message(error: BaseException) -> str:
    """The text of an error and of what caused it: Optuna wraps the database's own words."""
    return f"{error} {error.__cause__ or ''}"


def error_summary(error: BaseException) -> str:
    """A database's own words for what is wrong, in one line."""
    inner = error.__cause__ or error
    if isinstance(inner, OSError):
        return file_errors.describe(inner)
    if isinstance(error, DatabaseError):
        for path in _open_files.values():
            if not path.exists():
                return f"{path} is gone: it was removed, moved or unmounted while in use"
    told = str(getattr(inner, "orig", None) or inner).strip().splitlines()[0][:160]
    return f"{told}: another program keeps writing to it" if told == LOCKED else told


LOCKED = "database is locked"


def retry_files(step: Callable[[], R], meanwhile: Callable[[], object] = lambda: None) -> R:
    """Takes a step that writes files until it succeeds: a full disk or a store may come back.

    A disk that is read-only, or somebody else's directory, is not waited for.

    Args:
        meanwhile: called before each wait; may raise to give up.

    Raises:
        FilesUnusable: it always will fail.
        StorageLost: it failed for too long.
    """
    trouble = RetryState()
    while True:
        try:
            result = step()
        except OSError as error:
            meanwhile()
            if not file_errors.is_transient(error):
                raise FilesUnusable(
                    f"model files: {file_errors.describe(error)}; make their directory yours to "
                    "write, and the same command goes on"
                ) from error
            trouble.wait(error)
        else:
            trouble.end()
            return result
