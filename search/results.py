"""The storage as frozen, read-only views. Everything that shows anything reads these.

Optuna's tables are read by SQL, never written: at ten thousand trials Optuna's own first read of a
study takes seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, select

from search import confirmations
from search.budget import Progress, budget_met, progress
from search.confidence_intervals import proportion
from search.confirmations import Candidate
from search.errors import NotFound
from search.formatting import verb_and_arguments
from search.ledger import INTERRUPTED
from search.processes import is_dead
from search.retry import patient
from search.services import is_served
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class TrialView:
    """One trial."""

    number: int
    state: str
    dev_loss: float | None
    config: Mapping[str, Any]
    seconds: float | None
    examples: int | None
    reason: str | None
    retry_of: int | None


@dataclass(frozen=True)
class SearchedView:
    """A complete trial, as the search found it: one seed."""

    trial: int
    dev_loss: float
    dev_loss_unseen: float | None
    config: Mapping[str, Any]
    parameters: int
    checkpoint_sha256: str | None


@dataclass(frozen=True)
class EnsembleView:
    """An ensemble that the study file names as the winner, or that `confirm` was asked for."""

    wins: bool  # the study file names one as the winner
    at_most: int
    models: int | None  # None: not chosen yet
    dev_loss: float | None  # of the averaged probabilities; dev chose them, so it is too good


@dataclass(frozen=True)
class UnconfirmedView:
    """A trial that no `confirm` has retrained."""

    trial: int
    dev_loss: float


@dataclass(frozen=True)
class BestView:
    """The winner: of `confirm` if there was one, else the complete trial with the lowest dev loss.

    It is a single configuration also where the study file names an ensemble as what `test` opens.
    """

    study: str
    trial: int
    confirmed: bool
    dev_loss: float  # as searched, of one seed: the lowest of many, so too good
    dev_loss_unseen: float | None  # likewise
    dev_loss_mean: float | None  # over fresh seeds; None: not confirmed
    dev_loss_mean_ci95: tuple[float, float] | None
    seeds: int  # fresh ones
    config: Mapping[str, Any]
    parameters: int
    checkpoint_sha256: str | None  # of the model that stands for it
    seed_index: int | None  # confirmed: that model is the one of this fresh seed, the first
    unconfirmed: UnconfirmedView | None  # not retrained, with a lower searched dev loss
    ensemble: EnsembleView | None

    @property
    def loss(self) -> float:
        """The number to go by: as confirmed, or else as searched."""
        return self.dev_loss if self.dev_loss_mean is None else self.dev_loss_mean


@dataclass(frozen=True)
class AuditView:
    """What pruning missed, as far as the audited trials tell; None where nothing can be told.

    Which of the trials that the pruner would have stopped run on is drawn beforehand, so they are
    a fair sample of them all. They are held against the best of the trials that the pruner let
    through, which is what the study would have ended with: the audited ones must not raise the
    bar for each other.
    """

    pruned: int  # stopped by the pruner
    audited: int  # would have been stopped, but ran on
    would_have_won: int  # of the audited: ended below the best that was let through
    rate: float | None  # would_have_won / audited
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class StatusView:
    """A study at a glance."""

    study: str
    state: str
    trials: Mapping[str, int]
    budget: Mapping[str, int]
    best: BestView | None
    elapsed_seconds: float
    eta_seconds: float | None  # None: nobody is at work on it, or nothing can be told yet
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


@patient
def status(storage: Storage, study: StoredStudy) -> StatusView:
    """Counts, budget, best and time of a study."""
    with storage.read() as connection:
        now = progress(storage, connection, study.uid)
        counts = _counts(connection, study)
        workers = _workers(storage, connection, study)
        served = is_served(storage, connection)
        interrupted = _interrupted(connection, study)
        crashed = not workers and _crashed(connection, study, now)
        begun = _begun(connection, study)
    ahead = 0 if study.closed else _ahead(study, now)
    budget = study.spec.budget
    return StatusView(
        study=study.name,
        state="closed" if study.closed else "done" if budget_met(study, now) else "open",
        trials=counts | {"waiting": counts["waiting"] + ahead},
        budget={"trials": budget.trials, "finished": now.finished},
        best=best(storage, study),
        elapsed_seconds=now.elapsed_seconds,
        eta_seconds=_eta(study, now, workers),
        audit=_audit(storage, study) if study.spec.pruner.audit else None,
        timeout=budget.timeout,
        target=budget.target,
        ended_by=_ended_by(study, now, begun and not workers, crashed),
        interrupted=interrupted,
        set_aside=now.abandoned,
        workers=workers,
        served=served,
        pruned_for=_pruned_for(storage, study),
    )


@patient
def trials(storage: Storage, study: StoredStudy) -> list[TrialView]:
    """Every trial, by number."""
    a = tables.attempts
    query = (
        select(
            a.c.trial.label("number"),
            a.c.outcome,
            a.c.dev_loss,
            a.c.config,
            a.c.seconds,
            a.c.examples,
            a.c.reason,
            a.c.retry_of,
        )
        .where(a.c.study_uid == study.uid, a.c.trial.is_not(None))
        .order_by(a.c.trial)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
    return [
        TrialView(
            number=row.number,
            state=row.outcome or "running",
            dev_loss=row.dev_loss,
            config=row.config or {},
            seconds=row.seconds,
            examples=row.examples,
            reason=row.reason,
            retry_of=row.retry_of,
        )
        for row in rows
    ]


def best(storage: Storage, study: StoredStudy) -> BestView | None:
    """The winner, the same wherever one is told; None where no trial is complete yet."""
    confirmed = confirmations.candidates(storage, study)
    searched = best_trials(storage, study, len(confirmed) + 1)
    if not searched:
        return None
    if not confirmed:
        return _best(storage, study, searched[0], None, None)
    known = {each.trial for each in confirmed}
    own = _searched(recorded_attempt(storage, study, confirmed[0].trial))
    better = (each for each in searched if each.trial not in known and each.dev_loss < own.dev_loss)
    return _best(storage, study, own, confirmed[0], next(better, None))


def _best(
    storage: Storage,
    study: StoredStudy,
    own: SearchedView,
    confirmed: Candidate | None,
    better: SearchedView | None,
) -> BestView:
    models = confirmations.models(storage, study) if confirmed else []
    first = next((each for each in models if each.trial == own.trial), None)
    return BestView(
        study=study.name,
        trial=own.trial,
        confirmed=confirmed is not None,
        dev_loss=own.dev_loss,
        dev_loss_unseen=own.dev_loss_unseen,
        dev_loss_mean=confirmed.dev_loss_mean if confirmed else None,
        dev_loss_mean_ci95=confirmed.dev_loss_mean_ci95 if confirmed else None,
        seeds=confirmed.seeds if confirmed else 0,
        config=own.config,
        parameters=own.parameters,
        checkpoint_sha256=first.checkpoint_sha256 if first else own.checkpoint_sha256,
        seed_index=first.seed_index if first else None,
        unconfirmed=UnconfirmedView(better.trial, better.dev_loss) if better else None,
        ensemble=_ensemble(storage, study),
    )


@patient
def _ensemble(storage: Storage, study: StoredStudy) -> EnsembleView | None:
    """What `confirm` chose, unless the study file names an ensemble of another number."""
    e, named = tables.ensembles, study.spec.confirm.ensemble
    query = select(e.c.most, e.c.members, e.c.dev_loss).where(e.c.study_uid == study.uid)
    with storage.read() as connection:
        row = connection.execute(query).first()
    if row is None or named not in (0, row.most):
        return EnsembleView(True, named, None, None) if named else None
    return EnsembleView(named > 0, row.most, len(row.members), row.dev_loss)


def require_best(storage: Storage, study: StoredStudy) -> BestView:
    """As `best`; raises NotFound where no trial is complete yet."""
    found = best(storage, study)
    if found is None:
        raise NotFound(
            f"study {study.name}: no complete trial yet; `run` it first, or look at its `status`"
        )
    return found


@patient
def best_trials(storage: Storage, study: StoredStudy, count: int) -> list[SearchedView]:
    """The complete trials with the lowest searched dev losses, best first; of equals, the first."""
    a = tables.attempts
    query = (
        select(a)
        .where(a.c.study_uid == study.uid, a.c.outcome == "complete")
        .order_by(a.c.dev_loss, a.c.trial)
        .limit(count)
    )
    with storage.read() as connection:
        return [_searched(row) for row in connection.execute(query)]


def _searched(row: Any) -> SearchedView:
    return SearchedView(
        trial=row.trial,
        dev_loss=row.dev_loss,
        dev_loss_unseen=row.dev_loss_unseen,
        config=row.config,
        parameters=row.parameters,
        checkpoint_sha256=row.checkpoint_sha256,
    )


@patient
def unfinished_slots(storage: Storage, study: StoredStudy) -> set[int]:
    """The ordinals of configurations that are being tried, or are to be tried again."""
    s = tables.slots
    with storage.read() as connection:
        return set(
            connection.execute(
                select(s.c.ordinal).where(
                    s.c.study_uid == study.uid, s.c.state.in_(("claimed", "waiting"))
                )
            ).scalars()
        )


@patient
def trials_to_keep(storage: Storage, study: StoredStudy, count: int) -> set[int]:
    """Trials whose checkpoints stay: the best, those under way, everything confirmed, and what a
    test opened or, once an ensemble has been chosen, will open."""
    a, o, e, s = tables.attempts, tables.openings, tables.ensembles, tables.slots
    c = tables.confirmations
    with storage.read() as connection:
        under_way = connection.execute(
            select(a.c.trial)
            .join_from(s, a, a.c.id == s.c.attempt_id)
            .where(s.c.study_uid == study.uid, s.c.state == "claimed")
        ).scalars()
        opened, retrained = (
            connection.execute(select(each.c.trial).where(each.c.study_uid == study.uid)).scalars()
            for each in (o, c)
        )
        chosen = connection.execute(select(e.c.members).where(e.c.study_uid == study.uid)).scalar()
        keep = {trial for trial in (*under_way, *opened, *retrained) if trial is not None}
        keep |= {member["trial"] for member in chosen or ()}
    return keep | {each.trial for each in best_trials(storage, study, count)}


@patient
def all_names(storage: Storage) -> list[str]:
    """The names of the studies in a storage, in the order in which they were created."""
    s = tables.studies
    with storage.read() as connection:
        return list(connection.execute(select(s.c.name).order_by(s.c.created_at)).scalars())


@patient
def recorded_attempt(storage: Storage, study: StoredStudy, trial: int) -> Any:
    """The attempt that became a trial.

    Raises:
        NotFound: the study has no such trial.
    """
    a = tables.attempts
    with storage.read() as connection:
        row = connection.execute(
            select(a).where(a.c.study_uid == study.uid, a.c.trial == trial)
        ).first()
    if row is None:
        raise NotFound(
            f"study {study.name}: has no trial {trial}; "
            f"`{verb_and_arguments('trials', study.name)}` lists them"
        )
    return row


def _ahead(study: StoredStudy, now: Progress) -> int:
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


def _audit(storage: Storage, study: StoredStudy) -> AuditView:
    """One pass over the attempts, in the database."""
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
    with storage.read() as connection:
        pruned, ran_on, winners, bar = connection.execute(query).one()
    if not ran_on or bar is None:
        return AuditView(pruned, ran_on, winners, None, None)
    return AuditView(pruned, ran_on, winners, winners / ran_on, proportion(winners, ran_on))


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


def _crashed(connection: Connection, study: StoredStudy, now: Progress) -> bool:
    """Whether the last workers died, or gave up on errors, as far as the attempts tell."""
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


def _ended_by(study: StoredStudy, now: Progress, left: bool, crashed: bool) -> str | None:
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


def _eta(study: StoredStudy, now: Progress, workers: int) -> float | None:
    """Seconds to go at the rate so far; None where nobody works, or nothing tells the rate."""
    if budget_met(study, now) or study.closed:
        return 0.0
    if not workers or study.stopped:
        return None
    budget = study.spec.budget
    left = [] if budget.timeout is None else [budget.timeout - now.elapsed_seconds]
    if now.finished:
        left.append(now.elapsed_seconds / now.finished * (budget.trials - now.finished))
    return min(left) if left else None
