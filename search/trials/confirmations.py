"""Read-only views of a study's confirmations: models, and configurations ranked by mean loss."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from search.confidence_intervals import mean_over_seeds
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy


@dataclass(frozen=True)
class ConfirmedModel:
    """A confirmed model: a configuration retrained on a fresh seed."""

    trial: int
    seed_index: int
    seed: int
    dev_loss: float
    dev_loss_unseen: float | None
    seconds: float
    checkpoint_sha256: str

    @property
    def key(self) -> tuple[int, int]:
        return self.trial, self.seed_index


TIE_NATS = 1e-4
"""Means closer than this are a tie, which goes to the configuration that trains faster."""


@dataclass(frozen=True)
class Candidate:
    """A configuration with its confirmed dev loss: over seeds, in nats per predicted character."""

    trial: int
    config: dict[str, Any]
    searched_dev_loss: float
    dev_loss_mean: float
    dev_loss_sd: float | None  # None: a single seed has no spread
    dev_loss_mean_ci95: tuple[float, float] | None  # over seeds
    dev_loss_unseen_mean: float | None
    seconds_mean: float
    seeds: int


@retry_storage
def models(storage: Storage, study: StoredStudy) -> list[ConfirmedModel]:
    """Every confirmed model of a study, by trial and seed."""
    c = tables.confirmations
    with storage.read() as connection:
        rows = connection.execute(
            select(
                c.c.trial,
                c.c.seed_index,
                c.c.seed,
                c.c.dev_loss,
                c.c.dev_loss_unseen,
                c.c.seconds,
                c.c.checkpoint_sha256,
            )
            .where(c.c.study_uid == study.uid)
            .order_by(c.c.trial, c.c.seed_index)
        ).all()
    return [ConfirmedModel(*row) for row in rows]


def candidates(storage: Storage, study: StoredStudy) -> list[Candidate]:
    """Every confirmed configuration, the lowest mean first; a tie goes to the faster one."""
    by_trial: dict[int, list[ConfirmedModel]] = {}
    for each in models(storage, study):
        by_trial.setdefault(each.trial, []).append(each)
    searched = _attempts(storage, study, list(by_trial)) if by_trial else {}
    found = [_candidate(searched[trial], own) for trial, own in by_trial.items()]
    return sorted(found, key=lambda c: (round(c.dev_loss_mean / TIE_NATS), c.seconds_mean))


@retry_storage
def _attempts(storage: Storage, study: StoredStudy, trials: Sequence[int]) -> dict[int, Any]:
    """The configurations and searched losses of trials, by number."""
    a = tables.attempts
    query = select(a.c.trial, a.c.config, a.c.dev_loss).where(
        a.c.study_uid == study.uid, a.c.trial.in_(trials)
    )
    with storage.read() as connection:
        return {row.trial: row for row in connection.execute(query)}


def _candidate(searched: Any, own: Sequence[ConfirmedModel]) -> Candidate:
    losses = [each.dev_loss for each in own]
    unseen = [each.dev_loss_unseen for each in own if each.dev_loss_unseen is not None]
    return Candidate(
        trial=searched.trial,
        config=dict(searched.config),
        searched_dev_loss=searched.dev_loss,
        dev_loss_mean=statistics.mean(losses),
        dev_loss_sd=statistics.stdev(losses) if len(losses) > 1 else None,
        dev_loss_mean_ci95=mean_over_seeds(losses),
        dev_loss_unseen_mean=statistics.mean(unseen) if unseen else None,
        seconds_mean=statistics.mean(each.seconds for each in own),
        seeds=len(own),
    )
