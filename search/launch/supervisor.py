"""The supervisor starts workers, watches them, replaces those that crash, and ends them cleanly.

A worker that crashes while its launcher and the process that started it live on counts as one
failure of its configuration. A cause that ends several workers at once counts as one event, and as
a failure of no configuration. Too many of either without progress end the run.
"""

import contextlib
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from search.errors import (
    FilesUnusable,
    Interrupted,
    Refused,
    SearchError,
    StorageLost,
    WorkerCrashLoop,
)
from search.launch.workloads import Workload
from search.retry import RetryState
from search.storage import tables
from search.storage.database import Storage
from search.system.processes import HOST, Launch
from search.trials import attempts, leases, outbox
from search.worker.job import FILES_UNUSABLE, GAVE_UP, STORAGE_LOST, Job

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
TICK_SECONDS = 0.5
DRAIN_SECONDS = 30.0
HANG_SECONDS = 10.0
"""A worker that still runs so many seconds after the study has finished hangs."""
RECOVERY_SECONDS = 2.0
"""Between two searches for workers, of any host, whose lease has expired."""
SECONDS_BETWEEN_EQUAL_NOTICES = 20.0
SPARE_CRASHES = 4
"""Each worker may crash once, plus so many more, without a trial finished in between. More would
set configurations aside one after another: a configuration is set aside at its second crash."""
MAX_SHARED_EVENTS = 3
"""How often the same cause may end several workers at once without a report in between."""

STORAGE_AWAY = "the storage was away for too long"
NO_LEASE_RENEWED = "no worker could renew its lease"

OnTick = Callable[[], None]
"""Called every TICK_SECONDS while workers run; shows progress."""


def ending_signals() -> list[signal.Signals]:
    """The signals that end a run cleanly; SIGHUP is one of them unless `nohup` ignores it."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


class WorkerHandle(Protocol):
    """The handle of one started worker, wherever it runs."""

    @property
    def log_location(self) -> str | None:
        """Where its log is, as text for people; None if it wrote none."""

    def poll(self) -> int | None:
        """Returns its exit status: None while it runs, negative if a signal ended it.

        A crash is returned only once it is clear whether the process that started it lives on.
        """

    def shared_cause(self) -> str | None:
        """Returns the cause that ended other workers too; None if this worker alone ended."""

    def terminate(self) -> None:
        """Asks it to record its running trial as interrupted, and to exit."""

    def wait_or_kill(self, seconds: float) -> None:
        """Waits for it to exit, and kills it after `seconds`."""

    def last_log_line(self) -> str:
        """Returns one line on why it ended."""


class Launcher(Protocol):
    """A launcher starts workers."""

    workers: int
    """How many workers it starts."""
    host: str | None
    """The host that they run on; None for several."""

    def start(self, job: Job) -> WorkerHandle:
        """Starts one more worker."""

    def storage_warnings(self) -> list[str]:
        """Returns what workers have logged about an unavailable storage since the last call."""


class SharedEvents:
    """The number of times that one cause ended several workers at once since the last progress."""

    def __init__(self) -> None:
        self._hit: set[WorkerHandle] = set()
        self._times = 0
        self._progress: tuple[int, int] | None = None

    def is_new(self, worker: WorkerHandle, others: Sequence[WorkerHandle]) -> bool:
        """Whether a worker's exit belongs to no event that has been counted already.

        Args:
            others: the workers that ran beside it, which the same event may end later.
        """
        if worker in self._hit:
            return False
        self._hit = {worker, *others}
        return True

    def count(self, progress: tuple[int, int]) -> int:
        """Counts one event; returns how many there were without progress in between."""
        self._times = self._times + 1 if progress == self._progress else 1
        self._progress = progress
        return self._times


class Leases:
    """The leases of a launcher's workers that have expired lately."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: set[str] = set()
        self._lately: dict[str, float] = {}

    def all_ran_out(self, launch_ids: Sequence[str]) -> bool:
        """Whether the leases of all these processes have expired since this last returned True."""
        now = time.monotonic()
        for worker_id, launch_id in leases.expired_workers(self._storage, launch_ids).items():
            if worker_id not in self._known:
                self._known.add(worker_id)
                self._lately[launch_id] = now
        recent = {i for i, at in self._lately.items() if now - at < tables.LEASE_SECONDS}
        if len(launch_ids) < 2 or not recent.issuperset(launch_ids):
            return False
        self._lately.clear()
        return True


