"""The loop of a worker: it claims, trains and records until there is nothing left to claim."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from makemore_core.data.dataset import Dataset
from makemore_core.errors import CoreError
from search.errors import FilesUnusable, Interrupted, Refused, SearchError
from search.paths import DataDir
from search.storage.database import Storage
from search.storage.optuna_reader import SamplingView
from search.study import study
from search.study.study import StoredStudy
from search.trials import attempts, claims, leases, outbox, recovery
from search.trials.claims import Claim
from search.trials.leases import NoClaim
from search.trials.reported_losses import ReportedLosses
from search.trials.services import Service, serving
from search.worker import trial_runner
from search.worker.context import WorkerContext
from search.worker.job import Job

log = logging.getLogger("search.worker")

WAIT_SECONDS = 0.2
"""Between two attempts to claim where other workers hold the last slots."""
IDLE_SECONDS = 1.0
"""Between two searches for an open study in a storage that has none."""
RECOVERY_SECONDS = 5.0
"""Between two recoveries of an idle worker."""
LEFT_OUT = 60.0
"""Seconds before a study that a worker cannot work on is tried again by it."""
MAX_ERRORS_IN_A_ROW = 3


class Worker:
    """A worker claims slots and trains; it holds at most one slot at a time."""

    def __init__(self, storage: Storage, job: Job, interrupted: Callable[[], bool]) -> None:
        self._storage, self._job, self._interrupted = storage, job, interrupted
        self._data_dir = DataDir(Path(job.data_dir))
        self._data: dict[str, Dataset] = {}
        self._trials = SamplingView(storage, only_ours=True)
        self._reported_losses = ReportedLosses(storage)
        self._errors_in_a_row = 0
        self._recovered = 0.0
        self._left_out: dict[str, float] = {}

    def work_on(self, stored: StoredStudy) -> NoClaim:
        """Works on one study until there is nothing left to claim; returns the reason.

        Raises:
            Interrupted: a signal came, or the launcher has ended.
            SearchError: the storage is unavailable, or every trial fails by an error.
        """
        while True:
            with self._registered(stored) as context:
                refusal = self._work_until_refused(context)
            if refusal is not NoClaim.EVICTED:
                return refusal

    def _work_until_refused(self, context: WorkerContext) -> NoClaim:
        """Claims and trains until a claim is refused for good."""
        while True:
            refusal = self._run_next_attempt(context)
            if refusal is NoClaim.WAIT:
                recovery.recover(context.storage, context.study)
                time.sleep(WAIT_SECONDS)
            elif refusal is not None:
                return refusal

    def work_on_all(self) -> None:
        """Works on every open study in turn, the least served first, until it is interrupted."""
        # A supervised worker is announced by its service, which has the row of both.
        announced = nullcontext() if self._job.supervised else serving(self._storage)
        with announced as service:
            self._work_on_least_served(service)

    def _work_on_least_served(self, service: Service | None) -> None:
        while True:
            if service is not None:
                service.heartbeat()
            stored = self._least_served_study()
            if stored is None:
                self._raise_if_interrupted()
                self._recover_all()
                time.sleep(IDLE_SECONDS)
                continue
            try:
                self._work_while_least_served(stored)
            except (CoreError, FilesUnusable, Refused) as error:
                # of this study alone: the others must not suffer from it
                log.warning("study %s: left out for %.0f s: %s", stored.name, LEFT_OUT, error)
                self._left_out[stored.uid] = time.monotonic()
                outbox.record_trouble(self._storage, stored.uid, str(error))

    def _work_while_least_served(self, stored: StoredStudy) -> None:
        """Makes attempts while the study, unchanged in definition and budget, is least served."""
        with self._registered(stored) as context:
            while self._run_next_attempt(context) is None:
                if self._least_served_study() != stored:
                    return

    def _least_served_study(self) -> StoredStudy | None:
        now = time.monotonic()
        self._left_out = {uid: at for uid, at in self._left_out.items() if now - at < LEFT_OUT}
        return claims.least_served_study(self._storage, self._left_out)

    def _run_next_attempt(self, context: WorkerContext) -> NoClaim | None:
        """Claims one slot and makes an attempt at it; returns why not, or None when it did."""
        self._raise_if_interrupted()
        claimed = trial_runner.claim_slot(context)
        if not isinstance(claimed, Claim):
            return claimed
        failed = trial_runner.run_attempt(context, claimed) == attempts.ERROR
        self._errors_in_a_row = self._errors_in_a_row + 1 if failed else 0
        if self._errors_in_a_row >= MAX_ERRORS_IN_A_ROW:
            raise SearchError(f"{self._errors_in_a_row} trials in a row failed by an error")
        return None

    @contextmanager
    def _registered(self, stored: StoredStudy) -> Iterator[WorkerContext]:
        """The worker's context for one study, in which it is registered as a worker of it."""
        study.ensure_not_lost(stored)
        context = WorkerContext(
            storage=self._storage,
            study=stored,
            data_dir=self._data_dir,
            data=self._data_of(stored),
            worker_id=leases.register_worker(
                self._storage, stored, self._job.launch, self._job.log
            ),
            threads=self._job.threads,
            device=self._job.device,
            interrupted=self._interrupted,
            trials=self._trials,
            reported_losses=self._reported_losses,
        )
        try:
            yield context
        finally:
            leases.end_worker(self._storage, context.worker_id)

    def _data_of(self, stored: StoredStudy) -> Dataset:
        """A study's dataset; read once in a worker's life."""
        seed = stored.spec.study.split_seed
        key = f"{stored.fingerprint}/{seed}"
        if key not in self._data:
            corpus = study.corpus_of(self._storage, stored, self._data_dir)
            self._data[key] = Dataset.from_corpus(corpus, seed)
        return self._data[key]

    def _recover_all(self) -> None:
        if time.monotonic() - self._recovered > RECOVERY_SECONDS:
            self._recovered = time.monotonic()
            recovery.recover_all(self._storage)

    def _raise_if_interrupted(self) -> None:
        if self._interrupted():
            raise Interrupted("interrupted")
