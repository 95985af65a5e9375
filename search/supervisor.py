"""Has workers started, watches them, replaces those that die, and ends them cleanly."""

import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from search import budget, ledger, study
from search.errors import Interrupted, NotFound, StorageLost, WorkersDying
from search.job import Job
from search.storage import Storage, Trouble
from search.study import StoredStudy

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
TICK_SECONDS = 0.5
DRAIN_SECONDS = 30.0
LINGER_SECONDS = 10.0
"""A worker that is still there so long after the study is over hangs."""
RECOVERY_SECONDS = 2.0
"""Between two looks for workers, of any host, whose lease ran out."""
SECONDS_BETWEEN_EQUAL_NOTICES = 20.0

Watch = Callable[[], None]
"""Called now and then while the workers are at it; shows progress."""


class Work(Protocol):
    """What the workers are for."""

    name: str
    study_uid: str | None

    def wanted(self, workers: int) -> int:
        """How many of so many workers there is work for."""

    def finished(self, host: str | None) -> int:
        """How many trials the workers of a host, or of any, have finished so far."""

    def is_open(self) -> bool:
        """Whether it is still wanted at all: not stopped, closed or deleted."""

    def is_over(self) -> bool:
        """Whether there is nothing left to do, nor anything under way."""

    def recover(self) -> None:
        """Settles what dead workers left."""


class OneStudy:
    """Workers that leave when one study's budget is met."""

    def __init__(self, storage: Storage, stored: StoredStudy) -> None:
        self._storage, self._study = storage, stored
        self.name = stored.name
        self.study_uid: str | None = stored.uid

    def wanted(self, workers: int) -> int:
        now = self._progress()
        if budget.spent(self._study, now):
            return 0
        return min(workers, self._study.spec.budget.trials - now.finished)

    def finished(self, host: str | None) -> int:
        return ledger.finished_on(self._storage, self._study.uid, host)

    def is_open(self) -> bool:
        try:
            return study.by_uid(self._storage, self._study.uid).open
        except NotFound:
            return False

    def is_over(self) -> bool:
        now = self._progress()
        return budget.spent(self._study, now) and now.claimed == 0

    def recover(self) -> None:
        ledger.recover(self._storage, self._study)

    def _progress(self) -> budget.Progress:
        return budget.progress_of(self._storage, self._study.uid)


class EveryStudy:
    """Workers that stay, for whatever open studies the storage holds."""

    name = "serve"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.study_uid: str | None = None

    def wanted(self, workers: int) -> int:
        return workers

    def finished(self, host: str | None) -> int:
        studies = study.all_studies(self._storage)
        return sum(OneStudy(self._storage, each).finished(host) for each in studies)

    def is_open(self) -> bool:
        return True

    def is_over(self) -> bool:
        return False

    def recover(self) -> None:
        ledger.recover_all(self._storage)


class RunningWorker(Protocol):
    """One worker that was started, wherever it runs."""

    @property
    def pid(self) -> int | None:
        """Its process, if that is one of this host."""

    @property
    def logged_in(self) -> str:
        """Where its log is, for people."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs, negative if a signal ended it."""

    def ask_to_end(self) -> None:
        """Lets it record the trial under way as interrupted, and leave."""

    def end(self, seconds: float) -> None:
        """Waits so long for it to leave, then insists."""

    def last_words(self) -> str:
        """One line on why it ended."""


class Launcher(Protocol):
    """Starts workers."""

    workers: int
    """How many there are to be."""
    host: str | None
    """Where they run; None: on many."""
    most_deaths_in_a_row: int
    """After so many, and no trial finished in between, one more would only eat the budget."""

    def start(self, job: Job) -> RunningWorker:
        """Starts one more worker."""

    def notices(self) -> list[str]:
        """What its workers said of the storage's troubles since it was last asked."""


