"""How much of a study's budget is used.

A study's budget counts slots. A slot is claimed by a worker, and is then finished (its trial is
complete or pruned), waiting (its attempt was lost and is to be tried again) or abandoned (it failed
twice). Since finished and claimed slots together never exceed the budget, neither do finished
trials.
"""

import functools
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select
from sqlalchemy.sql import ColumnElement

from search.retry import retry_storage
from search.spec.sections import BudgetSection
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.trials import working_time


@dataclass(frozen=True)
class SlotCounts:
    """The slots of a study by state, its working time and its best dev loss, at one moment."""

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


def progress(connection: Connection, study_uid: str) -> SlotCounts:
    """Reads a study's slots, its working time and its lowest complete dev loss."""
    row = connection.execute(_progress(), {"study": study_uid}).first()
    if row is None:  # deleted meanwhile
        return SlotCounts(0, 0, 0, 0, 0.0, None)
    return SlotCounts(
        finished=row.claimed_ever - row.claimed - row.waiting - row.abandoned,
        claimed=row.claimed,
        waiting=row.waiting,
        abandoned=row.abandoned,
        elapsed_seconds=working_time.elapsed_of(row),
        best=row.best,
    )


@functools.cache
def _progress() -> Select[Any]:
    """One row. Finished slots, of which there may be ten thousand, are not counted: ordinals have
    no gaps."""
    studies, slots, attempts = tables.studies, tables.slots, tables.attempts

    def count(state: str) -> ColumnElement[int]:
        return (
            select(func.count())
            .where(slots.c.study_uid == studies.c.uid, slots.c.state == state)
            .scalar_subquery()
            .label(state)
        )

    claimed_ever = select(func.coalesce(func.max(slots.c.ordinal) + 1, 0)).where(
        slots.c.study_uid == studies.c.uid
    )
    best = select(func.min(attempts.c.dev_loss)).where(
        attempts.c.study_uid == studies.c.uid, attempts.c.outcome == "complete"
    )
    return select(
        *working_time.elapsed_columns(),
        claimed_ever.scalar_subquery().label("claimed_ever"),
        count("claimed"),
        count("waiting"),
        count("abandoned"),
        best.scalar_subquery().label("best"),
    ).where(studies.c.uid == bindparam("study"))


@retry_storage
def progress_of(storage: Storage, study_uid: str) -> SlotCounts:
    """As `progress`, with a connection of its own."""
    with storage.read() as connection:
        return progress(connection, study_uid)


def budget_met(study: StoredStudy, now: SlotCounts) -> str | None:
    """The part of the study's budget that is met: trials, target or timeout; None if none is."""
    return part_met(study.spec.budget, now)


def part_met(budget: BudgetSection, now: SlotCounts) -> str | None:
    """As `budget_met`, of a budget."""
    if now.finished >= budget.trials:
        return "trials"
    if budget.target is not None and now.best is not None and now.best <= budget.target:
        return "target"
    if budget.timeout is not None and now.elapsed_seconds >= budget.timeout:
        return "timeout"
    return None


def is_budget_met(study: StoredStudy, now: SlotCounts) -> bool:
    """Whether the study's budget is met: its trials, its target or its timeout."""
    return budget_met(study, now) is not None
