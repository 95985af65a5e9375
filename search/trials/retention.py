"""Which model files of a study are kept.

Kept are those of the best trials, of running trials, of confirmed trials and models, and of what a
test opened or will open; and the snapshots of unfinished slots.
"""

import contextlib
import time
from pathlib import Path

from sqlalchemy import select

from search.paths import ordinal_of, trial_of
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.storage.study_files import StudyFiles
from search.study.study import StoredStudy
from search.system.processes import HOST, is_dead
from search.trials import results
from search.trials.results import best_trials

KEPT_CHECKPOINTS = 10
ABANDONED_SECONDS = 600.0
"""The age at which a temporary file that no process of this host is writing has no writer."""


def is_worth_keeping(storage: Storage, study: StoredStudy, dev_loss: float) -> bool:
    """Whether a trial with this dev loss is among the best so far."""
    best = results.best_trials(storage, study, KEPT_CHECKPOINTS)
    return len(best) < KEPT_CHECKPOINTS or dev_loss < best[-1].dev_loss


def delete_unneeded(storage: Storage, study: StoredStudy, files: StudyFiles) -> None:
    """Deletes the files that are not kept, among those that were there when it was called."""
    names = files.names()
    keep = trials_to_keep(storage, study, KEPT_CHECKPOINTS)
    snapshots = any(ordinal_of(name) is not None for name in names)
    unfinished = unfinished_slots(storage, study) if snapshots else set()
    for name in names:
        trial, ordinal = trial_of(name), ordinal_of(name)
        if not (trial is None or trial in keep) or not (ordinal is None or ordinal in unfinished):
            files.delete(name)


def delete_stale_temporaries(directory: Path) -> None:
    """Deletes the temporary files of workers that were killed while writing.

    Age alone does not tell: when the clock is set forward, a file that is being written looks old.
    Nor does the process alone: the file may be another host's, in a directory that both share.
    """
    for path in directory.glob("*.tmp"):
        with contextlib.suppress(OSError, ValueError):  # gone meanwhile; another program's
            age = time.time() - path.stat().st_mtime
            if age > ABANDONED_SECONDS and is_dead(HOST, _writer(path)):
                path.unlink()


def _writer(temporary: Path) -> int:
    """The process that writes a temporary file, `NAME.PID.tmp`."""
    return int(Path(temporary.stem).suffix[1:])


@retry_storage
def unfinished_slots(storage: Storage, study: StoredStudy) -> set[int]:
    """The ordinals of the slots that are claimed or waiting."""
    s = tables.slots
    with storage.read() as connection:
        return set(
            connection.execute(
                select(s.c.ordinal).where(
                    s.c.study_uid == study.uid, s.c.state.in_(("claimed", "waiting"))
                )
            ).scalars()
        )


@retry_storage
def trials_to_keep(storage: Storage, study: StoredStudy, count: int) -> set[int]:
    """The trials whose checkpoints are kept: the best, the running, the confirmed, and those that a
    test opened or, of a chosen ensemble, will open."""
    a, o, e, s = tables.attempts, tables.openings, tables.ensembles, tables.slots
    c = tables.confirmations
    with storage.read() as connection:
        under_way = connection.execute(
            select(a.c.trial)
            .join_from(s, a, a.c.id == s.c.attempt_id)
            .where(s.c.study_uid == study.uid, s.c.state == "claimed")
        ).scalars()
        opened, retrained = (
            connection.execute(select(each.c.trial).where(each.c.study_uid == study.uid)).scalars()
            for each in (o, c)
        )
        chosen = connection.execute(select(e.c.members).where(e.c.study_uid == study.uid)).scalar()
        keep = {trial for trial in (*under_way, *opened, *retrained) if trial is not None}
        keep |= {member["trial"] for member in chosen or ()}
    return keep | {each.trial for each in best_trials(storage, study, count)}
