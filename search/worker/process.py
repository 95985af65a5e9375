"""A worker as a process: its signals, its log, its exit status.

    python -m search.worker NOTICES             the job, as JSON, on standard input

The job comes on standard input because a storage URL may hold a password, which a process list
would show. NOTICES is the descriptor of a pipe to the launcher for warnings about the storage;
everything that is printed goes to the log. A worker ends as on Ctrl-C when its launcher has ended.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from makemore_core.training.warm_up import warm_up
from search.errors import (
    FilesUnusable,
    Interrupted,
    Refused,
    SearchError,
    StorageLost,
    StorageUnavailable,
)
from search.retry import RetryState
from search.storage.database import open_storage
from search.study import study
from search.trials.leases import NoClaim
from search.worker.job import FILES_UNUSABLE, GAVE_UP, STORAGE_LOST, Job
from search.worker.loop import Worker

log = logging.getLogger("search.worker")


class StopSignal:
    """Whether a signal came, or the process that started the worker has ended."""

    def __init__(self, parent_pid: int | None) -> None:
        self._parent_pid = parent_pid
        self._signalled = False

    def listen(self) -> None:
        """Handles SIGINT and SIGTERM of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        orphaned = self._parent_pid is not None and os.getppid() != self._parent_pid
        return self._signalled or orphaned

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self._signalled = True
        RetryState.shorten_deadline()


def run_job_in(job: Job, interrupted: Callable[[], bool]) -> NoClaim:
    """Opens the storage and works as the job says; see `Worker`."""
    warm_up()  # before the lease and the working time begin
    storage = open_storage(job.storage, wait=job.supervised)
    try:
        worker = Worker(storage, job, interrupted)
        if job.study_uid is None:
            worker.work_on_all()
            return NoClaim.BUDGET_MET
        return worker.work_on(study.by_uid(storage, job.study_uid))
    finally:
        storage.close()


def run_here(job: Job) -> None:
    """Works in this process, until a signal comes or the launcher, if it has one, has ended.

    Raises:
        Interrupted: a signal ended it, or the study was stopped or closed.
    """
    interrupted = StopSignal(job.parent_pid)
    interrupted.listen()
    run_until(job, interrupted)


def run_until(job: Job, interrupted: Callable[[], bool]) -> None:
    """As `run_here`, with another way to ask whether the worker must exit."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    refusal = run_job_in(job, interrupted)
    log.info("ended: %s", refusal.value)
    if refusal is not NoClaim.BUDGET_MET:
        raise Interrupted(refusal.value)


def main() -> int:
    """Reads the job from standard input, and runs it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked while it was started
    return run_job(Job.from_json(sys.stdin.readline()), int(sys.argv[1]))


def run_job(job: Job, notices: int) -> int:
    """Runs a launcher's job; returns the exit status. `notices` is a pipe to the launcher."""
    _redirect_stderr(job.log)
    _forward_storage_warnings(notices)
    try:
        run_here(job)
    except Interrupted as error:
        log.info("%s", error)
        return error.exit_status
    except (FilesUnusable, Refused) as error:
        log.error("%s%s", GAVE_UP, error)  # the last line of the log, which the launcher shows
        return status_of(error)
    except SearchError as error:
        log.exception("%s%s", GAVE_UP, error)
        return status_of(error)
    return 0


def status_of(error: SearchError) -> int:
    """The exit status that stands for an error."""
    if isinstance(error, FilesUnusable):
        return FILES_UNUSABLE
    lost = isinstance(error, (StorageLost, StorageUnavailable))
    return STORAGE_LOST if lost else error.exit_status


def _redirect_stderr(log: str | None) -> None:
    """Sends all output to the worker's log; where none can be written, it stays with the fork
    server, whose last line the launcher shows."""
    if log is None:
        return
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError:
        return
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _forward_storage_warnings(notices: int) -> None:
    """Sends warnings about the storage and the compiled kernels to the launcher, which shows them;
    they stay in the log as well."""
    os.set_blocking(notices, False)  # a launcher that does not read must not block its workers
    os.set_inheritable(notices, False)
    lines = os.fdopen(notices, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    logging.raiseExceptions = False  # a full disk must not end a worker that cannot log
    for name in ("search.retry", "search.storage", "makemore_core.training.kernel_cache"):
        logging.getLogger(name).addHandler(logging.StreamHandler(lines))
