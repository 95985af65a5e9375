"""The working time of a study: the time in which at least one worker ran, over all resumes.

A wall clock cannot measure it: it is set, and jumps when a machine sleeps. Each worker adds the
time on its own monotonic clock since it added last; less, where another worker has added a part of
that already; or a little more, where another one ran before it and has not added that yet. The
study's row holds the sum, and the moment up to which it goes.
"""

import functools
import time
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ColumnElement

from search.storage import tables
from search.storage.clock import lately, now

clock = time.monotonic
"""The clock of this process: it is never set, and stops while the machine sleeps."""


class Stopwatch:
    """The time that a worker has run and not yet added to its study."""

    def __init__(self) -> None:
        self._since = clock()
        self.added = 0.0

    def seconds(self) -> float:
        """The time that is not added yet, in seconds."""
        return clock() - self._since

    def restart(self) -> None:
        """Subtracts the seconds that were added last."""
        self._since += self.added
        self.added = 0.0


_stopwatches: dict[str, Stopwatch] = {}
"""The stopwatches of this process, by worker id."""


def begin(connection: Connection, study_uid: str, worker_id: str) -> None:
    """Starts a worker's stopwatch; if it is the study's only worker, a pause of the study ends."""
    studies = tables.studies
    is_alone = not_(_has_other_workers())
    connection.execute(
        update(studies)
        .where(studies.c.uid == bindparam("study"), or_(studies.c.worked_until.is_(None), is_alone))
        .values(worked_until=now()),
        {"study": study_uid, "worker": worker_id},
    )
    _stopwatches[worker_id] = Stopwatch()


def end(worker_id: str) -> None:
    """Drops a worker's stopwatch."""
    _stopwatches.pop(worker_id, None)


def add(connection: Connection, study_uid: str, worker_id: str) -> None:
    """Adds the time that a worker of this process has run, and others have not added, to its study.

    A repeated call, after a transaction that was lost, adds the time again; after one whose answer
    alone was lost it adds nothing, since the moment up to which the sum goes has moved. `committed`
    follows the transaction.
    """
    stopwatch = _stopwatches.get(worker_id)
    if stopwatch is None:  # another process: its time since its last heartbeat is not known
        return
    worked = stopwatch.seconds()
    longest = max(worked, tables.LEASE_SECONDS)
    values = {"study": study_uid, "worker": worker_id, "worked": worked, "longest": longest}
    connection.execute(_addition(), values)
    stopwatch.added = worked


@functools.cache
def _addition() -> Update:
    """Adds `worked` seconds to a study; built once, as every frequent statement is, since building
    one takes longer than executing it."""
    studies, worked = tables.studies, bindparam("worked", type_=Float())
    since = now() - studies.c.worked_until
    others = _has_other_workers(studies.c.worked_until)
    longest = case((others, bindparam("longest", type_=Float())), else_=worked)
    is_covered = and_(since >= 0.0, since <= longest)
    return (
        update(studies)
        .where(studies.c.uid == bindparam("study"))
        .values(
            worked_seconds=studies.c.worked_seconds + case((is_covered, since), else_=worked),
            worked_until=now(),
        )
    )


def committed(worker_id: str) -> None:
    """Restarts a worker's stopwatch, once the time that `add` added is in the database."""
    stopwatch = _stopwatches.get(worker_id)
    if stopwatch is not None:
        stopwatch.restart()


def _has_other_workers(since: ColumnElement[Any] | None = None) -> ColumnElement[bool]:
    """Whether a worker other than `worker` of the `study` is alive, and had started by `since`."""
    workers = tables.workers
    others = select(workers.c.id).where(
        workers.c.study_uid == bindparam("study"),
        workers.c.id != bindparam("worker"),
        workers.c.ended_at.is_(None),
        lately(workers.c.seen_at),
    )
    return (others if since is None else others.where(workers.c.started_at <= since)).exists()


def elapsed_seconds(connection: Connection, study_uid: str) -> float:
    """The working time of a study up to now, in seconds."""
    row = connection.execute(_elapsed(), {"study": study_uid}).first()
    return 0.0 if row is None else elapsed_of(row)  # None: deleted meanwhile


def elapsed_columns() -> tuple[ColumnElement[Any], ...]:
    """The columns of the study's row that `elapsed_of` reads."""
    studies = tables.studies
    return (
        studies.c.worked_seconds,
        (now() - studies.c.worked_until).label("since"),
        _since_first_start().label("at_work"),
    )


def elapsed_of(row: Any) -> float:
    """The working time of a study up to now, in seconds, from `elapsed_columns`."""
    return float(row.worked_seconds) + _not_added(row)


@functools.cache
def _elapsed() -> Select[Any]:
    return select(*elapsed_columns()).where(tables.studies.c.uid == bindparam("study"))


def _not_added(row: Any) -> float:
    """The time that live workers have not added yet; 0 if it is longer than a lease."""
    if row.at_work is None:
        return 0.0
    pending = [row.at_work] if row.since is None else [row.at_work, row.since]
    least = float(min(pending))
    return least if 0.0 <= least <= tables.LEASE_SECONDS else 0.0


def _since_first_start() -> ColumnElement[Any]:
    """The time since the first live worker started, by the database's clock."""
    workers = tables.workers
    return (
        select(now() - func.min(workers.c.started_at))
        .where(
            workers.c.study_uid == tables.studies.c.uid,
            workers.c.ended_at.is_(None),
            lately(workers.c.seen_at),
        )
        .scalar_subquery()
    )
