"""The storage in more detail than `results`: what the live view, pictures and the report read.

Read-only and frozen, as there. Whole studies are read in one query, so that ten thousand trials
take a second and a writer never waits longer than that.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from search.retry import retry_storage
from search.storage import optuna_queries, tables
from search.storage.database import Storage
from search.study.study import StoredStudy

Curve = Sequence[Sequence[Any]]
"""[examples, dev loss, training seconds, train loss] of each evaluation; a train loss that was not
finite is None."""


@dataclass(frozen=True)
class AttemptView:
    """One attempt at a configuration that has ended, with all that was measured."""

    trial: int
    outcome: str
    reason: str | None
    dev_loss: float | None
    dev_loss_unseen: float | None
    train_loss: float | None
    seconds: float | None
    examples: int | None
    parameters: int | None
    config: Mapping[str, Any]
    curve: Curve
    ended_at: float
    worked_seconds: float  # the study's working time when it ended
    training_seed: int
    threads: int
    device: str
    versions: Mapping[str, str]
    checkpoint_sha256: str | None


@dataclass(frozen=True)
class CompleteView:
    """A complete trial: its dev loss, and when it ended."""

    trial: int
    dev_loss: float
    worked_seconds: float  # the study's working time then


@dataclass(frozen=True)
class WorkerView:
    """A worker that is alive, and the trial that it trains, if any."""

    host: str
    pid: int
    trial: int | None
    examples: int | None
    dev_loss: float | None


@dataclass(frozen=True)
class OpeningView:
    """The opening of the test split: its result is None until it has been evaluated."""

    study: str
    trial: int
    claimed_at: float
    evaluated_at: float | None
    result: Mapping[str, Any] | None


@retry_storage
def attempts(storage: Storage, study: StoredStudy) -> list[AttemptView]:
    """Every attempt that has ended and became a trial, in the order in which they ended."""
    a = tables.attempts
    columns = [a.c[name] for name in AttemptView.__dataclass_fields__]
    query = (
        select(*columns)
        .where(a.c.study_uid == study.uid, a.c.ended_at.is_not(None), a.c.trial.is_not(None))
        .order_by(a.c.worked_seconds, a.c.ended_at, a.c.trial)
    )
    with storage.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [_view(dict(row)) for row in rows]


@retry_storage
def complete_trials(
    storage: Storage, study: StoredStudy, below: float = float("inf")
) -> list[CompleteView]:
    """The complete trials in the order in which they ended; only those `below` a loss."""
    a = tables.attempts
    query = (
        select(a.c.trial, a.c.dev_loss, a.c.worked_seconds)
        .where(
            a.c.study_uid == study.uid,
            a.c.outcome == "complete",
            a.c.ended_at.is_not(None),
            a.c.dev_loss < below,
        )
        .order_by(a.c.worked_seconds, a.c.ended_at, a.c.trial)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
    return [CompleteView(row.trial, row.dev_loss, row.worked_seconds or 0.0) for row in rows]


def incumbents(
    storage: Storage, study: StoredStudy, below: float = float("inf")
) -> list[CompleteView]:
    """The trials that were the best when they ended, oldest first; only those `below` a loss."""
    return improvements(complete_trials(storage, study, below))


def improvements(ended: Sequence[CompleteView]) -> list[CompleteView]:
    """Of trials in the order in which they ended, those with a lower loss than all before them."""
    found: list[CompleteView] = []
    for each in ended:
        if not found or each.dev_loss < found[-1].dev_loss:
            found.append(each)
    return found


@retry_storage
def improvements_of(storage: Storage, study_uids: Sequence[str]) -> dict[str, list[CompleteView]]:
    """As `incumbents`, of several studies by their uids: one query, which finds them itself."""
    a = tables.attempts
    order = (a.c.worked_seconds, a.c.ended_at, a.c.trial)
    before: ColumnElement[Any] = func.min(a.c.dev_loss).over(
        partition_by=a.c.study_uid, order_by=order, rows=(None, -1)
    )
    ended = (
        select(a.c.study_uid, a.c.dev_loss, *order, before.label("before"))
        .where(a.c.study_uid.in_(study_uids), a.c.outcome == "complete", a.c.ended_at.is_not(None))
        .subquery()
    )
    e = ended.c
    query = (
        select(e.study_uid, e.trial, e.dev_loss, e.worked_seconds)
        .where(or_(e.before.is_(None), e.dev_loss < e.before), e.dev_loss.is_not(None))
        .order_by(e.study_uid, e.worked_seconds, e.ended_at, e.trial)
    )
    found: dict[str, list[CompleteView]] = {uid: [] for uid in study_uids}
    with storage.read() as connection:
        for row in connection.execute(query):
            view = CompleteView(row.trial, row.dev_loss, row.worked_seconds or 0.0)
            found[row.study_uid].append(view)
    return found


@retry_storage
def running_curves(storage: Storage, study: StoredStudy) -> dict[int, list[tuple[int, float]]]:
    """What each running trial has reported so far, by its number: (examples, dev loss)."""
    with storage.read() as connection:
        return optuna_queries.reports_of_running(connection, study.optuna_id)


@retry_storage
def workers(storage: Storage, study: StoredStudy) -> list[WorkerView]:
    """The workers that are alive, in the order in which they started."""
    w, s, a = tables.workers, tables.slots, tables.attempts
    holds = and_(s.c.study_uid == w.c.study_uid, s.c.state == "claimed", s.c.worker_id == w.c.id)
    query = (
        select(w.c.host, w.c.pid, a.c.trial)
        .select_from(w.outerjoin(s, holds).outerjoin(a, a.c.id == s.c.attempt_id))
        .where(
            w.c.study_uid == study.uid,
            w.c.ended_at.is_(None),
            storage.lately(w.c.seen_at),
        )
        .order_by(w.c.started_at, w.c.id)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
        reported = (
            optuna_queries.last_reports_of_running(connection, study.optuna_id) if rows else {}
        )
    return [
        WorkerView(row.host, row.pid, row.trial, *reported.get(row.trial, (None, None)))
        for row in rows
    ]


@retry_storage
def openings(storage: Storage, study: StoredStudy) -> tuple[OpeningView | None, list[OpeningView]]:
    """The study's own opening of the test split, and those of other studies before it."""
    o = tables.openings
    query = (
        select(o)
        .where(
            o.c.fingerprint == study.fingerprint,
            o.c.split_seed == study.spec.study.split_seed,
        )
        .order_by(o.c.claimed_at)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
    views = {
        row.study_uid: OpeningView(
            row.study_name, row.trial, row.claimed_at, row.evaluated_at, row.result
        )
        for row in rows
    }
    before = list(itertools.takewhile(lambda uid: uid != study.uid, views))
    return views.get(study.uid), [views[uid] for uid in before]


@retry_storage
def optuna_trial_id(storage: Storage, study: StoredStudy, number: int) -> int | None:
    """Optuna's id of a trial."""
    with storage.read() as connection:
        return optuna_queries.trial_id_of(connection, study.optuna_id, number)


@retry_storage
def attempt(storage: Storage, study: StoredStudy, trial: int) -> AttemptView | None:
    """One attempt that has ended."""
    a = tables.attempts
    columns = [a.c[name] for name in AttemptView.__dataclass_fields__]
    query = select(*columns).where(
        a.c.study_uid == study.uid, a.c.trial == trial, a.c.ended_at.is_not(None)
    )
    with storage.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _view(dict(row))


def _view(row: dict[str, Any]) -> AttemptView:
    empty = {"curve": (), "config": {}, "worked_seconds": 0.0}
    return AttemptView(**row | {name: row[name] or value for name, value in empty.items()})