class Supervisor:
    """A supervisor keeps as many workers running as its launcher has room for."""

    def __init__(
        self,
        storage: Storage,
        work: Workload,
        launcher: Launcher,
        job: Job,
        watch: OnTick,
        on_stop: OnTick = lambda: None,
    ) -> None:
        """`watch` is called every TICK_SECONDS, `on_stop` once a signal or `stop` ends the run."""
        self._storage, self._work, self._launcher = storage, work, launcher
        self._job = replace(job, study_uid=work.study_uid, name=work.name, supervised=True)
        self._watch, self._on_stop = watch, on_stop
        self._workers: dict[WorkerHandle, str] = {}  # with the id of its launch
        self._crashed: list[str] = []  # the launches whose workers did not end well
        self._max_crashes = 0
        self._crashes = 0
        self._finished_at_last_crash = -1
        self._events: dict[str, SharedEvents] = {}
        self._leases = Leases(storage)
        self._stopping = False
        self._last_notice: dict[str, float] = {}

    @property
    def workers(self) -> int:
        """The number of workers that are alive now."""
        return len(self._workers)

    def run(self) -> None:
        """Runs workers until there is no work left.

        Raises:
            Interrupted: a signal, or `stop`; every running trial is recorded as interrupted.
            WorkerCrashLoop: workers crash one after another and no trial finishes, or all at once,
                three times, and no trial reports.
        """
        before = {number: signal.signal(number, self._on_signal) for number in ending_signals()}
        try:
            self._work.recover()
            wanted = self._work.desired_workers(self._launcher.workers)
            self._max_crashes = wanted + SPARE_CRASHES
            for _ in range(wanted):
                self._start()
            self._supervise()
        except (WorkerCrashLoop, FilesUnusable) as error:
            self._record_trouble(str(error))
            raise
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._stopping:
            raise Interrupted("interrupted")

    def _supervise(self) -> None:
        ticked = recovered = busy = time.monotonic()
        while self._workers and not self._stopping and time.monotonic() - busy < HANG_SECONDS:
            time.sleep(POLL_SECONDS)
            self._relay_warnings()
            for worker in list(self._workers):
                status = worker.poll()
                if status is not None:
                    self._on_exit(worker, status)
                    self._replace()
            if time.monotonic() - ticked > TICK_SECONDS:
                ticked = time.monotonic()
                self._watch()
            if time.monotonic() - recovered > RECOVERY_SECONDS:
                recovered = time.monotonic()
                self._work.recover()
                self._check_expirations()
                if not self._work.is_finished():
                    busy = time.monotonic()

    def _relay_warnings(self) -> None:
        """Logs what workers say about an unavailable storage; equal lines once."""
        for line in self._launcher.storage_warnings():
            now = time.monotonic()
            if now - self._last_notice.get(line, -1e9) > SECONDS_BETWEEN_EQUAL_NOTICES:
                self._last_notice[line] = now
                log.warning("%s", line.rstrip())

    def _on_exit(self, worker: WorkerHandle, status: int) -> None:
        """Handles a worker's exit: it had finished, was asked to, or crashed."""
        others = [each for each in self._workers if each is not worker]
        launch_id = self._workers.pop(worker)
        reason = worker.last_log_line().rpartition(GAVE_UP)[2] if status else ""
        if status != 0:
            self._crashed.append(launch_id)
        if status == FILES_UNUSABLE:  # every other worker would fail in the same way
            raise FilesUnusable(f"{self._work.name}: {reason}")
        if status == Refused.exit_status and self._work.study_uid is not None:
            raise Refused(reason)
        cause = STORAGE_AWAY if status == STORAGE_LOST else worker.shared_cause()
        if status == Interrupted.exit_status and cause is None:
            # `stop`, or the study was closed: the others exit as well. If not, a signal was sent to
            # this one worker.
            self._stopping = self._stopping or not self._work.is_open()
        elif status != 0:
            leases.end_launched(
                self._storage, [launch_id], attempts.SHARED if cause else attempts.KILLED
            )
            self._work.recover()
            if cause is None:
                self._count_crash(worker, status)
            elif self._events_of(cause).is_new(worker, others):
                self._count_event(cause, _reason_of(worker, status), worker.log_location)

    def _count_crash(self, worker: WorkerHandle, status: int) -> None:
        finished = self._work.finished_trials(self._launcher.host)
        self._crashes = self._crashes + 1 if finished == self._finished_at_last_crash else 1
        self._finished_at_last_crash = finished
        ended_by = f"signal {-status}" if status < 0 else f"status {status}"
        if worker.log_location is None:
            log.warning("a worker died (%s): %s", ended_by, worker.last_log_line())
        else:
            log.warning("a worker died (%s); see %s", ended_by, worker.log_location)
        if self._crashes >= self._max_crashes:
            raise WorkerCrashLoop(
                f"{self._work.name}: {self._crashes} workers died in a row without finishing a "
                f"trial ({worker.last_log_line()}){_see(worker.log_location)}"
            )

    def _count_event(self, cause: str, why: str, log_location: str | None) -> None:
        """Counts one event, however many workers it ended."""
        times = self._events_of(cause).count(self._progress())
        log.warning("%s (%s); running trials are tried again", cause, why)
        if times >= MAX_SHARED_EVENTS:
            raise WorkerCrashLoop(
                f"{self._work.name}: {cause}, {times} times with no report of a trial in between "
                f"({why}){_see(log_location)}"
            )

    def _check_expirations(self) -> None:
        """Counts an event when the leases of all workers expire together: none was renewed."""
        if self._leases.all_ran_out(list(self._workers.values())):
            why = f"for {tables.LEASE_SECONDS:.0f} s"
            self._count_event(NO_LEASE_RENEWED, why, next(iter(self._workers)).log_location)

    def _record_trouble(self, problem: str) -> None:
        """Records that the studies of the workers that ended lately are given up."""
        uid = self._work.study_uid
        with contextlib.suppress(SearchError):  # the storage may be the trouble
            uids = leases.studies_of(self._storage, self._crashed[-SPARE_CRASHES:])
            for study_uid in uids if uid is None else [uid]:
                outbox.record_trouble(self._storage, study_uid, problem)

    def _events_of(self, cause: str) -> "SharedEvents":
        return self._events.setdefault(cause, SharedEvents())

    def _progress(self) -> tuple[int, int]:
        host = self._launcher.host
        return self._work.reports(host), self._work.finished_trials(host)

    def _replace(self) -> None:
        wanted = self._work.desired_workers(self._launcher.workers)
        if not self._stopping and len(self._workers) < wanted:
            self._start()

    def _start(self) -> None:
        launch = Launch(secrets.token_hex(16), HOST, os.getpid())
        worker = self._launcher.start(replace(self._job, launch=launch))
        self._workers[worker] = launch.id

    def _end_all(self) -> None:
        """Terminates the workers, kills those that stay, and records what they could not."""
        if self._stopping:
            self._on_stop()
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS
        for worker in self._workers:
            worker.wait_or_kill(max(0.1, deadline - time.monotonic()))
        launch_ids = list(self._workers.values())
        self._workers.clear()
        if not isinstance(sys.exception(), StorageLost):
            if launch_ids:
                leases.end_launched(self._storage, launch_ids, attempts.SHARED)
            self._work.recover()

    def _on_signal(self, _number: int, _frame: Any) -> None:
        if self._stopping:
            raise Interrupted("interrupted twice: not waiting for the workers")
        self._stopping = True
        RetryState.shorten_deadline()


def _reason_of(worker: WorkerHandle, status: int) -> str:
    return f"signal {-status}" if status < 0 else worker.last_log_line()


def _see(log_location: str | None) -> str:
    return "" if log_location is None else f"; see {log_location}"
