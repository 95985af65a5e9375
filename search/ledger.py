"""What became of each attempt. Every step can be repeated: a crash between two loses nothing.

An attempt is finished in three transactions: its outcome is recorded, Optuna's trial is told, the
slot is settled. Whoever finds an attempt whose worker is gone goes on from where it stopped: a
recorded outcome is told on the worker's behalf, an attempt without one is lost.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import Connection, and_, case, func, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from search import tables
from search.budget import LEASE_SECONDS, Standing, locked_flags
from search.errors import NotFound, TrialLost
from search.processes import HOST, is_dead
from search.storage import Storage, patient
from search.study import StoredStudy, by_uid

ATTEMPT_ATTRIBUTE = "makemore:attempt"
"""Links an Optuna trial to its attempt, from the moment it exists."""

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


def attach_trial(storage: Storage, attempt_id: int, trial: int, config: dict[str, Any]) -> None:
    """Records which Optuna trial an attempt became."""
    _update_open(storage, attempt_id, trial=trial, config=config)


def record_audit(storage: Storage, attempt_id: int) -> None:
    """Records that the pruner would have stopped an attempt, which runs on to be audited."""
    _update_open(storage, attempt_id, audited=True)


@patient
def report(storage: Storage, trial_id: int, resource: int, dev_loss: float) -> None:
    """Stores one dev loss (finite); once this returns, it is in the database.

    Raises:
        TrialLost: the trial was given up on meanwhile.
    """
    reports, trials = tables.optuna_intermediate_values, tables.optuna_trials
    row = {
        reports.c.trial_id: trials.c.trial_id,
        reports.c.step: literal(resource),
        reports.c.intermediate_value: literal(dev_loss),
        reports.c.intermediate_value_type: literal(
            "FINITE", reports.c.intermediate_value_type.type
        ),
    }
    running = (trials.c.trial_id == trial_id) & (trials.c.state == TrialState.RUNNING)
    statement = storage.upsert(reports).from_select(list(row), select(*row.values()).where(running))
    statement = statement.on_conflict_do_update(
        index_elements=["trial_id", "step"],
        set_={"intermediate_value": statement.excluded.intermediate_value},
    )
    with storage.write() as connection:
        if connection.execute(statement).rowcount == 0:
            raise TrialLost(KILLED)


def record_outcome(storage: Storage, attempt_id: int, **values: Any) -> None:
    """First step of finishing: the outcome and all that was measured, in one transaction.

    Raises:
        TrialLost: the attempt was given up on meanwhile, or the study closed to further trials.
    """
    _update_open(storage, attempt_id, unless_closed=values["outcome"] != "failed", **values)


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
def settle(storage: Storage, study: StoredStudy, attempt_id: int, trial_id: int | None) -> None:
    """Second and third step: tells Optuna the recorded outcome, then settles the slot."""
    attempts = tables.attempts
    with storage.read() as connection:
        attempt = connection.execute(select(attempts).where(attempts.c.id == attempt_id)).first()
    if attempt is None:
        return  # the study has been deleted
    if trial_id is not None:
        _tell(storage, trial_id, attempt.outcome, attempt.dev_loss)
    with storage.write() as connection:
        losses = int(attempt.outcome == "failed" and attempt.reason != INTERRUPTED)
        slots = tables.slots
        connection.execute(
            update(slots)
            .where(
                slots.c.study_uid == study.uid,
                slots.c.attempt_id == attempt_id,
                slots.c.state == "claimed",
            )
            .values(
                worker_id=None,
                losses=slots.c.losses + losses,
                state="finished" if attempt.outcome != "failed" else _after_loss(losses),
            )
        )
        connection.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id, attempts.c.ended_at.is_(None))
            .values(ended_at=storage.now())
        )


@patient
def recover(storage: Storage, study: StoredStudy) -> int:
    """Settles every attempt whose worker is gone; returns how many there were."""
    lost = _open_attempts_of_lost_workers(storage, study)
    for attempt in lost:
        trial_id = _trial_id(storage, study, attempt)
        if trial_id is not None:
            disown_twins(storage, study, attempt.id, trial_id)
        if attempt.outcome is None:
            outcome, reason = _outcome_of_killed(storage, study, attempt, trial_id)
            losses = _reported(storage, trial_id)
            try:
                record_outcome(
                    storage,
                    attempt.id,
                    outcome=outcome,
                    reason=reason,
                    trial=_number(storage, trial_id),
                    dev_loss=min(losses) if losses else None,
                )
            except TrialLost:
                continue  # another process was first
        settle(storage, study, attempt.id, trial_id)
    return len(lost)


def recover_all(storage: Storage) -> None:
    """As `recover`, for every study with an attempt under way."""
    storage.lookout.look(LEASE_SECONDS)
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


def disown_twins(storage: Storage, study: StoredStudy, attempt_id: int, trial_id: int) -> None:
    """Fails every trial of an attempt but one.

    A trial is stored twice when the answer of the first time was lost on its way. The twin was
    never trained: it is recorded as an attempt that was interrupted as it began.
    """
    for twin in _trial_ids(storage, study, attempt_id):
        if twin != trial_id:
            _tell(storage, twin, "failed", None)
            _record_twin(storage, attempt_id, storage.optuna.get_trial(twin).number)


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


@patient
def _update_open(
    storage: Storage, attempt_id: int, *, unless_closed: bool = False, **values: Any
) -> None:
    attempts, studies = tables.attempts, tables.studies
    with storage.write() as connection:
        closed = connection.execute(
            select(studies.c.closed_at)
            .join(attempts, attempts.c.study_uid == studies.c.uid)
            .where(attempts.c.id == attempt_id)
            .with_for_update(of=studies)
        ).scalar()
        if unless_closed and closed is not None:
            raise TrialLost(INTERRUPTED)
        updated = connection.execute(
            update(attempts)
            .where(
                attempts.c.id == attempt_id,
                attempts.c.ended_at.is_(None),
                attempts.c.outcome.is_(None),
            )
            .values(**values)
        )
        done = updated.rowcount or _is_recorded(connection, attempt_id, values)
    if not done:
        raise TrialLost(KILLED)


def _is_recorded(connection: Connection, attempt_id: int, values: dict[str, Any]) -> bool:
    """Whether an attempt has this outcome already: from a try whose answer was lost."""
    attempts = tables.attempts
    found = connection.execute(
        select(attempts.c.outcome, attempts.c.reason).where(attempts.c.id == attempt_id)
    ).first()
    wanted = (values.get("outcome"), values.get("reason"))
    return found is not None and wanted[0] is not None and wanted == tuple(found)


@patient
def _record_twin(storage: Storage, attempt_id: int, number: int) -> None:
    attempts = tables.attempts
    copied = ("study_uid", "ordinal", "worker_id", "training_seed", "threads", "device", "versions")
    with storage.write() as connection:
        known = connection.execute(
            select(attempts.c.id).where(
                attempts.c.trial == number,
                attempts.c.study_uid
                == select(attempts.c.study_uid)
                .where(attempts.c.id == attempt_id)
                .scalar_subquery(),
            )
        ).first()
        if known is not None:
            return
        own = connection.execute(select(attempts).where(attempts.c.id == attempt_id)).one()
        connection.execute(
            attempts.insert().values(
                trial=number,
                config=own.config,
                started_at=own.started_at,
                ended_at=storage.now(),
                outcome="failed",
                reason=INTERRUPTED,
                **{name: own._mapping[name] for name in copied},
            )
        )


def _after_loss(losses: int) -> Any:
    """waiting, or abandoned once the configuration has been tried again already."""
    return case((tables.slots.c.losses + losses >= MOST_LOSSES, "abandoned"), else_="waiting")


def _tell(storage: Storage, trial_id: int, outcome: str, dev_loss: float | None) -> None:
    """Tells Optuna; a trial that has been told already is left as it is."""
    values = [dev_loss] if outcome in ("complete", "pruned") and dev_loss is not None else None
    # KeyError: the study has been deleted
    with contextlib.suppress(UpdateFinishedTrialError, KeyError):
        storage.optuna.set_trial_state_values(trial_id, OPTUNA_STATES[outcome], values)


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
                (workers.c.seen_at < storage.now() - LEASE_SECONDS).label("expired"),
            )
            .select_from(slots)
            .join(attempts, attempts.c.id == slots.c.attempt_id)
            .join(workers, attempts.c.worker_id == workers.c.id, isouter=True)
            .where(slots.c.study_uid == study.uid, slots.c.state == "claimed")
        ).all()
    watchful = storage.lookout.look(LEASE_SECONDS)
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
        if not storage.lookout.look(LEASE_SECONDS):  # it took long to get here
            return False
        ended = connection.execute(
            update(workers)
            .where(
                workers.c.id == worker_id,
                workers.c.ended_at.is_(None),
                workers.c.seen_at < storage.now() - LEASE_SECONDS,
            )
            .values(ended_at=storage.now())
        )
    return bool(ended.rowcount)


def _outcome_of_killed(
    storage: Storage, study: StoredStudy, attempt: Any, trial_id: int | None
) -> tuple[str, str]:
    slots = tables.slots
    with storage.read() as connection:
        losses = connection.execute(
            select(slots.c.losses).where(
                slots.c.study_uid == study.uid, slots.c.ordinal == attempt.ordinal
            )
        ).scalar_one()
    if losses + 1 >= MOST_LOSSES and trial_id is not None:
        return "pruned", KILLED_WORKERS
    return "failed", KILLED


def _trial_id(storage: Storage, study: StoredStudy, attempt: Any) -> int | None:
    """Optuna's id of an attempt's trial; also when the worker died before it noted the number."""
    if attempt.trial is not None:
        return storage.optuna.get_trial_id_from_study_id_trial_number(
            study.optuna_id, attempt.trial
        )
    found = _trial_ids(storage, study, attempt.id)
    return found[-1] if found else None


def _trial_ids(storage: Storage, study: StoredStudy, attempt_id: int) -> Sequence[int]:
    """Every trial that was stored for an attempt, the newest last."""
    attributes, trials = tables.optuna_system_attributes, tables.optuna_trials
    with storage.read() as connection:
        return (
            connection.execute(
                select(trials.c.trial_id)
                .join_from(
                    trials,
                    attributes,
                    and_(
                        trials.c.trial_id == attributes.c.trial_id,
                        attributes.c.key == ATTEMPT_ATTRIBUTE,
                    ),
                )
                .where(
                    trials.c.study_id == study.optuna_id,
                    attributes.c.value_json == json.dumps(attempt_id),
                )
                .order_by(trials.c.trial_id)
            )
            .scalars()
            .all()
        )


def _number(storage: Storage, trial_id: int | None) -> int | None:
    return None if trial_id is None else storage.optuna.get_trial(trial_id).number


def _reported(storage: Storage, trial_id: int | None) -> list[float]:
    if trial_id is None:
        return []
    return list(storage.optuna.get_trial(trial_id).intermediate_values.values())
