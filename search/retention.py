"""Which of a study's model files stay: the best trials', those that a test opened, and snapshots of
trials that are still to be finished. Confirmed models always do."""

import contextlib
import time
from pathlib import Path

from search import results
from search.paths import ordinal_of, trial_of
from search.storage.database import Storage
from search.storage.study_files import Shelf
from search.study.study import StoredStudy

KEPT_CHECKPOINTS = 10
ABANDONED_SECONDS = 600.0
"""A temporary file that old is nobody's any more."""


def is_worth_keeping(storage: Storage, study: StoredStudy, dev_loss: float) -> bool:
    """Whether a trial that just ended is among the best so far."""
    best = results.best_trials(storage, study, KEPT_CHECKPOINTS)
    return len(best) < KEPT_CHECKPOINTS or dev_loss < best[-1].dev_loss


def drop_the_rest(storage: Storage, study: StoredStudy, shelf: Shelf) -> None:
    """Removes what is not to stay. What is written after this look is left alone."""
    found = shelf.names()
    keep = results.trials_to_keep(storage, study, KEPT_CHECKPOINTS)
    snapshots = any(ordinal_of(name) is not None for name in found)
    unfinished = results.unfinished_slots(storage, study) if snapshots else set()
    for name in found:
        trial, ordinal = trial_of(name), ordinal_of(name)
        if not (trial is None or trial in keep) or not (ordinal is None or ordinal in unfinished):
            shelf.drop(name)


def sweep(directory: Path) -> None:
    """Removes what a worker left that was killed while it wrote."""
    for path in directory.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
