"""How long a study was worked on: by at least one worker, over all resumes, without its pauses.

No wall clock can tell: it is set, and jumps when a machine sleeps. Each worker adds what its own
monotonic clock says has passed since it added last, or less, where another worker has added a part
of that already, or a little more, where another one was at work before it and has not added that
yet. The study's row holds the sum, and the moment up to which it goes.
"""

import time
from typing import Any

from sqlalchemy import Connection, and_, case, func, not_, or_, select, update
from sqlalchemy.sql import ColumnElement

from search.storage import tables
from search.storage.database import Storage

clock = time.monotonic
"""Of this process: it is never set, and stands while the machine sleeps."""


class Stopwatch:
    """What a worker has worked since it was last added to its study."""

    def __init__(self) -> None:
        self._since = clock()

    def seconds(self) -> float:
        """The time that is not added yet."""
        return clock() - self._since

    def restart(self, added: float) -> None:
        """So many seconds have been added."""
        self._since += added


_stopwatches: dict[str, Stopwatch] = {}
"""Of the workers that this process is, by their ids."""


def begin(storage: Storage, connection: Connection, study_uid: str, worker_id: str) -> None:
    """This process is a worker from now on; if it is the only one, a pause of the study ends."""
    studies = tables.studies
    is_alone = not_(_others_at_work(storage, study_uid, worker_id))
    connection.execute(
        update(studies)
        .where(studies.c.uid == study_uid, or_(studies.c.worked_until.is_(None), is_alone))
        .values(worked_until=storage.now())
    )
    _stopwatches[worker_id] = Stopwatch()


def end(worker_id: str) -> None:
    """This process is that worker no more."""
    _stopwatches.pop(worker_id, None)


def add(storage: Storage, connection: Connection, study_uid: str, worker_id: str) -> None:
    """Adds what a worker of this process has worked, and others have not added, to its study.

    Added again, after a transaction whose answer was lost, it is nothing: the moment up to which
    the sum goes has moved.
    """
    stopwatch = _stopwatches.get(worker_id)
    if stopwatch is None:  # of another process: what it worked since it was last seen is not known
        return
    worked = stopwatch.seconds()
    studies = tables.studies
    since = storage.now() - studies.c.worked_until
    others = _others_at_work(storage, study_uid, worker_id, studies.c.worked_until)
    longest = case((others, max(worked, tables.LEASE_SECONDS)), else_=worked)
    is_covered = and_(since >= 0.0, since <= longest)
    connection.execute(
        update(studies)
        .where(studies.c.uid == study_uid)
        .values(
            worked_seconds=studies.c.worked_seconds + case((is_covered, since), else_=worked),
            worked_until=storage.now(),
        )
    )
    stopwatch.restart(worked)


def _others_at_work(
    storage: Storage, study_uid: str, worker_id: str, since: ColumnElement[Any] | None = None
) -> ColumnElement[bool]:
    """Whether another worker is at the study, and was already at a moment."""
    workers = tables.workers
    others = select(workers.c.id).where(
        workers.c.study_uid == study_uid,
        workers.c.id != worker_id,
        workers.c.ended_at.is_(None),
        storage.lately(workers.c.seen_at),
    )
    return (others if since is None else others.where(workers.c.started_at <= since)).exists()


def elapsed_seconds(storage: Storage, connection: Connection, study_uid: str) -> float:
    """How long at least one worker was at work, up to now."""
    studies = tables.studies
    row = connection.execute(
        select(
            studies.c.worked_seconds,
            (storage.now() - studies.c.worked_until).label("since"),
            _longest_at_work(storage, study_uid).label("at_work"),
        ).where(studies.c.uid == study_uid)
    ).first()
    if row is None:  # deleted meanwhile
        return 0.0
    return float(row.worked_seconds) + _not_added(row)


def _not_added(row: Any) -> float:
    """What those at work have worked and not added: nothing, if the clock says that it is long."""
    if row.at_work is None:
        return 0.0
    pending = [row.at_work] if row.since is None else [row.at_work, row.since]
    least = float(min(pending))
    return least if 0.0 <= least <= tables.LEASE_SECONDS else 0.0


def _longest_at_work(storage: Storage, study_uid: str) -> ColumnElement[Any]:
    """How long ago the first of those at work began, as the wall clock has it."""
    workers = tables.workers
    return (
        select(storage.now() - func.min(workers.c.started_at))
        .where(
            workers.c.study_uid == study_uid,
            workers.c.ended_at.is_(None),
            storage.lately(workers.c.seen_at),
        )
        .scalar_subquery()
    )
