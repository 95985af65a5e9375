"""Retrains the best configurations on fresh seeds, since the searched dev loss is optimistic.

A search reports the lowest of many noisy losses; by how much that is too low shows only when the
same configuration is trained again. Each (trial, seed) is recorded when it is done, so that a
confirmation that was interrupted continues where it stopped.
"""

import contextlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import IntegrityError

from search.errors import NotFound, StudyClosed
from search.evaluation.training_pool import Retraining, TrainingPool
from search.paths import DataDir
from search.retry import retry_files, retry_storage
from search.seeds import derive_seed
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy, files_of
from search.trials import confirmations, results
from search.trials.confirmations import Candidate, ConfirmedModel


def plan_retrainings(
    storage: Storage, study: StoredStudy, top: int, seeds: int
) -> list[Retraining]:
    """The trainings that are missing; the longest first, so that processes finish together.

    Raises:
        StudyClosed: the test split has been opened, so the winner is settled.
        NotFound: the study has no complete trial.
    """
    if study.closed:
        raise winner_settled_error(study)
    done = {each.key for each in confirmations.models(storage, study)}
    best = results.best_trials(storage, study, top)
    if not best:
        raise NotFound(f"study {study.name}: no complete trial to confirm; `run` it first")
    searched = [results.attempt_of_trial(storage, study, each.trial) for each in best]
    jobs = [
        Retraining(
            trial=each.trial,
            seed_index=index,
            seed=derive_seed(study.spec.study.seed, each.trial, f"confirm/{index}"),
            config=dict(each.config),
            searched_seconds=[seconds for _, _, seconds, _ in each.curve or ()],
        )
        for each in searched
        for index in range(seeds)
        if (each.trial, index) not in done
    ]
    return sorted(jobs, key=lambda job: -job.expected_seconds)


def winner_settled_error(study: StoredStudy) -> StudyClosed:
    """The error for changing a winner after the test split was opened for it."""
    return StudyClosed(
        f"study {study.name}: its test split has been opened, so its winner is settled; "
        "confirm before `test`"
    )


def makespan(seconds: Sequence[float], processes: int) -> float:
    """The seconds that processes take which fetch these jobs one after the other, in this order."""
    ends = [0.0] * processes
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def retrain_all(
    storage: Storage,
    study: StoredStudy,
    data_dir: DataDir,
    pool: TrainingPool,
    jobs: Sequence[Retraining],
    on_model: Callable[[ConfirmedModel], None],
) -> None:
    """Trains every job and records each as it is done, so that nothing done is done again.

    Raises:
        SearchError: a process died; the finished trainings are recorded.
    """
    files = files_of(study, data_dir)
    for job, model in pool.train(jobs, lambda job: data_dir.confirmed(study.uid, *job.key)):
        retry_files(partial(files.upload, data_dir.confirmed(study.uid, *job.key)))
        _record(storage, study, model)
        on_model(model)


@dataclass(frozen=True)
class Optimism:
    """Searched minus confirmed dev loss of the best trial; below 0, the search was optimistic."""

    loss: float
    ci95: tuple[float, float] | None  # over the fresh seeds; the searched loss is what it is


def optimism(
    storage: Storage, study: StoredStudy, confirmed: Sequence[Candidate]
) -> Optimism | None:
    """The optimism of the search about its best trial; None if that was not confirmed."""
    best = results.best_trials(storage, study, 1)[0].trial
    found = next((each for each in confirmed if each.trial == best), None)
    if found is None:
        return None
    searched, ci95 = found.searched_dev_loss, found.dev_loss_mean_ci95
    return Optimism(
        searched - found.dev_loss_mean, ci95 and (searched - ci95[1], searched - ci95[0])
    )


@retry_storage
def _record(storage: Storage, study: StoredStudy, done: ConfirmedModel) -> None:
    # IntegrityError: inserted already, by a try whose answer was lost
    with contextlib.suppress(IntegrityError), storage.write() as connection:
        connection.execute(tables.confirmations.insert().values(study_uid=study.uid, **vars(done)))
