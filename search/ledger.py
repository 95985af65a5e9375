"""What became of each attempt. Every step can be repeated: a crash between two loses nothing.

An attempt's trial is made in one transaction, and both end in one; between them it reports. Whoever
finds an attempt whose worker is gone ends it as lost.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, case, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from search import tables, trial_rows
from search.budget import Standing, locked_flags
from search.errors import NotFound, TrialLost
from search.processes import HOST, is_dead
from search.storage import Storage, patient
from search.study import StoredStudy, by_uid
from search.trial_rows import TrialKey

MOST_LOSSES = 2
"""A configuration is tried again once; interruptions aside."""

KILLED, INTERRUPTED, ERROR, KILLED_WORKERS = "killed", "interrupted", "error", "killed workers"

OPTUNA_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def register_worker(storage: Storage, study: StoredStudy) -> str:
    """Adds this process as a worker of a study; its lease runs from now."""
    worker_id = secrets.token_hex(16)
    _register(storage, study, worker_id)
    return worker_id


@patient
def _register(storage: Storage, study: StoredStudy, worker_id: str) -> None:
    now = storage.now()
    # IntegrityError: done already, by a try whose answer was lost
    with contextlib.suppress(IntegrityError), storage.write() as connection:
        connection.execute(
            tables.workers.insert().values(
                id=worker_id,
                study_uid=study.uid,
                host=HOST,
                pid=os.getpid(),
                started_at=now,
                seen_at=now,
            )
        )


@patient
def beat(storage: Storage, study: StoredStudy, worker_id: str) -> None:
    """Renews a worker's lease.

    Raises:
        TrialLost: it ran out, and others may have taken what the worker held; or the study was
            stopped, closed or deleted.
    """
    with storage.write() as connection:
        standing = locked_flags(storage, connection, study.uid, worker_id)
    if standing is Standing.EVICTED:
        raise TrialLost(KILLED)
    if standing is not None:
        raise TrialLost(INTERRUPTED)


@patient
def end_worker(storage: Storage, worker_id: str) -> None:
    """The worker leaves, or is known to be dead; what it still holds is lost."""
    workers = tables.workers
    with storage.write() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.id == worker_id, workers.c.ended_at.is_(None))
            .values(ended_at=storage.now())
        )


@patient
def make_trial(
    storage: Storage,
    study: StoredStudy,
    attempt_id: int,
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    losses: Mapping[int, float],
) -> TrialKey:
    """Makes the trial that an attempt becomes: once, however often it is tried.

    Args:
        config: the whole configuration.
        params: the searched part of it, for Optuna.
        losses: what an attempt before it reported, as far as its snapshot goes, by resource.

    Raises:
        TrialLost: the attempt was given up on meanwhile.
    """
    with storage.write() as connection:
        attempt = _locked_attempt(connection, attempt_id)
        if attempt is None or attempt.outcome is not None:
            raise TrialLost(KILLED)
        if attempt.trial is not None:  # made by a try whose answer was lost
            return TrialKey(_trial_id(connection, study, attempt.trial), attempt.trial)
        made = trial_rows.make(connection, study.optuna_id, params, distributions)
        trial_rows.report(storage, connection, made.trial_id, losses)
        connection.execute(
            update(tables.attempts)
            .where(tables.attempts.c.id == attempt_id)
            .values(trial=made.number, config=dict(config))
        )
    return made


@patient
def record_audit(storage: Storage, attempt_id: int) -> None:
    """Records that the pruner would have stopped an attempt, which runs on to be audited."""
    with storage.write() as connection:
        connection.execute(
            update(tables.attempts)
            .where(tables.attempts.c.id == attempt_id, tables.attempts.c.outcome.is_(None))
            .values(audited=True)
        )


@patient
def report(storage: Storage, trial_id: int, losses: Mapping[int, float]) -> None:
    """Stores dev losses (finite), by resource; once this returns, they are in the database.

    Raises:
        TrialLost: the trial was given up on meanwhile.
    """
    with storage.write() as connection:
        if not trial_rows.report(storage, connection, trial_id, losses):
            raise TrialLost(KILLED)


@patient
def record_snapshots(storage: Storage, attempt_id: int, entries: list[dict[str, Any]]) -> None:
    """Notes a slot's snapshots, the newest first: {step, sha256}.

    Raises:
        TrialLost: the attempt was given up on meanwhile.
    """
    slots = tables.slots
    with storage.write() as connection:
        updated = connection.execute(
            update(slots)
            .where(slots.c.attempt_id == attempt_id, slots.c.state == "claimed")
            .values(snapshots=entries)
        )
    if updated.rowcount == 0:
        raise TrialLost(KILLED)


@patient
def finish(
    storage: Storage,
    study: StoredStudy,
    attempt_id: int,
    trial_id: int | None,
    losses: Mapping[int, float],
    **values: Any,
) -> None:
    """Ends an attempt, its trial and its slot: the outcome and all that was measured.

    Args:
        trial_id: its trial; looked up when it is not known.
        losses: the last reports, by resource.
        values: columns of the attempt, `outcome` and `reason` among them.

    Raises:
        TrialLost: the attempt was given up on meanwhile, or the study closed to further trials.
    """
    outcome, reason = values["outcome"], values["reason"]
    with storage.write() as connection:
        attempt = _locked_attempt(connection, attempt_id)
        if attempt is None:
            return  # the study has been deleted
        if attempt.outcome is not None:
            if (attempt.outcome, attempt.reason) == (outcome, reason):
                return  # ended by a try whose answer was lost
            raise TrialLost(KILLED)
        if outcome != "failed" and _is_closed(connection, study.uid):
            raise TrialLost(INTERRUPTED)
        if attempt.trial is not None:
            trial_id = trial_id or _trial_id(connection, study, attempt.trial)
            trial_rows.report(storage, connection, trial_id, losses)
            value = values.get("dev_loss") if outcome != "failed" else None
            trial_rows.end(connection, trial_id, OPTUNA_STATES[outcome], value)
        _settle_slot(connection, attempt, outcome, reason)
        connection.execute(
            update(tables.attempts)
            .where(tables.attempts.c.id == attempt_id)
            .values(ended_at=storage.now(), **values)
        )


@patient
def recover(storage: Storage, study: StoredStudy) -> int:
    """Ends every attempt whose worker is gone; returns how many there were."""
    lost = _open_attempts_of_lost_workers(storage, study)
    for attempt in lost:
        trial_id, losses = _stored_trial(storage, study, attempt)
        outcome, reason = _outcome_of_killed(storage, study, attempt)
        values = {"outcome": outcome, "reason": reason, "dev_loss": min(losses, default=None)}
        with contextlib.suppress(TrialLost):  # another process was first
            finish(storage, study, attempt.id, trial_id, {}, **values)
    return len(lost)


def recover_all(storage: Storage) -> None:
    """As `recover`, for every study with an attempt under way."""
    storage.lookout.look(tables.LEASE_SECONDS)
    for uid in _studies_under_way(storage):
        with contextlib.suppress(NotFound):  # deleted meanwhile
            recover(storage, by_uid(storage, uid))


@patient
def _studies_under_way(storage: Storage) -> Sequence[str]:
    slots = tables.slots
    with storage.read() as connection:
        return (
            connection.execute(
                select(slots.c.study_uid).where(slots.c.state == "claimed").distinct()
            )
            .scalars()
            .all()
        )


@patient
def finished_on(storage: Storage, study_uid: str, host: str | None) -> int:
    """Trials that workers of a host, or of any, finished; those that only killed workers do not
    count."""
    attempts, workers = tables.attempts, tables.workers
    finished = (
        select(func.count())
        .select_from(attempts)
        .join(workers, workers.c.id == attempts.c.worker_id)
        .where(
            attempts.c.study_uid == study_uid,
            attempts.c.outcome.in_(("complete", "pruned")),
            attempts.c.reason.is_distinct_from(KILLED_WORKERS),
        )
    )
    if host is not None:
        finished = finished.where(workers.c.host == host)
    with storage.read() as connection:
        return connection.execute(finished).scalar_one()


@patient
def worker_ids_of(storage: Storage, pid: int) -> Sequence[str]:
    """The workers that a process of this host is."""
    workers = tables.workers
    with storage.read() as connection:
        return (
            connection.execute(
                select(workers.c.id).where(
                    workers.c.pid == pid,
                    workers.c.host == HOST,
                    workers.c.ended_at.is_(None),
                )
            )
            .scalars()
            .all()
        )


def _locked_attempt(connection: Connection, attempt_id: int) -> Any | None:
    attempts = tables.attempts
    return connection.execute(
        select(attempts).where(attempts.c.id == attempt_id).with_for_update()
    ).first()


def _is_closed(connection: Connection, study_uid: str) -> bool:
    """Whether the study's test split has been opened; it is not while this transaction lasts."""
    studies = tables.studies
    closed = select(studies.c.closed_at).where(studies.c.uid == study_uid)
    return connection.execute(closed.with_for_update(read=True)).scalar() is not None


