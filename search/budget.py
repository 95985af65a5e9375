"""Who may start a trial: one short transaction claims a slot, whatever else runs or dies.

A study's budget counts slots. A slot is claimed by a worker, and is then finished (its trial is
complete or pruned), waiting (its attempt was lost and is to be tried once more) or abandoned (it
was lost twice by error). Since finished and claimed slots together never exceed the budget, neither
do finished trials.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, case, func, select, update

from search import working_time
from search.retry import patient
from search.seeds import derive_seed
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy, by_uid

KILLS_BEFORE_LAST = 3
"""A configuration whose attempts were killed so often is tried after all others."""


class Standing(Enum):
    """Why there is nothing to claim."""

    WAIT = "others are at work on the last slots, and may lose them"
    DONE = "the budget is met"
    STOPPED = "a stop was requested"
    EVICTED = "this worker's lease ran out; what it held was given away"
    CLOSED = "the test split has been opened"
    GONE = "the study has been deleted"


@dataclass(frozen=True)
class Claim:
    """A slot that this worker holds, and the attempt that it is about to make."""

    attempt_id: int
    ordinal: int
    training_seed: int
    lost_attempt: Any | None
    """The attempt before this one, with its configuration; None for a first attempt."""
    snapshots: list[dict[str, Any]]
    """Of the lost attempt, the newest first: {step, sha256}."""
    remaining_seconds: float | None
    """Working time that the study has left; None: without limit."""


@dataclass(frozen=True)
class Progress:
    """A study's slots and its time, read in one go."""

    finished: int
    claimed: int
    waiting: int
    abandoned: int
    elapsed_seconds: float
    best: float | None

    @property
    def claimed_ever(self) -> int:
        return self.finished + self.claimed + self.waiting + self.abandoned

    def unclaimed(self, study: StoredStudy) -> int:
        """How many more slots could be claimed now."""
        return study.spec.budget.trials - self.finished - self.claimed


def progress(storage: Storage, connection: Connection, study_uid: str) -> Progress:
    """Counts the slots, adds up the working time, and finds the lowest complete dev loss."""
    slots = tables.slots
    counts: dict[str, int] = dict(
        connection.execute(
            select(slots.c.state, func.count())
            .where(slots.c.study_uid == study_uid)
            .group_by(slots.c.state)
        ).all()
    )
    best = connection.execute(
        select(func.min(tables.attempts.c.dev_loss)).where(
            tables.attempts.c.study_uid == study_uid,
            tables.attempts.c.outcome == "complete",
        )
    ).scalar()
    return Progress(
        finished=counts.get("finished", 0),
        claimed=counts.get("claimed", 0),
        waiting=counts.get("waiting", 0),
        abandoned=counts.get("abandoned", 0),
        elapsed_seconds=working_time.elapsed_seconds(storage, connection, study_uid),
        best=best,
    )


@patient
def progress_of(storage: Storage, study_uid: str) -> Progress:
    """As `progress`, for whoever has no connection at hand."""
    with storage.read() as connection:
        return progress(storage, connection, study_uid)


def budget_met(study: StoredStudy, now: Progress) -> str | None:
    """The part of the study's budget that is met: trials, target or timeout; None: there is more
    to do."""
    budget = study.spec.budget
    if now.finished >= budget.trials:
        return "trials"
    if budget.target is not None and now.best is not None and now.best <= budget.target:
        return "target"
    if budget.timeout is not None and now.elapsed_seconds >= budget.timeout:
        return "timeout"
    return None


def spent(study: StoredStudy, now: Progress) -> bool:
    """Whether the study's budget is met: its trials, its target, or its working time."""
    return budget_met(study, now) is not None


def claim(
    storage: Storage, study: StoredStudy, worker_id: str, attempt: dict[str, Any]
) -> Claim | Standing:
    """Claims a slot for a worker; `attempt` holds the columns that the worker knows."""
    return _claim_patiently(storage, study, worker_id, attempt, storage.failures)


@patient
def _claim_patiently(
    storage: Storage,
    study: StoredStudy,
    worker_id: str,
    attempt: dict[str, Any],
    failures_before: int,
) -> Claim | Standing:
    """Tried again, it finds the slot that it claimed when only the answer was lost."""
    with storage.write() as connection:
        flags = locked_flags(storage, connection, study.uid, worker_id)
        if flags is not None:
            return flags
        now = progress(storage, connection, study.uid)
        if storage.failures != failures_before:
            held = _held(connection, study, worker_id)
            if held is not None:
                return _as_claim(connection, study, now, held)
        if spent(study, now):
            return Standing.DONE
        if now.unclaimed(study) <= 0:
            return Standing.WAIT
        return _take(storage, connection, study, worker_id, now, attempt)


def locked_flags(
    storage: Storage, connection: Connection, study_uid: str, worker_id: str
) -> Standing | None:
    """Locks the study's row, renews the worker's lease, and says whether it must leave.

    The time that the worker has worked is added to the study's.
    """
    studies, workers = tables.studies, tables.workers
    row = connection.execute(
        select(studies.c.stop_requested_at, studies.c.closed_at)
        .where(studies.c.uid == study_uid)
        .with_for_update()
    ).first()
    if row is None:
        return Standing.GONE
    if row.closed_at is not None:
        return Standing.CLOSED
    if row.stop_requested_at is not None:
        return Standing.STOPPED
    renewed = connection.execute(
        update(workers)
        .where(workers.c.id == worker_id, workers.c.ended_at.is_(None))
        .values(seen_at=storage.now())
    )
    if not renewed.rowcount:
        return Standing.EVICTED
    working_time.add(storage, connection, study_uid, worker_id)
    return None


