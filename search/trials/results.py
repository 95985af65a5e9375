"""Read-only views of a study: trials, winner, counts. Every display reads these.

Optuna's tables are read by SQL, never written: at ten thousand trials Optuna's own first read of a
study takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from makemore_core.config import FIELDS
from search.errors import NotFound
from search.formatting import verb_and_arguments
from search.retry import retry_storage
from search.storage import optuna_queries, tables
from search.storage.database import Storage
from search.storage.rows import TrialRow
from search.study.study import StoredStudy
from search.trials import confirmations
from search.trials.attempts import KILLED_WORKERS, LEASE_RAN_OUT
from search.trials.confirmations import Candidate

TRIAL_COLUMNS = ("number", "state", "dev_loss", "seconds", "examples", "reason", "retry_of")
"""The columns of a trial that are not of its configuration."""


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
    """A complete trial as searched, with one seed."""

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
    dev_loss: float | None  # of the averaged probabilities; optimistic, as dev selected them


@dataclass(frozen=True)
class UnconfirmedView:
    """A trial that `confirm` has not retrained."""

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
    dev_loss: float  # as searched, of one seed: the lowest of many, so optimistic
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
        """The confirmed dev loss if there is one, or else the searched one."""
        return self.dev_loss if self.dev_loss_mean is None else self.dev_loss_mean


@retry_storage
def trials(
    storage: Storage, study: StoredStudy, after: int = -1, limit: int | None = None
) -> list[TrialView]:
    """Every trial, by number; of those with a number above `after`, at most `limit`."""
    a = tables.attempts
    with storage.read() as connection:
        rows = connection.execute(
            _trials(study).where(a.c.trial > after).order_by(a.c.trial).limit(limit)
        ).all()
    return [_trial(row) for row in rows]


@retry_storage
def trials_ended_since(
    storage: Storage, study: StoredStudy, moment: float
) -> tuple[list[TrialView], float]:
    """The trials that ended after a moment, in that order; and the moment of the last one."""
    a = tables.attempts
    with storage.read() as connection:
        rows = connection.execute(
            _trials(study).where(a.c.ended_at > moment).order_by(a.c.ended_at, a.c.trial)
        ).all()
    return [_trial(row) for row in rows], max([moment, *(row.ended_at for row in rows)])


def _trials(study: StoredStudy) -> Select[Any]:
    a = tables.attempts
    return select(
        a.c.trial.label("number"),
        a.c.outcome,
        a.c.dev_loss,
        a.c.config,
        a.c.seconds,
        a.c.examples,
        a.c.reason,
        a.c.retry_of,
        a.c.ended_at,
    ).where(a.c.study_uid == study.uid, a.c.trial.is_not(None))


def _trial(row: Any) -> TrialView:
    return TrialView(
        number=row.number,
        state=row.outcome or "running",
        dev_loss=row.dev_loss,
        config=row.config or {},
        seconds=row.seconds,
        examples=row.examples,
        reason=row.reason,
        retry_of=row.retry_of,
    )


def flat_columns(views: Sequence[TrialView]) -> list[str]:
    """The columns of `flat_rows`: a trial's own, then its configuration's, in a fixed order.

    A trial's `examples` are those that it saw; `config_examples` those of its budget.
    """
    return [*TRIAL_COLUMNS, *(_column_of(name) for name in _config_names(views))]


def flat_rows(views: Sequence[TrialView]) -> list[dict[str, Any]]:
    """The trials with a column for each value of the configuration."""
    names = _config_names(views)
    return [
        {name: getattr(view, name) for name in TRIAL_COLUMNS}
        | {_column_of(name): view.config.get(name) for name in names}
        for view in views
    ]


def _config_names(views: Sequence[TrialView]) -> list[str]:
    found = {name for view in views for name in view.config}
    return [*FIELDS, *sorted(found.difference(FIELDS))]


def _column_of(name: str) -> str:
    return f"config_{name}" if name in TRIAL_COLUMNS else name


def best(storage: Storage, study: StoredStudy) -> BestView | None:
    """The winner; None if no trial is complete yet."""
    confirmed = confirmations.candidates(storage, study)
    searched = best_trials(storage, study, len(confirmed) + 1)
    if not searched:
        return None
    if not confirmed:
        return _best(storage, study, searched[0], None, None)
    known = {each.trial for each in confirmed}
    own = _searched(attempt_of_trial(storage, study, confirmed[0].trial))
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


@retry_storage
def _ensemble(storage: Storage, study: StoredStudy) -> EnsembleView | None:
    """The ensemble that `confirm` selected, unless the study file names another number."""
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


@retry_storage
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


def best_configurations(
    storage: Storage, study: StoredStudy, count: int
) -> tuple[Mapping[str, Any], ...]:
    """The configurations of the winner and of the complete trials with the lowest dev losses, each
    once.

    Raises:
        NotFound: no trial is complete yet.
    """
    found = [require_best(storage, study).config]
    for each in best_trials(storage, study, DUPLICATES * count):
        if each.config not in found:
            found.append(each.config)
    return tuple(found[:count])


DUPLICATES = 10
"""Trials that are looked at for each configuration, since several may have the same one."""


def _searched(row: Any) -> SearchedView:
    return SearchedView(
        trial=row.trial,
        dev_loss=row.dev_loss,
        dev_loss_unseen=row.dev_loss_unseen,
        config=row.config,
        parameters=row.parameters,
        checkpoint_sha256=row.checkpoint_sha256,
    )


@retry_storage
def study_names(storage: Storage) -> list[str]:
    """The names of the studies in a storage, in the order in which they were created."""
    s = tables.studies
    with storage.read() as connection:
        return list(connection.execute(select(s.c.name).order_by(s.c.created_at)).scalars())


@retry_storage
def attempt_of_trial(storage: Storage, study: StoredStudy, trial: int) -> TrialRow:
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
    return TrialRow.of(row)


@retry_storage
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
            func.coalesce(attempts.c.reason, "").not_in((KILLED_WORKERS, LEASE_RAN_OUT)),
        )
    )
    if host is not None:
        finished = finished.where(workers.c.host == host)
    with storage.read() as connection:
        return connection.execute(finished).scalar_one()


@retry_storage
def reports_on(storage: Storage, study_uid: str, host: str | None) -> int:
    """Dev losses that workers of a host, or of any, reported; those that a retry took over from
    the attempt before it do not count."""
    a, w = tables.attempts, tables.workers
    inherited = (
        select(func.coalesce(func.sum(a.c.inherited), 0))
        .join(w, w.c.id == a.c.worker_id)
        .where(a.c.study_uid == study_uid)
    )
    if host is not None:
        inherited = inherited.where(w.c.host == host)
    with storage.read() as connection:
        counted = optuna_queries.count_reports(connection, study_uid, host)
        return counted - int(connection.execute(inherited).scalar_one())
