"""The life of an attempt in the database: trial, reports, snapshots, outcome.

Every step can be repeated: a crash between two loses nothing. One transaction makes an attempt's
trial, and one ends both; reports come between them. Recovery ends an attempt whose worker is gone.

What ended the worker decides what the lost attempt counts as. It is a failure of the configuration
only if the launcher saw the worker die while the launcher and its fork server lived on; another
process that finds the dead worker leaves it to the launcher for as long as that lives. A cause that
several workers share is a failure of no configuration.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy import (
    Connection,
    Integer,
    Select,
    Update,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from search.errors import TrialLost
from search.retry import retry_storage
from search.storage import optuna_queries, optuna_studies, optuna_writer, tables
from search.storage.clock import now
from search.storage.database import Storage
from search.storage.optuna_writer import TrialKey
from search.storage.rows import AttemptRow
from search.study.study import StoredStudy, ensure_not_lost
from search.trials import outbox, working_time

MAX_FAILURES = 2
"""A configuration is set aside after this many failures; interruptions are none."""
MAX_EXPIRATIONS = 4
"""The same for expired leases, which a slow storage or a lost host causes too."""

KILLED, INTERRUPTED, ERROR, KILLED_WORKERS = "killed", "interrupted", "error", "killed workers"
LEASE_RAN_OUT = "lease ran out"

SHARED, EXPIRED = "shared", "expired"
"""What ended a worker, besides `killed`: a cause that others share, or an expired lease."""

OPTUNA_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


@retry_storage
def record_trial(
    storage: Storage,
    study: StoredStudy,
    attempt_id: int,
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    losses: Mapping[int, float],
) -> TrialKey:
    """Inserts an attempt's trial; a repeated call returns the same one.

    Args:
        config: the whole configuration.
        params: the searched values, for Optuna.
        losses: the reports that a retry inherits with its snapshot, by resource.

    Raises:
        TrialLost: the attempt was ended by another process meanwhile.
    """
    with storage.write() as connection:
        attempt = _locked_attempt(connection, attempt_id)
        if attempt is None or attempt.outcome is not None:
            raise TrialLost(KILLED)
        if attempt.trial is not None:  # inserted by a try whose answer was lost
            trial_id = optuna_queries.trial_id_of(connection, study.optuna_id, attempt.trial)
            if trial_id is None:
                raise TrialLost(KILLED)
            return TrialKey(trial_id, attempt.trial)
        if not optuna_studies.is_marked(connection, study.optuna_id, study.uid):
            ensure_not_lost(replace(study, optuna_id=optuna_studies.MISSING))
        free = connection.execute(_free_number(), {"study": study.uid}).scalar_one()
        made = optuna_writer.insert_trial(connection, study.optuna_id, params, distributions, free)
        optuna_writer.upsert_reports(storage, connection, made.trial_id, losses)
        values = {"trial": made.number, "config": dict(config), "inherited": len(losses)}
        connection.execute(_update_of(), {"attempt": attempt_id} | values)
    return made


@functools.cache
def _free_number() -> Select[Any]:
    """The number after those of all trials of a study of ours."""
    attempts = tables.attempts
    number = func.coalesce(func.max(attempts.c.trial) + 1, 0)
    return select(number).where(attempts.c.study_uid == bindparam("study"))


@functools.cache
def _update_of() -> Update:
    """Sets the columns of an attempt that are given."""
    return update(tables.attempts).where(tables.attempts.c.id == bindparam("attempt"))


@retry_storage
def record_reports(
    storage: Storage, study: StoredStudy, trial_id: int, losses: Mapping[int, float]
) -> None:
    """Stores finite dev losses, by resource; once this returns, they are in the database.

    Raises:
        TrialLost: the trial was ended by another process meanwhile, or its study deleted.
    """
    with storage.write() as connection:
        is_ours = optuna_studies.is_marked(connection, study.optuna_id, study.uid)
        if not is_ours or not optuna_writer.upsert_reports(storage, connection, trial_id, losses):
            raise TrialLost(KILLED)


@retry_storage
def record_snapshots(storage: Storage, attempt_id: int, entries: list[dict[str, Any]]) -> None:
    """Records a slot's snapshots, the newest first: {step, sha256}.

    Raises:
        TrialLost: the attempt was ended by another process meanwhile.
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