class Supervisor:
    """Keeps as many workers at work as its launcher is to have."""

    def __init__(
        self,
        storage: Storage,
        work: Work,
        launcher: Launcher,
        job: Job,
        watch: Watch,
        on_stop: Watch = lambda: None,
    ) -> None:
        """`watch` is called now and then, `on_stop` once when a signal or `stop` ends the work."""
        self._storage, self._work, self._launcher = storage, work, launcher
        self._job = replace(job, study_uid=work.study_uid, name=work.name, supervised=True)
        self._watch, self._on_stop = watch, on_stop
        self._workers: list[RunningWorker] = []
        self._deaths = 0
        self._finished_at_last_death = -1
        self._stopping = False
        self._told: dict[str, float] = {}

    @property
    def workers(self) -> int:
        """How many workers are alive now."""
        return len(self._workers)

    def run(self) -> None:
        """Keeps workers at work for as long as there is any.

        Raises:
            Interrupted: a signal, or `stop`; every running trial is recorded as interrupted.
            WorkersDying: workers die one after another and no trial finishes.
        """
        before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._work.recover()
            for _ in range(self._work.wanted(self._launcher.workers)):
                self._start()
            self._supervise()
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._stopping:
            raise Interrupted("interrupted")

    def _supervise(self) -> None:
        ticked = recovered = busy = time.monotonic()
        while self._workers and not self._stopping and time.monotonic() - busy < LINGER_SECONDS:
            time.sleep(POLL_SECONDS)
            self._pass_on_notices()
            for worker in list(self._workers):
                status = worker.poll()
                if status is not None:
                    self._workers.remove(worker)
                    self._note_end(worker, status)
                    self._replace()
            if time.monotonic() - ticked > TICK_SECONDS:
                ticked = time.monotonic()
                self._watch()
            if time.monotonic() - recovered > RECOVERY_SECONDS:
                recovered = time.monotonic()
                self._work.recover()
                if not self._work.is_over():
                    busy = time.monotonic()

    def _pass_on_notices(self) -> None:
        """Shows what workers say of the storage's troubles; of many that say the same, one."""
        for line in self._launcher.notices():
            now = time.monotonic()
            if now - self._told.get(line, -1e9) > SECONDS_BETWEEN_EQUAL_NOTICES:
                self._told[line] = now
                log.warning("%s", line.rstrip())

    def _note_end(self, worker: RunningWorker, status: int) -> None:
        """A worker left: because it was done, was told to, or died."""
        if status == Interrupted.exit_status:
            # `stop`, or the study was closed: the others leave as well. If not, somebody told this
            # one worker to end.
            self._stopping = self._stopping or not self._work.is_open()
        elif status != 0:
            if worker.pid is not None:
                for worker_id in ledger.worker_ids_of(self._storage, worker.pid):
                    ledger.end_worker(self._storage, worker_id)
            self._work.recover()
            self._count_death(worker, status)

    def _count_death(self, worker: RunningWorker, status: int) -> None:
        finished = self._work.finished(self._launcher.host)
        self._deaths = self._deaths + 1 if finished == self._finished_at_last_death else 1
        self._finished_at_last_death = finished
        told = f"signal {-status}" if status < 0 else f"status {status}"
        log.warning("a worker died (%s); see %s", told, worker.logged_in)
        if self._deaths >= self._launcher.most_deaths_in_a_row:
            raise WorkersDying(
                f"{self._work.name}: {self._deaths} workers died in a row without finishing a "
                f"trial ({worker.last_words()}); see {worker.logged_in}"
            )

    def _replace(self) -> None:
        wanted = self._work.wanted(self._launcher.workers)
        if not self._stopping and len(self._workers) < wanted:
            self._start()

    def _start(self) -> None:
        self._workers.append(self._launcher.start(self._job))

    def _end_all(self) -> None:
        """Asks the workers to end, then insists; what they could not record is recovered."""
        if self._stopping:
            self._on_stop()
        for worker in self._workers:
            worker.ask_to_end()
        deadline = time.monotonic() + DRAIN_SECONDS
        for worker in self._workers:
            worker.end(max(0.1, deadline - time.monotonic()))
        self._workers.clear()
        if not isinstance(sys.exception(), StorageLost):
            self._work.recover()

    def _note(self, _number: int, _frame: Any) -> None:
        if self._stopping:
            raise Interrupted("interrupted twice: not waiting for anything")
        self._stopping = True
        Trouble.leave_soon()
