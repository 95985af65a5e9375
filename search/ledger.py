"""What became of each attempt. Every step can be repeated: a crash between two loses nothing.

An attempt's trial is made in one transaction, and both end in one; between them it reports. Whoever
finds an attempt whose worker is gone ends it as lost.

What ended the worker decides what the loss counts for. A death is held against the configuration
only when the launcher saw it while it and the process that starts its workers lived on; others who
find the dead worker leave it to the launcher for as long as that lives. A cause that others share
is held against nobody.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, and_, case, func, not_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from search import working_time
from search.budget import Standing, locked_flags
from search.errors import NotFound, TrialLost
from search.job import Launch
from search.processes import HOST, is_dead
from search.retry import patient
from search.storage import optuna_studies, optuna_tables, optuna_writer, tables
from search.storage.database import Storage
from search.storage.optuna_writer import TrialKey
from search.study.study import StoredStudy, by_uid, refuse_lost

MOST_LOSSES = 2
"""A configuration is tried again once; interruptions and shared causes aside."""
MAX_EXPIRATIONS = 4
"""A lease also runs out where nobody could renew one, or where a whole host went away."""

KILLED, INTERRUPTED, ERROR, KILLED_WORKERS = "killed", "interrupted", "error", "killed workers"
LEASE_RAN_OUT = "lease ran out"

SHARED, EXPIRED = "shared", "expired"
"""What ended a worker, besides `killed`: something that others share, or its lease."""

OPTUNA_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def register_worker(storage: Storage, study: StoredStudy, launch: Launch | None = None) -> str:
    """Adds this process as a worker of a study; its lease runs from now."""
    worker_id = secrets.token_hex(16)
    _register(storage, study, worker_id, launch)
    return worker_id


@patient
def _register(storage: Storage, study: StoredStudy, worker_id: str, launch: Launch | None) -> None:
    now = storage.now()
    # IntegrityError: done already, by a try whose answer was lost
    with contextlib.suppress(IntegrityError), storage.write() as connection:
        working_time.begin(storage, connection, study.uid, worker_id)
        connection.execute(
            tables.workers.insert().values(
                id=worker_id,
                study_uid=study.uid,
                host=HOST,
                pid=os.getpid(),
                started_at=now,
                seen_at=now,
                launch_id=launch.id if launch else None,
                launcher_host=launch.host if launch else None,
                launcher_pid=launch.pid if launch else None,
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
def end_worker(storage: Storage, worker_id: str, cause: str | None = None) -> None:
    """The worker leaves, or is known to be gone and why; what it still holds is lost."""
    workers = tables.workers
    is_at_work = (workers.c.id == worker_id) & workers.c.ended_at.is_(None)
    with storage.write() as connection:
        study_uid = connection.execute(select(workers.c.study_uid).where(is_at_work)).scalar()
        if study_uid is not None:
            working_time.add(storage, connection, study_uid, worker_id)
        connection.execute(
            update(workers)
            .where(workers.c.id == worker_id, workers.c.end_cause.is_(None))
            .values(ended_at=_ended_by_now(storage), end_cause=cause)
        )
    working_time.end(worker_id)


@patient
def end_launched(storage: Storage, launch_ids: Sequence[str], cause: str) -> None:
    """A launcher's word on processes that have ended without leaving in good order.

    Stints that such a process had ended in good order before are left as they are.
    """
    workers, slots = tables.workers, tables.slots
    holders = select(slots.c.worker_id).where(slots.c.state == "claimed")
    with storage.write() as connection:
        connection.execute(
            update(workers)
            .where(
                workers.c.launch_id.in_(launch_ids),
                workers.c.end_cause.is_(None),
                or_(workers.c.ended_at.is_(None), workers.c.id.in_(holders)),
            )
            .values(ended_at=_ended_by_now(storage), end_cause=cause)
        )


def _ended_by_now(storage: Storage) -> ColumnElement[float]:
    return func.coalesce(tables.workers.c.ended_at, storage.now())


@patient
def expired_workers(storage: Storage, launch_ids: Sequence[str]) -> dict[str, str]:
    """Of the workers that these processes were: those whose lease ran out, and which process."""
    workers = tables.workers
    with storage.read() as connection:
        rows = connection.execute(
            select(workers.c.id, workers.c.launch_id).where(
                workers.c.launch_id.in_(launch_ids), workers.c.end_cause == EXPIRED
            )
        )
        return {row.id: row.launch_id for row in rows}


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
            trial_id = _trial_id(connection, study, attempt.trial)
            if trial_id is None:
                raise TrialLost(KILLED)
            return TrialKey(trial_id, attempt.trial)
        if not optuna_studies.is_marked(connection, study.optuna_id, study.uid):
            refuse_lost(replace(study, optuna_id=optuna_studies.MISSING))
        free = connection.execute(
            select(func.coalesce(func.max(tables.attempts.c.trial) + 1, 0)).where(
                tables.attempts.c.study_uid == study.uid
            )
        ).scalar_one()
        made = optuna_writer.make(connection, study.optuna_id, params, distributions, free)
        optuna_writer.report(storage, connection, made.trial_id, losses)
        connection.execute(
            update(tables.attempts)
            .where(tables.attempts.c.id == attempt_id)
            .values(trial=made.number, config=dict(config), inherited=len(losses))
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
        if not optuna_writer.report(storage, connection, trial_id, losses):
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

    A loss that is one too many for its configuration is recorded as an outcome: set aside.

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
        closed = _is_closed(connection, study.uid)
        if outcome != "failed" and closed:
            raise TrialLost(INTERRUPTED)
        cause = _end_cause(connection, attempt) if reason == KILLED else None
        reason_aside = _reason_to_set_aside(connection, attempt, cause)
        if reason_aside is not None and not closed:
            outcome, reason = "pruned", reason_aside
            values |= {"outcome": outcome, "reason": reason}
        if attempt.trial is not None:
            trial_id = trial_id or _trial_id(connection, study, attempt.trial)
        if trial_id is not None:  # None also where another program deleted it
            optuna_writer.report(storage, connection, trial_id, losses)
            value = values.get("dev_loss") if outcome != "failed" else None
            attributes = _attributes(attempt, values)
            state = OPTUNA_STATES[outcome]
            optuna_writer.end(storage, connection, trial_id, state, value, attributes)
        _settle_slot(connection, attempt, outcome, reason, cause)
        connection.execute(
            update(tables.attempts)
            .where(tables.attempts.c.id == attempt_id)
            .values(
                ended_at=storage.now(),
                worked_seconds=working_time.elapsed_seconds(storage, connection, study.uid),
                **values,
            )
        )


SHOWN = ("reason", "retry_of", "seconds", "examples", "parameters", "dev_loss_unseen")
"""What a trial's user attributes say, which Optuna's dashboard shows as columns."""


def _attributes(attempt: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's user attributes, as far as there is something to say."""
    known = {"retry_of": attempt.retry_of, **values}
    return {name: known[name] for name in SHOWN if known.get(name) is not None}