@patient
def neediest(storage: Storage) -> StoredStudy | None:
    """Of the open studies with something to claim, the one with the fewest workers at it.

    Of equals the one whose last attempt began longest ago: so every study gets its fair share.
    An idle worker asks this every second or two, so it reads little.
    """
    studies, attempts = tables.studies, tables.attempts
    candidates = []
    with storage.read() as connection:
        last_start: dict[str, float] = dict(
            connection.execute(
                select(attempts.c.study_uid, func.max(attempts.c.started_at)).group_by(
                    attempts.c.study_uid
                )
            ).all()
        )
        for row in connection.execute(
            select(studies).where(
                studies.c.closed_at.is_(None), studies.c.stop_requested_at.is_(None)
            )
        ).all():
            now = progress(storage, connection, row.uid)
            if row.document["budget"]["trials"] > now.finished + now.claimed:
                candidates.append((now.claimed, last_start.get(row.uid, 0.0), row.uid, now))
    for *_, uid, now in sorted(candidates, key=lambda each: each[:3]):
        study = by_uid(storage, uid)
        if not study.lost and not spent(study, now):
            return study
    return None


def _held(connection: Connection, study: StoredStudy, worker_id: str) -> Any | None:
    """The slot that a worker holds."""
    slots = tables.slots
    return connection.execute(
        select(slots).where(
            slots.c.study_uid == study.uid,
            slots.c.state == "claimed",
            slots.c.worker_id == worker_id,
        )
    ).first()


def _take(
    storage: Storage,
    connection: Connection,
    study: StoredStudy,
    worker_id: str,
    now: Progress,
    attempt: dict[str, Any],
) -> Claim:
    """Takes the first waiting slot, or makes the next."""
    slots, attempts = tables.slots, tables.attempts
    waiting = _first_waiting(connection, study, now)
    ordinal = now.claimed_ever if waiting is None else waiting.ordinal
    lost = None if waiting is None else _attempt(connection, waiting.attempt_id)
    attempt_id = connection.execute(
        attempts.insert()
        .values(
            study_uid=study.uid,
            ordinal=ordinal,
            worker_id=worker_id,
            training_seed=_training_seed(study, ordinal),
            started_at=storage.now(),
            retry_of=_retried(lost),
            **attempt,
        )
        .returning(attempts.c.id)
    ).scalar_one()
    claimed = {"state": "claimed", "worker_id": worker_id, "attempt_id": attempt_id}
    if waiting is None:
        connection.execute(
            slots.insert().values(
                study_uid=study.uid,
                ordinal=ordinal,
                losses=0,
                expirations=0,
                snapshots=[],
                **claimed,
            )
        )
    else:
        connection.execute(
            update(slots)
            .where(slots.c.study_uid == study.uid, slots.c.ordinal == ordinal)
            .values(**claimed)
        )
    snapshots = [] if waiting is None else list(waiting.snapshots)
    return _claim(study, now, attempt_id, ordinal, lost, snapshots)


def _first_waiting(connection: Connection, study: StoredStudy, now: Progress) -> Any | None:
    """The slot to try again; None: a new one comes first.

    One whose attempts were killed again and again, by whatever, waits until nothing else is left:
    what kills the launcher as well is held against nobody, and must not hold up the others.
    """
    slots, attempts = tables.slots, tables.attempts
    killed = (
        select(func.count())
        .where(
            attempts.c.study_uid == slots.c.study_uid,
            attempts.c.ordinal == slots.c.ordinal,
            attempts.c.reason == "killed",
        )
        .scalar_subquery()
    )
    is_last = case((killed >= KILLS_BEFORE_LAST, 1), else_=0)
    first = connection.execute(
        select(slots, is_last.label("is_last"))
        .where(slots.c.study_uid == study.uid, slots.c.state == "waiting")
        .order_by(is_last, slots.c.ordinal)
        .limit(1)
    ).first()
    is_new_left = now.finished + now.claimed + now.waiting < study.spec.budget.trials
    return None if first is None or (first.is_last and is_new_left) else first


def _as_claim(connection: Connection, study: StoredStudy, now: Progress, slot: Any) -> Claim:
    """The claim that made this slot a worker's."""
    attempts = tables.attempts
    lost = connection.execute(
        select(attempts)
        .where(
            attempts.c.study_uid == study.uid,
            attempts.c.ordinal == slot.ordinal,
            attempts.c.id < slot.attempt_id,
        )
        .order_by(attempts.c.id.desc())
        .limit(1)
    ).first()
    return _claim(study, now, slot.attempt_id, slot.ordinal, lost, list(slot.snapshots))


def _claim(
    study: StoredStudy,
    now: Progress,
    attempt_id: int,
    ordinal: int,
    lost: Any | None,
    snapshots: list[dict[str, Any]],
) -> Claim:
    timeout = study.spec.budget.timeout
    return Claim(
        attempt_id=attempt_id,
        ordinal=ordinal,
        training_seed=_training_seed(study, ordinal),
        lost_attempt=lost,
        snapshots=snapshots,
        remaining_seconds=None if timeout is None else timeout - now.elapsed_seconds,
    )


def _attempt(connection: Connection, attempt_id: int) -> Any:
    attempts = tables.attempts
    return connection.execute(select(attempts).where(attempts.c.id == attempt_id)).one()


def _training_seed(study: StoredStudy, ordinal: int) -> int:
    return derive_seed(study.spec.study.seed, ordinal, "train")


def _retried(lost: Any | None) -> int | None:
    """The trial that is tried again; an attempt that died before it had one passes on its own."""
    if lost is None:
        return None
    trial: int | None = lost.trial if lost.trial is not None else lost.retry_of
    return trial
