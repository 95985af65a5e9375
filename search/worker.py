"""One worker process: one loop that claims, trains and records until nothing more is wanted.

    python -m search.worker NOTICES        the job, as JSON, on standard input

The job comes on standard input because a storage URL may hold a password, which a process list
would show. NOTICES is the descriptor of a pipe to the launcher, for the storage's troubles; what is
printed, by whomever, goes to the log. A worker ends as on Ctrl-C when its launcher has gone.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from makemore_core.data import Data
from makemore_core.warm_up import warm_up
from search import objective
from search.errors import FilesUnusable, Interrupted, SearchError, StorageLost, StorageUnusable
from search.job import FILES_UNUSABLE, GAVE_UP, STORAGE_LOST, Job
from search.objective import Bench
from search.paths import DataDir
from search.retry import Trouble
from search.storage.database import Storage, open_storage
from search.storage.optuna_reader import QuickStorage
from search.study import study
from search.study.study import StoredStudy
from search.trials import attempts, claims, leases, recovery
from search.trials.claims import Claim
from search.trials.leases import Standing
from search.trials.reported_losses import Rivals
from search.trials.services import Service, serving

log = logging.getLogger("search.worker")

WAIT_SECONDS = 0.2
"""Between two looks at a study whose last slots are others'."""
IDLE_SECONDS = 1.0
"""Between two looks at a storage that holds nothing to do."""
RECOVERY_SECONDS = 5.0
MOST_ERRORS_IN_A_ROW = 3


class Interruption:
    """Remembers a signal, and notices when whoever started the worker has gone."""

    def __init__(self, parent_pid: int | None) -> None:
        self._parent_pid = parent_pid
        self._signalled = False

    def listen(self) -> None:
        """Takes over SIGINT and SIGTERM of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        orphaned = self._parent_pid is not None and os.getppid() != self._parent_pid
        return self._signalled or orphaned

    def _note(self, _number: int, _frame: Any) -> None:
        self._signalled = True
        Trouble.leave_soon()


class Worker:
    """Claims and trains; holds at most one slot at a time."""

    def __init__(self, storage: Storage, job: Job, interrupted: Callable[[], bool]) -> None:
        self._storage, self._job, self._interrupted = storage, job, interrupted
        self._data_dir = DataDir(Path(job.data_dir))
        self._data: dict[str, Data] = {}
        self._trials = QuickStorage(storage, only_ours=True)
        self._rivals = Rivals(storage)
        self._errors_in_a_row = 0
        self._recovered = 0.0

    def work_on(self, stored: StoredStudy) -> Standing:
        """Works on one study until there is nothing left to claim; says why.

        Raises:
            Interrupted: a signal came, or the launcher has gone.
            SearchError: the storage is lost, or every trial fails by an error.
        """
        while True:
            with self._at(stored) as bench:
                standing = self._stint(bench)
            if standing is not Standing.EVICTED:
                return standing

    def _stint(self, bench: Bench) -> Standing:
        """Claims and trains until something else than a slot is the answer."""
        while True:
            standing = self._take_one(bench)
            if standing is Standing.WAIT:
                recovery.recover(bench.storage, bench.study)
                time.sleep(WAIT_SECONDS)
            elif standing is not None:
                return standing

    def work_on_all(self) -> None:
        """Works on every open study in turn, a fair share each, until it is interrupted."""
        # A service's workers have its row.
        alone = serving(self._storage) if not self._job.supervised else nullcontext()
        with alone as service:
            self._work_on_all(service)

    def _work_on_all(self, service: Service | None) -> None:
        while True:
            if service is not None:
                service.beat()
            stored = claims.neediest(self._storage)
            if stored is None:
                self._raise_if_interrupted()
                self._recover_all()
                time.sleep(IDLE_SECONDS)
                continue
            with self._at(stored) as bench:
                while self._take_one(bench) is None and self._still_neediest(stored):
                    pass

    def _still_neediest(self, stored: StoredStudy) -> bool:
        """Whether staying is fair; a study's definition and budget must be the same as well."""
        return claims.neediest(self._storage) == stored

    def _take_one(self, bench: Bench) -> Standing | None:
        """Claims one slot and makes an attempt at it; None when it did."""
        self._raise_if_interrupted()
        claimed = objective.claim_slot(bench)
        if not isinstance(claimed, Claim):
            return claimed
        failed = objective.attempt(bench, claimed) == attempts.ERROR
        self._errors_in_a_row = self._errors_in_a_row + 1 if failed else 0
        if self._errors_in_a_row >= MOST_ERRORS_IN_A_ROW:
            raise SearchError(f"{self._errors_in_a_row} trials in a row failed by an error")
        return None

    @contextmanager
    def _at(self, stored: StoredStudy) -> Iterator[Bench]:
        """A stint at a study: registered while it lasts."""
        study.refuse_lost(stored)
        bench = Bench(
            storage=self._storage,
            study=stored,
            data_dir=self._data_dir,
            data=self._data_of(stored),
            worker_id=leases.register_worker(self._storage, stored, self._job.launch),
            threads=self._job.threads,
            device=self._job.device,
            interrupted=self._interrupted,
            trials=self._trials,
            rivals=self._rivals,
        )
        try:
            yield bench
        finally:
            leases.end_worker(self._storage, bench.worker_id)

    def _data_of(self, stored: StoredStudy) -> Data:
        """A study's words; read once for as long as this worker lives."""
        seed = stored.spec.study.split_seed
        key = f"{stored.fingerprint}/{seed}"
        if key not in self._data:
            corpus = study.kept_corpus(self._storage, stored, self._data_dir)
            self._data[key] = Data.of(corpus, seed)
        return self._data[key]

    def _recover_all(self) -> None:
        if time.monotonic() - self._recovered > RECOVERY_SECONDS:
            self._recovered = time.monotonic()
            recovery.recover_all(self._storage)

    def _raise_if_interrupted(self) -> None:
        if self._interrupted():
            raise Interrupted("interrupted")