@patient
def recover(storage: Storage, study: StoredStudy) -> int:
    """Ends every attempt whose worker is gone; returns how many there were."""
    lost = _open_attempts_of_lost_workers(storage, study)
    for attempt in lost:
        trial_id, losses = _stored_trial(storage, study, attempt)
        values = {"outcome": "failed", "reason": KILLED, "dev_loss": min(losses, default=None)}
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
            func.coalesce(attempts.c.reason, "").not_in((KILLED_WORKERS, LEASE_RAN_OUT)),
        )
    )
    if host is not None:
        finished = finished.where(workers.c.host == host)
    with storage.read() as connection:
        return connection.execute(finished).scalar_one()


@patient
def reports_on(storage: Storage, study_uid: str, host: str | None) -> int:
    """Dev losses that workers of a host, or of any, reported; those that a retry took over from
    the attempt before it do not count."""
    a, w, s = tables.attempts, tables.workers, tables.studies
    t, r = optuna_tables.optuna_trials, optuna_tables.optuna_intermediate_values
    ours = [a.c.study_uid == study_uid, *([] if host is None else [w.c.host == host])]
    reported = (
        select(func.count())
        .select_from(r)
        .join(t, t.c.trial_id == r.c.trial_id)
        .join(s, s.c.optuna_id == t.c.study_id)
        .join(a, and_(a.c.study_uid == s.c.uid, a.c.trial == t.c.number))
        .join(w, w.c.id == a.c.worker_id)
        .where(*ours)
    )
    inherited = (
        select(func.coalesce(func.sum(a.c.inherited), 0))
        .join(w, w.c.id == a.c.worker_id)
        .where(*ours)
    )
    with storage.read() as connection:
        counted: int = connection.execute(reported).scalar_one()
        return counted - int(connection.execute(inherited).scalar_one())


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


def _end_cause(connection: Connection, attempt: Any) -> str | None:
    """What ended an attempt's worker, as far as anybody said."""
    workers = tables.workers
    return connection.execute(
        select(workers.c.end_cause).where(workers.c.id == attempt.worker_id)
    ).scalar()


