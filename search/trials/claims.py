"""Claims of slots: one short transaction decides which worker starts which trial."""

import functools
from collections.abc import Container, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from sqlalchemy import Connection, case, func, select, update
from sqlalchemy.sql.dml import ReturningInsert

from search.retry import retry_storage
from search.seeds import derive_seed
from search.storage import clock, tables
from search.storage.database import Storage
from search.storage.rows import AttemptRow, SlotRow
from search.study.study import StoredStudy, by_uid
from search.trials import working_time
from search.trials.budget import SlotCounts, is_budget_met, progress
from search.trials.leases import NoClaim, renew_lease

KILLS_BEFORE_LAST = 3
"""A configuration whose attempts were killed this often is tried after all others."""


@dataclass(frozen=True)
class Claim:
    """A slot that a worker holds, and the attempt that it is about to make."""

    attempt_id: int
    ordinal: int
    training_seed: int
    lost_attempt: AttemptRow | None
    """The attempt before this one, with its configuration; None for a first attempt."""
    snapshots: list[dict[str, Any]]
    """The snapshots of the lost attempt, the newest first: {step, sha256}."""
    remaining_seconds: float | None
    """The working time that the study has left; None without a timeout."""


def claim(
    storage: Storage, study: StoredStudy, worker_id: str, attempt: dict[str, Any]
) -> Claim | NoClaim:
    """Claims a slot for a worker, or returns why there is none.

    Args:
        attempt: the columns of the attempt that the worker knows.
    """
    claimed = _claim_with_retry(storage, study, worker_id, attempt, storage.failures)
    working_time.committed(worker_id)
    return claimed


@retry_storage
def _claim_with_retry(
    storage: Storage,
    study: StoredStudy,
    worker_id: str,
    attempt: dict[str, Any],
    failures_before: int,
) -> Claim | NoClaim:
    """Claims a slot; a repeated call finds the slot that a call claimed whose answer was lost."""
    with storage.write() as connection:
        flags = renew_lease(connection, study.uid, worker_id)
        if flags is not None:
            return flags
        now = progress(connection, study.uid)
        if storage.failures != failures_before:
            held = _slot_held_by(connection, study, worker_id)
            if held is not None:
                return _claim_of_slot(connection, study, now, held)
        if is_budget_met(study, now):
            return NoClaim.BUDGET_MET
        if now.unclaimed(study) <= 0 or now.claimed >= (study.spec.study.max_workers or inf):
            return NoClaim.WAIT
        return _take_slot(connection, study, worker_id, now, attempt)


@retry_storage
def least_served_study(storage: Storage, left_out: Container[str] = ()) -> StoredStudy | None:
    """The open study with something to claim that has the highest priority.

    Of equals it is the one with the fewest workers, and then the one whose last attempt began
    longest ago, so that each is served in turn. One that has as many workers as its `max_workers`
    is left out.

    Args:
        left_out: uids of studies that are not to be served.
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
            now = progress(connection, row.uid)
            if row.uid in left_out or not _has_room(row.document, now):
                continue
            priority = row.document["study"].get("priority", 0)
            rank = (-priority, now.claimed, last_start.get(row.uid, 0.0), row.uid)
            candidates.append((rank, row.uid, now))
    for _, uid, now in sorted(candidates, key=lambda each: each[0]):
        study = by_uid(storage, uid)
        if not study.lost and not is_budget_met(study, now):
            return study
    return None


def _has_room(document: Mapping[str, Any], now: SlotCounts) -> bool:
    """Whether a study, as its document defines it now, has a slot for one more worker."""
    maximum = document["study"].get("max_workers") or inf
    left = document["budget"]["trials"] - now.finished - now.claimed
    return left > 0 and now.claimed < maximum


def _slot_held_by(connection: Connection, study: StoredStudy, worker_id: str) -> SlotRow | None:
    """The slot that a worker holds; None if it holds none."""
    slots = tables.slots
    row = connection.execute(
        select(slots).where(
            slots.c.study_uid == study.uid,
            slots.c.state == "claimed",
            slots.c.worker_id == worker_id,
        )
    ).first()
    return None if row is None else SlotRow.of(row)


def _take_slot(
    connection: Connection,
    study: StoredStudy,
    worker_id: str,
    now: SlotCounts,
    attempt: dict[str, Any],
) -> Claim:
    """Claims the first waiting slot, or inserts the next."""
    slots = tables.slots
    waiting = _first_waiting(connection, study, now) if now.waiting else None
    ordinal = now.claimed_ever if waiting is None else waiting.ordinal
    lost = None if waiting is None else _attempt(connection, waiting.attempt_id)
    attempt_id = connection.execute(
        _insertion(),
        {
            "study_uid": study.uid,
            "ordinal": ordinal,
            "worker_id": worker_id,
            "training_seed": _training_seed(study, ordinal),
            "retry_of": _retried_trial(lost),
            **attempt,
        },
    ).scalar_one()
    claimed = {"state": "claimed", "worker_id": worker_id, "attempt_id": attempt_id}
    if waiting is None:
        unused = {"losses": 0, "expirations": 0, "snapshots": []}
        key = {"study_uid": study.uid, "ordinal": ordinal}
        connection.execute(slots.insert(), key | unused | claimed)
    else:
        connection.execute(
            update(slots)
            .where(slots.c.study_uid == study.uid, slots.c.ordinal == ordinal)
            .values(**claimed)
        )
    snapshots = [] if waiting is None else list(waiting.snapshots)
    return _claim(study, now, attempt_id, ordinal, lost, snapshots)


@functools.cache
def _insertion() -> ReturningInsert[Any]:
    attempts = tables.attempts
    return attempts.insert().values(started_at=clock.now()).returning(attempts.c.id)


def _first_waiting(connection: Connection, study: StoredStudy, now: SlotCounts) -> SlotRow | None:
    """The slot to try again; None if a new one comes first.

    A slot whose attempts were killed repeatedly waits until no other is left: a configuration that
    kills the launcher too counts no failures, and must not block the others.
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
    return None if first is None or (first.is_last and is_new_left) else SlotRow.of(first)


def _claim_of_slot(
    connection: Connection, study: StoredStudy, now: SlotCounts, slot: SlotRow
) -> Claim:
    """The claim by which a worker holds a slot."""
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
    before = None if lost is None else AttemptRow.of(lost)
    return _claim(study, now, slot.attempt_id, slot.ordinal, before, list(slot.snapshots))


def _claim(
    study: StoredStudy,
    now: SlotCounts,
    attempt_id: int,
    ordinal: int,
    lost: AttemptRow | None,
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


def _attempt(connection: Connection, attempt_id: int) -> AttemptRow:
    attempts = tables.attempts
    return AttemptRow.of(
        connection.execute(select(attempts).where(attempts.c.id == attempt_id)).one()
    )


def _training_seed(study: StoredStudy, ordinal: int) -> int:
    return derive_seed(study.spec.study.seed, ordinal, "train")


def _retried_trial(lost: AttemptRow | None) -> int | None:
    """The trial that is tried again; of an attempt that had none, the one that it retried."""
    if lost is None:
        return None
    trial: int | None = lost.trial if lost.trial is not None else lost.retry_of
    return trial