def _settle_slot(connection: Connection, attempt: Any, outcome: str, reason: str | None) -> None:
    """finished; or waiting; or abandoned, once the configuration has been tried again already."""
    slots = tables.slots
    losses = slots.c.losses + int(outcome == "failed" and reason != INTERRUPTED)
    lost = case((losses >= MOST_LOSSES, "abandoned"), else_="waiting")
    connection.execute(
        update(slots)
        .where(
            slots.c.study_uid == attempt.study_uid,
            slots.c.ordinal == attempt.ordinal,
            slots.c.attempt_id == attempt.id,
        )
        .values(worker_id=None, losses=losses, state=lost if outcome == "failed" else "finished")
    )


def _open_attempts_of_lost_workers(storage: Storage, study: StoredStudy) -> list[Any]:
    """Attempts not ended, of workers that ended, lost their lease, or are dead on this host."""
    attempts, workers, slots = tables.attempts, tables.workers, tables.slots
    with storage.read() as connection:
        rows = connection.execute(
            select(
                attempts,
                workers.c.host,
                workers.c.pid,
                or_(workers.c.id.is_(None), workers.c.ended_at.is_not(None)).label("gone"),
                (workers.c.seen_at < storage.now() - tables.LEASE_SECONDS).label("expired"),
            )
            .select_from(slots)
            .join(attempts, attempts.c.id == slots.c.attempt_id)
            .join(workers, attempts.c.worker_id == workers.c.id, isouter=True)
            .where(slots.c.study_uid == study.uid, slots.c.state == "claimed")
        ).all()
    watchful = storage.lookout.look(tables.LEASE_SECONDS)
    return [row for row in rows if row.gone or _is_lost(storage, row, watchful)]


