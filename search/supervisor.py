"""Starts worker processes, watches them, replaces those that die, and ends them cleanly."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from search import budget, ledger, study
from search.errors import Interrupted, NotFound, StorageLost, WorkersDying
from search.job import Job
from search.paths import DataDir
from search.storage import Storage
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
MOST_DEATHS_IN_A_ROW = 5

Watch = Callable[[], None]
"""Called now and then while the workers are at it; shows progress."""


class Work(Protocol):
    """What the workers are for."""

    name: str
    study_uid: str | None

    def wanted(self, workers: int) -> int:
        """How many of so many workers there is work for."""

    def finished(self) -> int:
        """How many trials this host has finished so far."""

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

    def finished(self) -> int:
        return ledger.finished_here(self._storage, self._study.uid)

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

    def finished(self) -> int:
        studies = study.all_studies(self._storage)
        return sum(OneStudy(self._storage, each).finished() for each in studies)

    def is_open(self) -> bool:
        return True

    def is_over(self) -> bool:
        return False

    def recover(self) -> None:
        ledger.recover_all(self._storage)


@dataclass
class _Child:
    process: "subprocess.Popen[str]"
    log_path: Path


class Supervisor:
    """The launcher's side of N local workers."""

    def __init__(
        self,
        storage: Storage,
        work: Work,
        data_dir: DataDir,
        job: Job,
        watch: Watch,
        on_stop: Watch = lambda: None,
    ) -> None:
        """`watch` is called now and then, `on_stop` once when a signal or `stop` ends the work."""
        self._storage, self._work, self._data_dir = storage, work, data_dir
        self._job = replace(job, study_uid=work.study_uid, launcher_pid=os.getpid())
        self._watch, self._on_stop = watch, on_stop
        self._children: list[_Child] = []
        self._started = 0
        self._deaths = 0
        self._finished_at_last_death = -1
        self._stopping = False
        self._told: dict[str, float] = {}

    @property
    def workers(self) -> int:
        """How many workers are alive now."""
        return len(self._children)

    def run(self, workers: int) -> None:
        """Keeps workers at work for as long as there is any.

        Raises:
            Interrupted: a signal, or `stop`; every running trial is recorded as interrupted.
            WorkersDying: workers die one after another and no trial finishes.
        """
        before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._work.recover()
            for _ in range(self._work.wanted(workers)):
                self._start()
            self._supervise(workers)
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._stopping:
            raise Interrupted("interrupted")

    def _supervise(self, workers: int) -> None:
        ticked = recovered = busy = time.monotonic()
        while self._children and not self._stopping and time.monotonic() - busy < LINGER_SECONDS:
            time.sleep(POLL_SECONDS)
            for child in list(self._children):
                self._pass_on_notices(child)
                status = child.process.poll()
                if status is not None:
                    self._children.remove(child)
                    self._note_end(child, status)
                    self._replace(workers)
            if time.monotonic() - ticked > TICK_SECONDS:
                ticked = time.monotonic()
                self._watch()
            if time.monotonic() - recovered > RECOVERY_SECONDS:
                recovered = time.monotonic()
                self._work.recover()
                if not self._work.is_over():
                    busy = time.monotonic()

    def _pass_on_notices(self, child: _Child) -> None:
        """Shows what a worker says of the storage's troubles; of many that say the same, one."""
        assert child.process.stdout is not None
        for line in child.process.stdout.readlines():
            now = time.monotonic()
            if now - self._told.get(line, -1e9) > SECONDS_BETWEEN_EQUAL_NOTICES:
                self._told[line] = now
                log.warning("%s", line.rstrip())

    def _note_end(self, child: _Child, status: int) -> None:
        """A worker left: because it was done, was told to, or died."""
        if status == Interrupted.exit_status:
            # `stop`, or the study was closed: the others leave as well. If not, somebody told this
            # one worker to end.
            self._stopping = self._stopping or not self._work.is_open()
        elif status != 0:
            for worker_id in ledger.worker_ids_of(self._storage, child.process.pid):
                ledger.end_worker(self._storage, worker_id)
            self._work.recover()
            self._count_death(child, status)

    def _count_death(self, child: _Child, status: int) -> None:
        finished = self._work.finished()
        self._deaths = self._deaths + 1 if finished == self._finished_at_last_death else 1
        self._finished_at_last_death = finished
        told = f"signal {-status}" if status < 0 else f"status {status}"
        log.warning("a worker died (%s); see %s", told, child.log_path)
        if self._deaths >= MOST_DEATHS_IN_A_ROW:
            raise WorkersDying(
                f"{self._work.name}: {self._deaths} workers died in a row without finishing a "
                f"trial ({_last_words(child.log_path)}); see {child.log_path}"
            )

    def _replace(self, workers: int) -> None:
        if not self._stopping and len(self._children) < self._work.wanted(workers):
            self._start()

    def _start(self) -> None:
        self._started += 1
        path = self._data_dir.log(self._work.name, f"{os.getpid()}-{self._started}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            output = path.open("a")
        except OSError as error:  # a full disk
            log.warning("no log of this worker: %s", error)
            output = open(os.devnull, "w")  # noqa: PTH123, SIM115  closed below
        with output:
            process = spawn(self._job, output)
        self._children.append(_Child(process, path))

    def _end_all(self) -> None:
        """Asks the workers to end, then insists; what they could not record is recovered."""
        if self._stopping:
            self._on_stop()
        for child in self._children:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            assert child.process.stdout is not None
            child.process.stdout.close()
        self._children.clear()
        if not isinstance(sys.exception(), StorageLost):
            self._work.recover()

    def _note(self, _number: int, _frame: Any) -> None:
        if self._stopping:
            raise Interrupted("interrupted twice: not waiting for anything")
        self._stopping = True


def spawn(job: Job, output: IO[str]) -> "subprocess.Popen[str]":
    """Starts one worker: a fresh interpreter in a session of its own, so that Ctrl-C reaches only
    the launcher, which then ends its workers in good order."""
    threads = str(job.threads)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "search.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    process.stdin.write(job.to_json() + "\n")
    process.stdin.close()
    return process


def _last_words(path: Path) -> str:
    """The last line of a worker's log."""
    if not path.is_file():
        return "it has no log"
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it wrote nothing"
