"""Snapshots of a running trial, so that a lost attempt costs at most one interval of training.

Each is a file, complete or absent, whose hash stands in the slot's row; the one before it is kept,
in case the newest is damaged. A trial shorter than INTERVAL_SECONDS writes none, and a snapshot
that took long to write delays the next.
"""

import logging
import time
from pathlib import Path

from makemore_core.errors import CheckpointError
from makemore_core.model import checkpoint
from makemore_core.model.snapshot import Snapshot
from makemore_core.training.trainer import TrainingRun
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy, files_of
from search.system.environment import run_environment
from search.trials import attempts
from search.trials.claims import Claim

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
"""Between two snapshots of a trial, at least."""
MAX_TIME_FRACTION = 0.01
"""The fraction of a trial's time that writing snapshots may take, at most."""
MAX_SNAPSHOTS = 2
"""The number of snapshots of a slot that are kept."""


class Snapshots:
    """The snapshots of one claimed slot."""

    def __init__(
        self, storage: Storage, study: StoredStudy, data_dir: DataDir, claim: Claim
    ) -> None:
        self._storage, self._study, self._data_dir, self._claim = storage, study, data_dir, claim
        self._files = files_of(study, data_dir)
        self._entries = list(claim.snapshots)
        self._extra = {"code": run_environment()["code"]}
        self._due = time.monotonic() + INTERVAL_SECONDS

    def newest(self) -> Snapshot | None:
        """The newest snapshot of the lost attempt that is undamaged and was written by this code.

        Other code may lay out its tensors differently, and would not have trained the same bits.
        """
        for entry in self._entries:
            path = self._path(entry["step"])
            try:
                snapshot, extra = self._files.load(checkpoint.load_snapshot, path, entry["sha256"])
            except CheckpointError as error:
                log.warning("slot %d: %s; falling back", self._claim.ordinal, error)
                continue
            if extra == self._extra:
                return snapshot
            log.warning("slot %d: %s is of other code; falling back", self._claim.ordinal, path)
        return None

    def save_if_due(self, run: TrainingRun) -> None:
        """Saves a snapshot if the interval has passed; called between blocks of steps."""
        if time.monotonic() >= self._due:
            self.save(run)

    def save(self, run: TrainingRun) -> None:
        """Writes a snapshot, records it, then deletes those that are no longer needed.

        Raises:
            TrialLost: the attempt was given up on meanwhile.
        """
        started = time.monotonic()
        path = self._path(run.step)
        try:
            sha256 = checkpoint.save_snapshot(path, run.snapshot(), self._extra)
        except OSError as error:  # a trial can do without a snapshot on a full disk
            log.warning("slot %d: no snapshot (%s)", self._claim.ordinal, error)
        else:
            uploaded = self._upload(path)
            entries = [e for e in self._entries if e["step"] != run.step]
            self._entries = [{"step": run.step, "sha256": sha256}, *entries][:MAX_SNAPSHOTS]
            attempts.record_snapshots(self._storage, self._claim.attempt_id, self._entries)
            if uploaded:  # a store that does not answer is not asked twice while the lease runs
                self._delete_all_but(self._entries)
        took = time.monotonic() - started
        self._due = time.monotonic() + max(INTERVAL_SECONDS, took / MAX_TIME_FRACTION)

    def delete(self) -> None:
        """Deletes all of them: the slot is finished."""
        self._delete_all_but([])

    def _upload(self, path: Path) -> bool:
        try:
            self._files.upload(path)
        except OSError as error:  # this host can resume from it; another uses an older one
            log.warning("slot %d: a snapshot on this host alone (%s)", self._claim.ordinal, error)
            return False
        return True

    def _delete_all_but(self, kept: list[dict[str, object]]) -> None:
        keep = {self._path(entry["step"]).name for entry in kept}
        for name in self._files.names(f"slot-{self._claim.ordinal}-step-") - keep:
            self._files.delete(name)

    def _path(self, step: object) -> Path:
        return self._data_dir.snapshot(self._study.uid, self._claim.ordinal, int(str(step)))
