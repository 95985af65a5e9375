"""Audited pruning: how often the trials that a pruner would stop are worth their time after all.

Which of them run on is drawn beforehand, so they are a fair sample of them all. Each is held
against the lowest loss that the study had when it would have been stopped, which is what the
`predictive` pruner makes a promise about, and against the best of the trials that were let through.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, select, update

from search.confidence_intervals import proportion
from search.retry import retry_storage
from search.storage import optuna_queries, optuna_writer, tables
from search.storage.database import Storage
from search.study.study import StoredStudy

LOWEST, CHANCE = "audit_lowest", "audit_chance"
"""User attributes of an audited trial: the lowest dev loss that the study had when it would have
been stopped, and the predicted probability that it ends below."""


@dataclass(frozen=True)
class AuditView:
    """How often pruning was wrong, estimated from the audited trials; None where it is not known.

    The trials that were let through are what the study would have ended with: the audited ones must
    not raise the bar for each other.
    """

    pruned: int  # stopped by the pruner
    audited: int  # would have been stopped, but ran on
    would_have_won: int  # of the audited: ended below the best that was let through
    rate: float | None  # would_have_won / audited
    ci95: tuple[float, float] | None
    judged: int  # of the audited: ended, and the lowest loss of the moment is known
    ended_lowest: int  # of the judged: ended below the lowest loss of that moment
    ended_lowest_rate: float | None  # ended_lowest / judged
    ended_lowest_ci95: tuple[float, float] | None
    promised: float | None  # `predictive`: that rate at most
    predicted: float | None  # `predictive`: the mean of what it predicted for each of the judged


@retry_storage
def record(
    storage: Storage,
    attempt_id: int,
    trial_id: int,
    lowest: float | None = None,
    chance: float | None = None,
) -> None:
    """Records that the pruner would have stopped an attempt, which runs on as an audit.

    Args:
        lowest: the lowest dev loss of the study's other trials, if there is one.
        chance: the predicted probability that this one ends below it, if there is one.
    """
    values = {LOWEST: lowest, CHANCE: chance}
    known = {name: value for name, value in values.items() if value is not None}
    with storage.write() as connection:
        if _mark(connection, attempt_id):
            optuna_writer.set_attributes(storage, connection, trial_id, known)


@retry_storage
def inherit(
    storage: Storage, study: StoredStudy, attempt_id: int, trial_id: int, lost_trial: int | None
) -> None:
    """Records the same of an attempt as of the one before it, which became `lost_trial`."""
    with storage.write() as connection:
        known = {
            name: found[lost_trial]
            for name in (LOWEST, CHANCE)
            if lost_trial in (found := optuna_queries.attributes(connection, study.optuna_id, name))
        }
        if _mark(connection, attempt_id):
            optuna_writer.set_attributes(storage, connection, trial_id, known)


def _mark(connection: Connection, attempt_id: int) -> bool:
    """Marks an attempt that has not ended as audited; whether there is one."""
    attempts = tables.attempts
    marked = connection.execute(
        update(attempts)
        .where(attempts.c.id == attempt_id, attempts.c.outcome.is_(None))
        .values(audited=True)
    )
    return marked.rowcount > 0


@retry_storage
def audit(storage: Storage, study: StoredStudy) -> AuditView:
    """What the audited trials of a study say."""
    pruner = study.spec.pruner
    with storage.read() as connection:
        pruned, audited, winners, bar = _counts(connection, study)
        lowest = optuna_queries.attributes(connection, study.optuna_id, LOWEST)
        chances = optuna_queries.attributes(connection, study.optuna_id, CHANCE)
        ends = _ends(connection, study)
    judged = {trial: loss for trial, loss in ends.items() if trial in lowest}
    ended_lowest = sum(loss < lowest[trial] for trial, loss in judged.items())
    predicted = [chances[trial] for trial in judged if trial in chances]
    is_known = audited > 0 and bar is not None
    return AuditView(
        pruned=pruned,
        audited=audited,
        would_have_won=winners,
        rate=winners / audited if is_known else None,
        ci95=proportion(winners, audited) if is_known else None,
        judged=len(judged),
        ended_lowest=ended_lowest,
        ended_lowest_rate=ended_lowest / len(judged) if judged else None,
        ended_lowest_ci95=proportion(ended_lowest, len(judged)) if judged else None,
        promised=pruner.probability if pruner.kind == "predictive" else None,
        predicted=sum(predicted) / len(predicted) if predicted else None,
    )


def _counts(connection: Connection, study: StoredStudy) -> tuple[int, int, int, float | None]:
    """How many trials were stopped, ran on, and won; and the best loss that was let through."""
    a = tables.attempts
    ended = and_(a.c.study_uid == study.uid, a.c.outcome != "failed", a.c.ended_at.is_not(None))
    stopped = a.c.reason.is_not_distinct_from("pruner")
    audited = and_(a.c.audited.is_(True), not_(stopped))
    complete = a.c.outcome == "complete"
    let_through = (
        select(func.min(a.c.dev_loss)).where(ended, complete, a.c.audited.is_not(True))
    ).scalar_subquery()
    won = and_(audited, complete, a.c.dev_loss < let_through)

    def count(which: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count(case((which, 1)))

    query = select(count(stopped), count(audited), count(won), let_through).where(ended)
    pruned, ran_on, winners, bar = connection.execute(query).one()
    return pruned, ran_on, winners, bar


def _ends(connection: Connection, study: StoredStudy) -> dict[int, float]:
    """The dev loss of each audited trial that ran to its end, by number."""
    a = tables.attempts
    query = select(a.c.trial, a.c.dev_loss).where(
        a.c.study_uid == study.uid,
        a.c.audited.is_(True),
        a.c.outcome == "complete",
        a.c.trial.is_not(None),
    )
    return {row.trial: row.dev_loss for row in connection.execute(query)}


def describe(audit: AuditView) -> str:
    """What the audited trials say, of which there are some, and one that was let through."""
    assert audit.rate is not None
    text = (
        f"pruning: {audit.would_have_won} of {audit.audited} audited trials would have beaten the "
        f"best that was let through: {_share(audit.rate, audit.ci95)}"
    )
    if audit.ended_lowest_rate is None:
        return text
    text += (
        f"; {audit.ended_lowest} of {audit.judged} ended below the lowest loss of the moment: "
        f"{_share(audit.ended_lowest_rate, audit.ended_lowest_ci95)}"
    )
    if audit.promised is None or audit.predicted is None:
        return text
    return f"{text}, predicted {audit.predicted:.1%}, promised below {audit.promised:.0%}"


def _share(rate: float, ci95: tuple[float, float] | None) -> str:
    assert ci95 is not None
    return f"{rate:.0%} (95% interval {ci95[0]:.0%} to {ci95[1]:.0%})"