def _is_lost(storage: Storage, row: Any, watchful: bool) -> bool:
    """Ends a worker that is dead or lost its lease: from then on its writes are refused."""
    if is_dead(row.host, row.pid):
        end_worker(storage, row.worker_id)
        return True
    return bool(row.expired) and watchful and _evict(storage, row.worker_id)


def _evict(storage: Storage, worker_id: str) -> bool:
    """Ends a worker whose lease has run out, unless that may be because nobody could renew one."""
    workers = tables.workers
    with storage.write() as connection:
        if not storage.lookout.look(tables.LEASE_SECONDS):  # it took long to get here
            return False
        ended = connection.execute(
            update(workers)
            .where(
                workers.c.id == worker_id,
                workers.c.ended_at.is_(None),
                workers.c.seen_at < storage.now() - tables.LEASE_SECONDS,
            )
            .values(ended_at=storage.now())
        )
    return bool(ended.rowcount)


@patient
def _outcome_of_killed(storage: Storage, study: StoredStudy, attempt: Any) -> tuple[str, str]:
    slots = tables.slots
    with storage.read() as connection:
        losses = connection.execute(
            select(slots.c.losses).where(
                slots.c.study_uid == study.uid, slots.c.ordinal == attempt.ordinal
            )
        ).scalar_one()
    if losses + 1 >= MOST_LOSSES and attempt.trial is not None:
        return "pruned", KILLED_WORKERS
    return "failed", KILLED


@patient
def _stored_trial(
    storage: Storage, study: StoredStudy, attempt: Any
) -> tuple[int | None, Sequence[float]]:
    """Optuna's id of an attempt's trial, if it has one yet, and what that reported."""
    if attempt.trial is None:
        return None, []
    reports = tables.optuna_intermediate_values
    with storage.read() as connection:
        trial_id = _trial_id(connection, study, attempt.trial)
        losses = connection.execute(
            select(reports.c.intermediate_value).where(reports.c.trial_id == trial_id)
        )
        return trial_id, losses.scalars().all()


def _trial_id(connection: Connection, study: StoredStudy, number: int) -> int:
    trials = tables.optuna_trials
    query = select(trials.c.trial_id).where(
        trials.c.study_id == study.optuna_id, trials.c.number == number
    )
    return int(connection.execute(query).scalar_one())
