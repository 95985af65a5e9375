"""Totals over all studies of a storage, for metrics: few queries, whatever the number of trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from search.retry import retry_storage
from search.spec.sections import BudgetSection
from search.storage import tables
from search.storage.clock import lately
from search.storage.database import Storage
from search.system.processes import is_dead
from search.trials.attempts import EXPIRED
from search.trials.budget import SlotCounts, part_met


@dataclass(frozen=True)
class StudyTotals:
    """One study."""

    name: str
    state: str  # open, stopped, done, closed, moved
    best: float | None
    priority: int
    queued: int  # trials that a worker could claim now


@dataclass(frozen=True)
class Totals:
    """All studies of a storage."""

    trials: Mapping[tuple[str, str], int]
    """By state and reason, which is empty where there is none."""
    training_seconds: float
    workers: int  # alive, at a study
    leases_expired: int  # of workers that were not seen for the time of a lease
    webhooks_due: int
    webhooks_failed: int  # given up
    studies: list[StudyTotals]  # the youngest first


@retry_storage
def totals(storage: Storage) -> Totals:
    """Reads the totals."""
    a, w = tables.attempts, tables.workers
    with storage.read() as connection:
        trials = connection.execute(
            select(a.c.outcome, a.c.reason, func.count(), func.sum(a.c.seconds))
            .where(a.c.trial.is_not(None))
            .group_by(a.c.outcome, a.c.reason)
        ).all()
        alive = connection.execute(
            select(w.c.host, w.c.pid).where(w.c.ended_at.is_(None), lately(w.c.seen_at))
        ).all()
        expired = select(func.count()).where(w.c.end_cause == EXPIRED)
        due, failed = _webhooks(connection)
        return Totals(
            trials={(outcome or "running", reason or ""): n for outcome, reason, n, _ in trials},
            training_seconds=float(sum(seconds or 0.0 for *_, seconds in trials)),
            workers=sum(not is_dead(row.host, row.pid) for row in alive),
            leases_expired=connection.execute(expired).scalar_one(),
            webhooks_due=due,
            webhooks_failed=failed,
            studies=_studies(connection),
        )


def _webhooks(connection: Connection) -> tuple[int, int]:
    """The events that are still to be delivered, and those that were given up."""
    o = tables.outbox
    row = connection.execute(
        select(
            func.count(o.c.next_try_at),
            func.count(o.c.problem).filter(o.c.next_try_at.is_(None), o.c.delivered_at.is_(None)),
        )
    ).one()
    return row[0], row[1]


def _studies(connection: Connection) -> list[StudyTotals]:
    s, a, slots = tables.studies, tables.attempts, tables.slots
    counts: dict[str, dict[str, int]] = {}
    for uid, state, count in connection.execute(
        select(slots.c.study_uid, slots.c.state, func.count()).group_by(
            slots.c.study_uid, slots.c.state
        )
    ):
        counts.setdefault(uid, {})[state] = count
    best: dict[str, float] = dict(
        connection.execute(
            select(a.c.study_uid, func.min(a.c.dev_loss))
            .where(a.c.outcome == "complete")
            .group_by(a.c.study_uid)
        ).all()
    )
    columns = (s.c.uid, s.c.name, s.c.document, s.c.closed_at, s.c.stop_requested_at, s.c.moved_to)
    rows = connection.execute(
        select(*columns, s.c.worked_seconds).order_by(s.c.created_at.desc(), s.c.uid)
    )
    return [_study(row, counts.get(row.uid, {}), best.get(row.uid)) for row in rows]


def _study(row: Any, counts: Mapping[str, int], best: float | None) -> StudyTotals:
    now = SlotCounts(
        **{name: counts.get(name, 0) for name in ("finished", "claimed", "waiting", "abandoned")},
        elapsed_seconds=row.worked_seconds,
        best=best,
    )
    budget = BudgetSection.model_validate(row.document["budget"])
    state = _state(row, budget, now)
    left = max(0, budget.trials - now.finished - now.claimed)
    return StudyTotals(
        name=row.name,
        state=state,
        best=best,
        priority=row.document["study"].get("priority", 0),
        queued=left if state == "open" else 0,
    )


def _state(row: Any, budget: BudgetSection, now: SlotCounts) -> str:
    if row.moved_to is not None:
        return "moved"
    if row.closed_at is not None:
        return "closed"
    if part_met(budget, now) is not None:
        return "done"
    return "open" if row.stop_requested_at is None else "stopped"
