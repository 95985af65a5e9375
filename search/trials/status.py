"""How a study stands: its counts, its workers, what ended it, what is left."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.system.processes import is_dead
from search.trials import audits, remaining_time
from search.trials.attempts import INTERRUPTED
from search.trials.audits import AuditView
from search.trials.budget import SlotCounts, budget_met, progress
from search.trials.results import BestView, best
from search.trials.services import is_served


@dataclass(frozen=True)
class StatusView:
    """The status of a study: state, counts, best, time, workers."""

    study: str
    state: str
    trials: Mapping[str, int]
    budget: Mapping[str, int]
    best: BestView | None
    elapsed_seconds: float
    eta_seconds: float | None  # None: no worker runs, or no trial has finished
    audit: AuditView | None  # None: the study audits nothing
    timeout: float | None
    target: float | None
    ended_by: str | None
    """trials, timeout, target: so its budget was met. stop, interrupted, crash: there is more to
    do. test: it is closed. moved: it goes on elsewhere. None: it is under way, or has not begun."""
    interrupted: int  # of the failed trials: attempts that an interruption ended
    set_aside: int  # configurations that two errors ended
    workers: int  # at work on it now
    served: bool  # whether somebody works on whatever open study there is
    pruned_for: Mapping[str, int]
    """How many trials were pruned for each reason."""
    began_from: str | None
    """The study whose best configurations it tried first."""


@retry_storage
def status(storage: Storage, study: StoredStudy) -> StatusView:
    """Counts, budget, best and time of a study."""
    with storage.read() as connection:
        now = progress(connection, study.uid)
        counts = _counts(connection, study)
        workers = _workers(storage, connection, study)
        served = is_served(storage, connection)
        interrupted = _interrupted(connection, study)
        crashed = not workers and _crashed(connection, study, now)
        begun = _begun(connection, study)
        eta = _eta(connection, study, now, workers)
    ahead = 0 if study.closed else _queued(study, now)
    budget = study.spec.budget
    return StatusView(
        study=study.name,
        state="closed" if study.closed else "done" if budget_met(study, now) else "open",
        trials=counts | {"waiting": counts["waiting"] + ahead},
        budget={"trials": budget.trials, "finished": now.finished},
        best=best(storage, study),
        elapsed_seconds=now.elapsed_seconds,
        eta_seconds=eta,
        audit=audits.audit(storage, study) if study.spec.pruner.audit else None,
        timeout=budget.timeout,
        target=budget.target,
        ended_by=_ended_by(study, now, begun and not workers, crashed),
        interrupted=interrupted,
        set_aside=now.abandoned,
        workers=workers,
        served=served,
        pruned_for=_pruned_for(storage, study),
        began_from=study.spec.began_from,
    )


def _queued(study: StoredStudy, now: SlotCounts) -> int:
    """Known configurations that are still to be tried: lost ones, and enqueued ones."""
    return now.waiting + max(0, len(study.spec.enqueue) - now.claimed_ever)


def _counts(connection: Connection, study: StoredStudy) -> dict[str, int]:
    """Of our own trials by their states; what other programs add to Optuna's does not count."""
    a = tables.attempts
    rows = connection.execute(
        select(a.c.outcome, func.count())
        .where(a.c.study_uid == study.uid, a.c.trial.is_not(None))
        .group_by(a.c.outcome)
    )
    found = {outcome or "running": count for outcome, count in rows}
    return {
        state: found.get(state, 0)
        for state in ("complete", "pruned", "failed", "running", "waiting")
    }


def _pruned_for(storage: Storage, study: StoredStudy) -> dict[str, int]:
    a = tables.attempts
    query = (
        select(a.c.reason, func.count())
        .where(a.c.study_uid == study.uid, a.c.outcome == "pruned", a.c.reason.is_not(None))
        .group_by(a.c.reason)
        .order_by(func.count().desc(), a.c.reason)
    )
    with storage.read() as connection:
        counts: dict[str, int] = dict(connection.execute(query).all())
    return counts


