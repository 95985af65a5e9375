"""The command `confirm`: its estimate, its trainings, its table, and the ensemble."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.model.network import initialize
from makemore_core.randomness import generator
from makemore_core.training.evaluate import word_losses
from search.confidence_intervals import bootstrap, mean_over_seeds
from search.errors import BadInput
from search.evaluation import candidates, ensemble
from search.evaluation.training_pool import Retraining, TrainingPool
from search.paths import DataDir
from search.storage.database import Storage
from search.study.memory import ensure_corpus_fits
from search.study.study import (
    StoredStudy,
    corpus_of,
    ensure_artifacts_reachable,
    ensure_writable,
    load_model,
)
from search.trials import confirmations
from search.trials.confirmations import Candidate, ConfirmedModel


@dataclass(frozen=True)
class Confirmation:
    """The JSON document of `confirm`: `winner` is the best single configuration, also where the
    ensemble is what `test` will open (`ensemble["winner"]`)."""

    study: str
    winner: dict[str, Any]
    candidates: list[dict[str, Any]]
    optimism: float | None
    optimism_ci95: tuple[float, float] | None
    ensemble: dict[str, Any] | None
    announced_seconds: float | None  # None: nothing was left to be trained
    seconds: float


def run(
    storage: Storage,
    study: StoredStudy,
    data_dir: DataDir,
    top: int,
    seeds: int,
    max_members: int | None,
    workers: int,
    threads: int,
    emit: Callable[[str], object],
) -> Confirmation:
    """Retrains the best configurations on fresh seeds as far as missing, then compares them.

    Args:
        max_members: of an ensemble; None for the study file's number, or no ensemble.

    Raises:
        BadInput: the study file names an ensemble as the winner, of another number; or the models
            could not be stored, as this host cannot reach their place; or the words take more
            memory in so many processes than there is.
    """
    started = time.monotonic()
    size = _max_members(study, max_members)
    jobs = candidates.plan_retrainings(storage, study, top, seeds)
    corpus = corpus_of(storage, study, data_dir)
    data = Dataset.from_corpus(corpus, study.spec.study.split_seed)
    announced = None
    if jobs:
        ensure_artifacts_reachable(study)
        ensure_writable(study, data_dir)
        processes = min(workers, len(jobs))
        ensure_corpus_fits(study.spec, corpus, processes)
        with TrainingPool(corpus, study.spec.study.split_seed, processes, threads) as pool:
            _load_evaluation(data, jobs[0])
            ahead = _estimate_seconds(
                pool, jobs, data, top, size, len(confirmations.models(storage, study))
            )
            announced = time.monotonic() - started + ahead
            emit(
                f"confirm {study.name}: {len(jobs)} trainings on {processes} processes, about "
                f"{announced:.0f}s in all"
            )
            candidates.retrain_all(
                storage, study, data_dir, pool, jobs, partial(_report_model, emit)
            )
    ranking = confirmations.candidates(storage, study)
    nats = {each.trial: _word_nats(storage, study, data_dir, data, each.trial) for each in ranking}
    rows = [_row(each, nats, ranking[0].trial, data) for each in ranking]
    optimism = candidates.optimism(storage, study, ranking)
    return Confirmation(
        study=study.name,
        winner=rows[0],
        candidates=rows,
        optimism=None if optimism is None else optimism.loss,
        optimism_ci95=None if optimism is None else optimism.ci95,
        ensemble=_ensemble(storage, study, data_dir, data, size) if size else None,
        announced_seconds=announced,
        seconds=time.monotonic() - started,
    )


def _load_evaluation(data: Dataset, job: Retraining) -> None:
    """Loads what this process needs after the trainings, while the others start: that takes
    seconds, which no calibration would see."""
    config = TrialConfig(**job.config)
    model = initialize(config, data.vocabulary, generator(job.seed, "initialisation"))
    word_losses(model, data.dev_words)
    mean_over_seeds((1.0, 2.0))


def _estimate_seconds(
    pool: TrainingPool, jobs: Sequence[Retraining], data: Dataset, top: int, size: int, known: int
) -> float:
    """The seconds to come: of the trainings, by what the searched ones took and the calibration;
    of the losses of dev words, by the calibration; and of the intervals, by the time of one.

    Args:
        known: the models that were confirmed before, which are evaluated again.
    """
    calibrations = pool.calibrate(jobs)
    seconds = [calibrations[job.trial].seconds(job) for job in jobs]
    evaluation = statistics.mean(calibrations[job.trial].evaluation for job in jobs)
    evaluations = evaluation * (known + len(jobs)) * (2 if size else 1)  # an ensemble again
    characters = np.array([len(word) + 1 for word in data.dev_words])
    started = time.monotonic()
    bootstrap(characters.astype(np.float64), characters)
    intervals = 2 * (top + bool(size)) * (time.monotonic() - started)
    return candidates.makespan(seconds, pool.processes) + evaluations + intervals


def _report_model(emit: Callable[[str], object], done: ConfirmedModel) -> None:
    emit(
        f"  trial {done.trial}, seed {done.seed_index + 1}: dev loss {done.dev_loss:.4f} "
        f"({done.seconds:.1f}s)"
    )


def _max_members(study: StoredStudy, asked: int | None) -> int:
    named = study.spec.confirm.ensemble
    if named and asked not in (None, named):
        raise BadInput(
            f"--ensemble {asked}: the file of study {study.name} names an ensemble of at most "
            f"{named} as the winner; change it there, under [confirm], and `run` it"
        )
    return named or asked or 0


def _ensemble(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Dataset, max_members: int
) -> dict[str, Any]:
    """Selects and records an ensemble, which `test` opens if the study file names one."""
    chosen = ensemble.choose(storage, study, data_dir, data, max_members)
    ensemble.record(storage, study, chosen, max_members)
    return chosen.document() | {"winner": study.spec.confirm.ensemble > 0}


def _word_nats(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Dataset, trial: int
) -> NDArray[np.float64]:
    """The nats of each dev word, averaged over a configuration's confirmed models. (W,)"""
    models = [each for each in confirmations.models(storage, study) if each.trial == trial]
    total = np.zeros(len(data.dev_words))
    for each in models:
        path = data_dir.confirmed(study.uid, *each.key)
        total += word_losses(load_model(study, path, each.checkpoint_sha256), data.dev_words)[0]
    return total / len(models)


def _row(
    candidate: Candidate, nats: dict[int, NDArray[np.float64]], winner: int, data: Dataset
) -> dict[str, Any]:
    """A candidate with its paired difference to the winner over the same dev words."""
    characters = np.array([len(word) + 1 for word in data.dev_words])
    difference = nats[candidate.trial] - nats[winner]
    return asdict(candidate) | {
        "dev_loss_ci95": bootstrap(nats[candidate.trial], characters),
        "behind_winner": float(difference.sum() / characters.sum()),
        "behind_winner_ci95": bootstrap(difference, characters),
    }
