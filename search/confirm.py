"""Retrains the best configurations on fresh seeds: the dev loss that chose a winner flatters it.

A search reports the lowest of many noisy losses, so its best is too good by an amount that nobody
knows until the same configuration is trained again. Each (trial, seed) is recorded as soon as it is
done; a confirmation that was interrupted goes on where it stopped.
"""

import heapq
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import select

from search import results, tables
from search.errors import NotFound, StudyClosed
from search.intervals import mean_over_seeds
from search.paths import DataDir
from search.samplers import derive_seed
from search.shelf import insist
from search.storage import Storage, patient
from search.study import StoredStudy, shelf_of
from search.training_pool import Job, Trained, TrainingPool

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


def plan(storage: Storage, study: StoredStudy, top: int, seeds: int) -> list[Job]:
    """What is still to be trained; the longest first, so that no process is left with one alone.

    Raises:
        StudyClosed: the test split has been opened, so the winner is settled.
        NotFound: the study has no complete trial.
    """
    if study.closed:
        raise settled(study)
    done = {each.key for each in trained(storage, study)}
    best = results.best_trials(storage, study, top)
    if not best:
        raise NotFound(f"study {study.name}: no complete trial to confirm; `run` it first")
    searched = [results.recorded_attempt(storage, study, each.trial) for each in best]
    jobs = [
        Job(
            trial=each.trial,
            seed_index=index,
            seed=derive_seed(study.spec.study.seed, each.trial, f"confirm/{index}"),
            config=dict(each.config),
            searched_seconds=[seconds for _, _, seconds, _ in each.curve],
        )
        for each in searched
        for index in range(seeds)
        if (each.trial, index) not in done
    ]
    return sorted(jobs, key=lambda job: -job.expected_seconds)


def settled(study: StoredStudy) -> StudyClosed:
    """The error of whoever would still change a winner that the test split was opened for."""
    return StudyClosed(
        f"study {study.name}: its test split has been opened, so its winner is settled; "
        "confirm before `test`"
    )


def makespan(seconds: Sequence[float], processes: int) -> float:
    """How long jobs take that so many processes fetch one after the other, in this order."""
    ends = [0.0] * processes
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def train_all(
    storage: Storage,
    study: StoredStudy,
    data_dir: DataDir,
    pool: TrainingPool,
    jobs: Sequence[Job],
    tell: Callable[[Trained], None],
) -> None:
    """Trains every job and records each as it is done, so that nothing done is done again.

    Raises:
        SearchError: a process died; what was done is recorded.
    """
    shelf = shelf_of(study, data_dir)
    for job, done in pool.train(jobs, lambda job: data_dir.confirmed(study.uid, *job.key)):
        insist(partial(shelf.put, data_dir.confirmed(study.uid, *job.key)))
        _record(storage, study, done)
        tell(done)


def candidates(storage: Storage, study: StoredStudy) -> list[Candidate]:
    """Every confirmed configuration, the lowest mean first; a tie goes to the cheaper one."""
    by_trial: dict[int, list[Trained]] = {}
    for each in trained(storage, study):
        by_trial.setdefault(each.trial, []).append(each)
    found = [
        _candidate(storage, study, trial, models) for trial, models in sorted(by_trial.items())
    ]
    return sorted(found, key=lambda c: (round(c.dev_loss_mean / TIE_NATS), c.seconds_mean))


@dataclass(frozen=True)
class Optimism:
    """Searched minus confirmed dev loss of the search's best trial: below zero, it flattered."""

    loss: float
    ci95: tuple[float, float] | None  # over the fresh seeds; the searched loss is what it is


def optimism(
    storage: Storage, study: StoredStudy, confirmed: Sequence[Candidate]
) -> Optimism | None:
    """How much the search flattered its best trial; None if that one was not confirmed."""
    best = results.require_best(storage, study).trial
    found = next((each for each in confirmed if each.trial == best), None)
    if found is None:
        return None
    searched, ci95 = found.searched_dev_loss, found.dev_loss_mean_ci95
    return Optimism(
        searched - found.dev_loss_mean, ci95 and (searched - ci95[1], searched - ci95[0])
    )


@patient
def trained(storage: Storage, study: StoredStudy) -> list[Trained]:
    """Every confirmed model of a study."""
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
    return [Trained(*row) for row in rows]


def _candidate(
    storage: Storage, study: StoredStudy, trial: int, models: Sequence[Trained]
) -> Candidate:
    attempt = results.recorded_attempt(storage, study, trial)
    losses = [each.dev_loss for each in models]
    unseen = [each.dev_loss_unseen for each in models if each.dev_loss_unseen is not None]
    return Candidate(
        trial=trial,
        config=dict(attempt.config),
        searched_dev_loss=attempt.dev_loss,
        dev_loss_mean=statistics.mean(losses),
        dev_loss_sd=statistics.stdev(losses) if len(losses) > 1 else None,
        dev_loss_mean_ci95=mean_over_seeds(losses),
        dev_loss_unseen_mean=statistics.mean(unseen) if unseen else None,
        seconds_mean=statistics.mean(each.seconds for each in models),
        seeds=len(models),
    )


@patient
def _record(storage: Storage, study: StoredStudy, done: Trained) -> None:
    with storage.write() as connection:
        connection.execute(tables.confirmations.insert().values(study_uid=study.uid, **vars(done)))