@retry_storage
def finish_attempt(
    storage: Storage,
    study: StoredStudy,
    attempt_id: int,
    trial_id: int | None,
    losses: Mapping[int, float],
    **values: Any,
) -> None:
    """Ends an attempt, its trial and its slot, with the outcome and all that was measured.

    At its configuration's last failure the outcome is `pruned`: the configuration is set aside.

    Args:
        trial_id: its trial; None to look it up.
        losses: the last reports, by resource.
        values: columns of the attempt, `outcome` and `reason` among them.

    Raises:
        TrialLost: the attempt was ended by another process, or the study was closed, meanwhile.
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
        if not optuna_studies.is_marked(connection, study.optuna_id, study.uid):
            trial_id = None  # another program's study has the number, and maybe the trial's id
        elif attempt.trial is not None:
            trial_id = trial_id or optuna_queries.trial_id_of(
                connection, study.optuna_id, attempt.trial
            )
        if trial_id is not None:  # None also where another program deleted it
            optuna_writer.upsert_reports(storage, connection, trial_id, losses)
            value = values.get("dev_loss") if outcome != "failed" else None
            attributes = _attributes(attempt, values)
            state = OPTUNA_STATES[outcome]
            optuna_writer.finish_trial(storage, connection, trial_id, state, value, attributes)
        _release_slot(connection, attempt, outcome, reason, cause)
        values["worked_seconds"] = working_time.elapsed_seconds(connection, study.uid)
        connection.execute(_end_of(), {"attempt": attempt_id} | values)
        outbox.record_progress(connection, study.uid)


@functools.cache
def _end_of() -> Update:
    return _update_of().values(ended_at=now())


USER_ATTRIBUTES = ("reason", "retry_of", "seconds", "examples", "parameters", "dev_loss_unseen")
"""The columns of an attempt that are user attributes of its trial, for Optuna's dashboard."""


def _attributes(attempt: AttemptRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's user attributes: the columns that have a value."""
    known = {"retry_of": attempt.retry_of, **values}
    return {name: known[name] for name in USER_ATTRIBUTES if known.get(name) is not None}


def _locked_attempt(connection: Connection, attempt_id: int) -> AttemptRow | None:
    row = connection.execute(_locked(), {"attempt": attempt_id}).first()
    return None if row is None else AttemptRow.of(row)


@functools.cache
def _locked() -> Select[Any]:
    attempts = tables.attempts
    return select(attempts).where(attempts.c.id == bindparam("attempt")).with_for_update()


def _is_closed(connection: Connection, study_uid: str) -> bool:
    """Whether the study's test split is open; it stays as it is during this transaction.

    Of two trials that end at the same time one waits for the other, and sees the budget met.
    """
    return connection.execute(_closed_at(), {"study": study_uid}).scalar() is not None


@functools.cache
def _closed_at() -> Select[Any]:
    studies = tables.studies
    closed_at = select(studies.c.closed_at).where(studies.c.uid == bindparam("study"))
    return closed_at.with_for_update()


def _end_cause(connection: Connection, attempt: AttemptRow) -> str | None:
    """What ended an attempt's worker; None if that is not recorded."""
    workers = tables.workers
    return connection.execute(
        select(workers.c.end_cause).where(workers.c.id == attempt.worker_id)
    ).scalar()


def _reason_to_set_aside(
    connection: Connection, attempt: AttemptRow, cause: str | None
) -> str | None:
    """Why a lost attempt is its configuration's last; None if it is tried again.

    An attempt that never became a trial cannot be set aside as one; its slot is abandoned instead.
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
        return KILLED_WORKERS if slot.losses + 1 >= MAX_FAILURES else None
    return LEASE_RAN_OUT if slot.expirations + 1 >= MAX_EXPIRATIONS else None


def _release_slot(
    connection: Connection, attempt: AttemptRow, outcome: str, reason: str | None, cause: str | None
) -> None:
    """Sets a slot to finished; or, after a lost attempt, to waiting or abandoned."""
    is_lost = outcome == "failed"
    key = {"study": attempt.study_uid, "slot": attempt.ordinal, "attempt": attempt.id}
    more = {
        "failure": int(is_lost and (reason == ERROR or cause == KILLED)),
        "expiration": int(is_lost and cause == EXPIRED),
    }
    connection.execute(_release(is_lost), key | more)


@functools.cache
def _release(is_lost: bool) -> Update:
    slots = tables.slots
    failures = slots.c.losses + bindparam("failure", type_=Integer())
    expirations = slots.c.expirations + bindparam("expiration", type_=Integer())
    is_last = or_(failures >= MAX_FAILURES, expirations >= MAX_EXPIRATIONS)
    lost = case((is_last, "abandoned"), else_="waiting")
    return (
        update(slots)
        .where(
            slots.c.study_uid == bindparam("study"),
            slots.c.ordinal == bindparam("slot"),
            slots.c.attempt_id == bindparam("attempt"),
        )
        .values(
            worker_id=None,
            losses=failures,
            expirations=expirations,
            state=lost if is_lost else "finished",
        )
    )
