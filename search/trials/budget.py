"""How much of a study's budget is used.

A study's budget counts slots. A slot is claimed by a worker, and is then finished (its trial is
complete or pruned), waiting (its attempt was lost and is to be tried again) or abandoned (it failed
twice). Since finished and claimed slots together never exceed the budget, neither do finished
trials.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from search.retry import retry_storage
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


def progress(storage: Storage, connection: Connection, study_uid: str) -> SlotCounts:
    """Reads a study's slots, its working time and its lowest complete dev loss."""
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
    return SlotCounts(
        finished=counts.get("finished", 0),
        claimed=counts.get("claimed", 0),
        waiting=counts.get("waiting", 0),
        abandoned=counts.get("abandoned", 0),
        elapsed_seconds=working_time.elapsed_seconds(storage, connection, study_uid),
        best=best,
    )


@retry_storage
def progress_of(storage: Storage, study_uid: str) -> SlotCounts:
    """As `progress`, with a connection of its own."""
    with storage.read() as connection:
        return progress(storage, connection, study_uid)


def budget_met(study: StoredStudy, now: SlotCounts) -> str | None:
    """The part of the study's budget that is met: trials, target or timeout; None if none is."""
    budget = study.spec.budget
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