def _workers(storage: Storage, connection: Connection, study: StoredStudy) -> int:
    """How many workers are at the study now: seen lately, and not known to be dead."""
    w = tables.workers
    rows = connection.execute(
        select(w.c.host, w.c.pid).where(
            w.c.study_uid == study.uid,
            w.c.ended_at.is_(None),
            storage.lately(w.c.seen_at),
        )
    )
    return sum(not is_dead(row.host, row.pid) for row in rows)


def _begun(connection: Connection, study: StoredStudy) -> bool:
    """Whether a worker has ever been at the study."""
    w = tables.workers
    query = select(w.c.id).where(w.c.study_uid == study.uid).limit(1)
    return connection.execute(query).first() is not None


def _interrupted(connection: Connection, study: StoredStudy) -> int:
    """How many trials an interruption ended."""
    a = tables.attempts
    return connection.execute(
        select(func.count()).where(
            a.c.study_uid == study.uid,
            a.c.outcome == "failed",
            a.c.reason == INTERRUPTED,
            a.c.trial.is_not(None),
        )
    ).scalar_one()


def _crashed(connection: Connection, study: StoredStudy, now: SlotCounts) -> bool:
    """Whether the last workers died or gave up after errors, judged by the attempts."""
    if now.claimed:
        return True  # what they held has not even been given back
    a = tables.attempts
    last = connection.execute(
        select(a.c.outcome, a.c.reason)
        .where(a.c.study_uid == study.uid, a.c.ended_at.is_not(None))
        .order_by(a.c.ended_at.desc(), a.c.id.desc())
        .limit(1)
    ).first()
    return last is not None and last.outcome == "failed" and last.reason != INTERRUPTED


def _ended_by(study: StoredStudy, now: SlotCounts, left: bool, crashed: bool) -> str | None:
    """What ended the work on a study; `left`: workers were at it, and none is now."""
    if study.moved_to is not None:
        return "moved"
    if (met := budget_met(study, now)) is not None:
        return met
    if study.closed:
        return "test"
    if study.stopped:
        return "stop"
    if not left:
        return None
    return "crash" if crashed else "interrupted"


def _eta(connection: Connection, study: StoredStudy, now: SlotCounts, workers: int) -> float | None:
    """Seconds to go; None where nobody works, or nothing tells how long a trial takes."""
    if budget_met(study, now) or study.closed:
        return 0.0
    if not workers or study.stopped:
        return None
    budget = study.spec.budget
    left = [] if budget.timeout is None else [budget.timeout - now.elapsed_seconds]
    trials = remaining_time.of_study(connection, study, max(0, now.unclaimed(study)), workers)
    if trials is not None:
        left.append(trials)
    return min(left) if left else None


def describe_beginning(view: StatusView) -> str | None:
    """What a study began from, as text; None for nothing but its own file."""
    if view.began_from is None:
        return None
    return f"it began with the best configurations of study {view.began_from}"


def describe_audit(view: StatusView) -> str | None:
    """How often a pruned trial would have beaten what pruning let through; None where the pruner
    stopped nothing."""
    audit, stopped = view.audit, view.pruned_for.get("pruner", 0)
    if not stopped and (audit is None or not audit.audited):
        return None
    unknown = (
        f"pruning: it stopped {stopped} trial{'s' * (stopped != 1)}; whether it missed a better "
        "one is unknown"
    )
    if audit is None:
        return f"{unknown}: no trial was audited, as the study file has no `audit` under [pruner]"
    if not audit.audited:
        return f"{unknown}: no trial was audited so far"
    if audit.rate is None:
        return f"{unknown}: no trial that was let through is complete"
    return audits.describe(audit)


def format_counts(view: StatusView) -> dict[str, int]:
    """Trials by state, for people: an attempt that was interrupted has not failed."""
    trials = view.trials
    return {
        "complete": trials["complete"],
        "pruned": trials["pruned"],
        "failed": trials["failed"] - view.interrupted,
        "interrupted": view.interrupted,
        "running": trials["running"],
        "waiting": trials["waiting"],
    }