def _reason_to_set_aside(connection: Connection, attempt: Any, cause: str | None) -> str | None:
    """Why an attempt that was lost is the last of its configuration; None: it is not.

    A configuration that never became a trial cannot be an outcome; its slot is abandoned instead.
    """
    slots = tables.slots
    if attempt.trial is None or cause not in (KILLED, EXPIRED):
        return None
    slot = connection.execute(
        select(slots.c.losses, slots.c.expirations).where(
            slots.c.study_uid == attempt.study_uid, slots.c.ordinal == attempt.ordinal
        )
    ).one()
    if cause == KILLED:
        return KILLED_WORKERS if slot.losses + 1 >= MOST_LOSSES else None
    return LEASE_RAN_OUT if slot.expirations + 1 >= MAX_EXPIRATIONS else None


def _settle_slot(
    connection: Connection, attempt: Any, outcome: str, reason: str | None, cause: str | None
) -> None:
    """finished; or waiting; or abandoned, once the configuration has been tried again already."""
    slots = tables.slots
    is_lost = outcome == "failed"
    losses = slots.c.losses + int(is_lost and (reason == ERROR or cause == KILLED))
    expirations = slots.c.expirations + int(is_lost and cause == EXPIRED)
    is_last = or_(losses >= MOST_LOSSES, expirations >= MAX_EXPIRATIONS)
    lost = case((is_last, "abandoned"), else_="waiting")
    connection.execute(
        update(slots)
        .where(
            slots.c.study_uid == attempt.study_uid,
            slots.c.ordinal == attempt.ordinal,
            slots.c.attempt_id == attempt.id,
        )
        .values(
            worker_id=None,
            losses=losses,
            expirations=expirations,
            state=lost if is_lost else "finished",
        )
    )


def _open_attempts_of_lost_workers(storage: Storage, study: StoredStudy) -> list[Any]:
    """Attempts not ended, of workers that ended, lost their lease, or are dead on this host.

    From then on such a worker's writes are refused.
    """
    attempts, workers, slots = tables.attempts, tables.workers, tables.slots
    with storage.read() as connection:
        rows = connection.execute(
            select(
                attempts,
                workers.c.host,
                workers.c.pid,
                workers.c.launch_id,
                workers.c.launcher_host,
                workers.c.launcher_pid,
                or_(workers.c.id.is_(None), workers.c.end_cause.is_not(None)).label("gone"),
                workers.c.ended_at.is_not(None).label("ended"),
                not_(storage.lately(workers.c.seen_at)).label("expired"),
            )
            .select_from(slots)
            .join(attempts, attempts.c.id == slots.c.attempt_id)
            .join(workers, attempts.c.worker_id == workers.c.id, isouter=True)
            .where(slots.c.study_uid == study.uid, slots.c.state == "claimed")
        ).all()
        now = connection.execute(select(storage.now())).scalar_one()
    watchful = storage.lookout.look(tables.LEASE_SECONDS, now)
    return [row for row in rows if row.gone or _is_lost(storage, row, watchful)]


def _is_lost(storage: Storage, row: Any, watchful: bool) -> bool:
    """Ends a worker that is dead, or broke off, or lost its lease; not one whose launcher is to
    say what ended it."""
    if row.ended or is_dead(row.host, row.pid):
        if _has_launcher(row) and not row.expired:
            return False
        end_worker(storage, row.worker_id, SHARED)
        return True
    return bool(row.expired) and watchful and _evict(storage, row.worker_id)


def _has_launcher(row: Any) -> bool:
    """Whether a worker's launcher lives, as far as is known here."""
    return row.launch_id is not None and not is_dead(row.launcher_host, row.launcher_pid)


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
                not_(storage.lately(workers.c.seen_at)),
            )
            .values(ended_at=storage.now(), end_cause=EXPIRED)
        )
    return bool(ended.rowcount)


@patient
def _stored_trial(
    storage: Storage, study: StoredStudy, attempt: Any
) -> tuple[int | None, Sequence[float]]:
    """Optuna's id of an attempt's trial, if it has one yet, and what that reported."""
    if attempt.trial is None:
        return None, []
    reports = optuna_tables.optuna_intermediate_values
    with storage.read() as connection:
        trial_id = _trial_id(connection, study, attempt.trial)
        losses = connection.execute(
            select(reports.c.intermediate_value).where(reports.c.trial_id == trial_id)
        )
        return trial_id, losses.scalars().all()


def _trial_id(connection: Connection, study: StoredStudy, number: int) -> int | None:
    """Optuna's id of a trial; None if another program deleted it."""
    trials = optuna_tables.optuna_trials
    query = select(trials.c.trial_id).where(
        trials.c.study_id == study.optuna_id, trials.c.number == number
    )
    return connection.execute(query).scalar()