def work(job: Job, interrupted: Callable[[], bool]) -> Standing:
    """Opens the storage and works as the job says; see `Worker`."""
    warm_up()  # before the lease and the working time begin
    storage = open_storage(job.storage, wait=job.supervised)
    try:
        worker = Worker(storage, job, interrupted)
        if job.study_uid is None:
            worker.work_on_all()
            return Standing.DONE
        return worker.work_on(study.by_uid(storage, job.study_uid))
    finally:
        storage.close()


def run_here(job: Job) -> None:
    """Works in this process, until a signal comes or the launcher, if it has one, has gone.

    Raises:
        Interrupted: so it ended, or the study was stopped or closed.
    """
    interrupted = Interruption(job.parent_pid)
    interrupted.listen()
    run_until(job, interrupted)


def run_until(job: Job, interrupted: Callable[[], bool]) -> None:
    """As `run_here`, where it is not by a signal that the worker learns that it must leave."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    standing = work(job, interrupted)
    log.info("ended: %s", standing.value)
    if standing is not Standing.DONE:
        raise Interrupted(standing.value)


def main() -> int:
    """Reads the job from standard input, and does it."""
    return do(Job.from_json(sys.stdin.readline()), int(sys.argv[1]))


def do(job: Job, notices: int) -> int:
    """Works as a launcher asked; returns the exit status. `notices` is a pipe to the launcher."""
    _begin_log(job.log)
    _tell_the_launcher_of_trouble(notices)
    try:
        run_here(job)
    except Interrupted as error:
        log.info("%s", error)
        return error.exit_status
    except FilesUnusable as error:
        log.error("%s%s", GAVE_UP, error)  # the last line of the log, which the launcher shows
        return status_of(error)
    except SearchError as error:
        log.exception("%s%s", GAVE_UP, error)
        return status_of(error)
    return 0


def status_of(error: SearchError) -> int:
    """The exit status that tells a launcher what ended a worker."""
    if isinstance(error, FilesUnusable):
        return FILES_UNUSABLE
    lost = isinstance(error, (StorageLost, StorageUnusable))
    return STORAGE_LOST if lost else error.exit_status


def _begin_log(log: str | None) -> None:
    """Sends all output to the worker's log; without a place for one it stays with the launcher,
    which shows the last of it."""
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


def _tell_the_launcher_of_trouble(notices: int) -> None:
    """Troubles of the storage, and of the compiled kernels, go to the launcher, which shows them,
    as well as into the log."""
    os.set_blocking(notices, False)  # a launcher that does not read must not hold up its workers
    os.set_inheritable(notices, False)
    lines = os.fdopen(notices, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    logging.raiseExceptions = False  # nor does a full disk, when the log cannot be written
    for name in ("search.storage.database", "makemore_core.kernel_cache"):
        logging.getLogger(name).addHandler(logging.StreamHandler(lines))


if __name__ == "__main__":
    sys.exit(main())
