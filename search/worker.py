"""One worker process: one loop that claims, trains and records until the study needs no more.

    python -m search.worker        the job, as JSON, on standard input

The job comes on standard input because a storage URL may hold a password, which a process list
would show. A worker ends as on Ctrl-C when its launcher has gone.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from makemore_core.contexts import Data
from search import ledger, objective, study
from search.budget import Claim, Standing
from search.errors import Interrupted, SearchError, TrialLost
from search.job import Job
from search.objective import Bench
from search.paths import DataDir
from search.storage import open_storage

log = logging.getLogger("search.worker")

IDLE_SECONDS = 0.2
MOST_ERRORS_IN_A_ROW = 3


class Interruption:
    """Remembers a signal, and notices when the launcher has gone."""

    def __init__(self, launcher_pid: int | None) -> None:
        self._launcher_pid = launcher_pid
        self._signalled = False

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        orphaned = self._launcher_pid is not None and os.getppid() != self._launcher_pid
        return self._signalled or orphaned

    def _note(self, _number: int, _frame: Any) -> None:
        self._signalled = True


def work(job: Job, interrupted: Interruption) -> Standing:
    """Works on a study until there is nothing left to claim; says why it stopped.

    Raises:
        Interrupted: a signal came, or the launcher has gone.
        SearchError: the storage is lost, or every trial fails by an error.
    """
    storage = open_storage(job.storage)
    stored = study.by_uid(storage, job.study_uid)
    data_dir = DataDir(Path(job.data_dir))
    corpus = study.kept_corpus(stored, data_dir)
    bench = Bench(
        storage=storage,
        study=stored,
        data_dir=data_dir,
        data=Data.of(corpus, stored.spec.study.split_seed),
        worker_id=ledger.register_worker(storage, stored),
        threads=job.threads,
        device=job.device,
        interrupted=interrupted,
    )
    try:
        return _work_at(bench)
    finally:
        ledger.end_worker(storage, bench.worker_id)
        storage.close()


def _work_at(bench: Bench) -> Standing:
    errors = 0
    while True:
        if bench.interrupted():
            raise Interrupted("interrupted")
        claimed = objective.standing(bench)
        if isinstance(claimed, Claim):
            errors = errors + 1 if objective.attempt(bench, claimed) == ledger.ERROR else 0
            if errors >= MOST_ERRORS_IN_A_ROW:
                raise SearchError(f"{errors} trials in a row failed by an error")
        elif claimed is Standing.WAIT:
            time.sleep(IDLE_SECONDS)
            _keep_lease(bench)
            ledger.recover(bench.storage, bench.study)
        else:
            return claimed


def _keep_lease(bench: Bench) -> None:
    try:
        ledger.beat(bench.storage, bench.study, bench.worker_id)
    except TrialLost:
        raise Interrupted("the lease ran out while idle") from None


def main() -> int:
    """Reads the job, works, and returns the exit status."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    line = sys.stdin.readline()
    if not line:
        return 0  # the launcher changed its mind
    job = Job.from_json(line)
    interrupted = Interruption(job.launcher_pid)
    interrupted.listen()
    try:
        standing = work(job, interrupted)
    except Interrupted as error:
        log.info("%s", error)
        return error.exit_status
    except SearchError as error:
        log.exception("gave up: %s", error)
        return error.exit_status
    log.info("done: %s", standing.value)
    return 0 if standing in (Standing.DONE, Standing.GONE) else Interrupted.exit_status


if __name__ == "__main__":
    sys.exit(main())
