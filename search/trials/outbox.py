"""The outbox: what became of a study, recorded exactly once, for the service to deliver.

    done      its budget is met
    improved  a dev loss reached the target of [notify], or of [budget], for the first time
    trouble   its workers gave up on it

An event has a row of its own, whose key follows from the study, the event and the occasion, such as
the budget that is met. Where a trial's end is the cause, both are written in one transaction. Rows
are written whether anybody wants to be told or not: the service knows its own webhook, a worker
does not. Nothing is sent here.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from search.retry import retry_storage
from search.spec.sections import BudgetSection, NotifySection
from search.storage import tables
from search.storage.clock import now
from search.storage.database import Storage
from search.storage.rows import TableRow
from search.study.study import StoredStudy
from search.trials.budget import SlotCounts, part_met, progress

MAX_TRIES = 14
FIRST_PAUSE, MAX_PAUSE = 30.0, 7200.0
"""Seconds to the second try, twice as long to each further one: a day and a half in all."""
MAX_AGE = 7 * 86_400.0
"""Seconds after which an event that no service tried to deliver is of no interest any more."""


@dataclass(frozen=True)
class OutboxRow(TableRow):
    """A row of `makemore_outbox`; `tables.outbox` describes the columns."""

    id: str
    study_uid: str
    study_name: str
    event: str
    data: Mapping[str, Any]
    url: str | None
    created_at: float
    tries: int
    delivered_at: float | None
    problem: str | None


@dataclass(frozen=True)
class _Subject:
    """A study as it is now: what a worker knows of its budget and its webhook may be older."""

    uid: str
    name: str
    budget: BudgetSection
    notify: NotifySection

    @classmethod
    def locked(cls, connection: Connection, study_uid: str) -> "_Subject | None":
        """Reads a study and locks its row, so that an event is inserted once; None if deleted."""
        row = connection.execute(_named_by_uid(), {"study": study_uid}).first()
        if row is None:
            return None
        budget = BudgetSection.model_validate(row.document["budget"])
        notify = NotifySection.model_validate(row.document.get("notify", {}))
        return cls(study_uid, row.name, budget, notify)


@functools.cache
def _named_by_uid() -> Select[Any]:
    s = tables.studies
    return select(s.c.name, s.c.document).where(s.c.uid == bindparam("study")).with_for_update()


def record_progress(connection: Connection, study_uid: str) -> None:
    """Records what has become of a study, in the transaction that ended a trial or a worker."""
    study = _Subject.locked(connection, study_uid)
    if study is None:
        return
    counts = progress(connection, study_uid)
    target = study.notify.target if study.notify.target is not None else study.budget.target
    if target is not None and counts.best is not None and counts.best <= target:
        data: dict[str, Any] = {"target": target, "dev_loss": counts.best}
        _insert(connection, study, "improved", repr(target), data)
    if (ended_by := part_met(study.budget, counts)) is not None:
        elapsed = round(counts.elapsed_seconds, 3)
        data = {"ended_by": ended_by, **_counts(study, counts), "elapsed_seconds": elapsed}
        budget = (study.budget.trials, study.budget.timeout, study.budget.target)
        _insert(connection, study, "done", repr(budget), data)


@retry_storage
def record_trouble(storage: Storage, study_uid: str, problem: str) -> None:
    """Records that workers gave up on a study, once until another of its trials is finished.

    Args:
        problem: one line for people.
    """
    with storage.write() as connection:
        study = _Subject.locked(connection, study_uid)
        if study is None:
            return
        counts = progress(connection, study_uid)
        data = {"problem": problem[:500], **_counts(study, counts)}
        _insert(connection, study, "trouble", repr(counts.finished), data)


def _counts(study: _Subject, counts: SlotCounts) -> dict[str, Any]:
    trials = {"finished": counts.finished, "budget": study.budget.trials}
    return {"trials": trials, "dev_loss": counts.best}


def _insert(
    connection: Connection,
    study: _Subject,
    event: str,
    occasion: str,
    data: Mapping[str, Any],
) -> None:
    o, notify = tables.outbox, study.notify
    key = hashlib.sha256("\n".join((study.uid, event, occasion)).encode()).hexdigest()[:32]
    if connection.execute(select(o.c.id).where(o.c.id == key)).first() is not None:
        return
    is_unwanted = notify.url is not None and event not in notify.on
    connection.execute(
        o.insert().values(
            id=key,
            study_uid=study.uid,
            study_name=study.name,
            event=event,
            data=dict(data),
            url=None if is_unwanted else notify.url,
            created_at=now(),
            tries=0,
            next_try_at=None if is_unwanted else now(),
        )
    )


# Delivery, by the service


@retry_storage
def claim_due(storage: Storage) -> OutboxRow | None:
    """The event that has waited longest for its next try, which is thereby this process's.

    The try after it is fixed beforehand: if this process is killed before it knows what became of
    its own, that one follows, by whichever service there is.
    """
    o, s = tables.outbox, tables.studies
    moved = select(s.c.uid).where(s.c.uid == o.c.study_uid, s.c.moved_to.is_not(None)).exists()
    due = o.c.next_try_at <= now()
    query = select(o).where(due, ~moved).order_by(o.c.next_try_at, o.c.id).limit(1)
    with storage.read() as connection:
        if connection.execute(query).first() is None:  # a look that locks nothing
            return None
    with storage.write() as connection:
        row = connection.execute(query.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        pause = min(FIRST_PAUSE * 2**row.tries, MAX_PAUSE)
        connection.execute(
            update(o).where(o.c.id == row.id).values(tries=row.tries + 1, next_try_at=now() + pause)
        )
    return OutboxRow.of(row)


@retry_storage
def record_delivery(storage: Storage, event: OutboxRow, problem: str | None) -> None:
    """Records what became of a try; after the last one the event is given up."""
    delivered = problem is None
    _update(
        storage,
        event,
        delivered_at=now() if delivered else None,
        problem=problem,
        **_over() if delivered or event.tries + 1 >= MAX_TRIES else {},
    )


@retry_storage
def record_unwanted(storage: Storage, event: OutboxRow) -> None:
    """Records that there is nobody to tell."""
    _update(storage, event, **_over())


def _over() -> dict[str, None]:
    """What ends an event; the address, which may hold a secret, is not needed any more."""
    return {"next_try_at": None, "url": None}


def _update(storage: Storage, event: OutboxRow, **values: Any) -> None:
    o = tables.outbox
    with storage.write() as connection:
        connection.execute(update(o).where(o.c.id == event.id).values(**values))


@retry_storage
def discard_stale(storage: Storage) -> None:
    """Ends events that nobody has tried to deliver for MAX_AGE, as no service ran."""
    o = tables.outbox
    is_stale = (o.c.tries == 0) & (o.c.created_at < now() - MAX_AGE)
    with storage.write() as connection:
        connection.execute(
            update(o).where(o.c.next_try_at.is_not(None), is_stale).values(**_over())
        )


@retry_storage
def events(storage: Storage, study: StoredStudy) -> list[OutboxRow]:
    """What has been recorded of a study, the oldest first."""
    o = tables.outbox
    query = select(o).where(o.c.study_uid == study.uid).order_by(o.c.created_at, o.c.id)
    with storage.read() as connection:
        return [OutboxRow.of(row) for row in connection.execute(query)]
