"""One worker of a search that somebody might have written with Optuna alone.

    python -m tests.benchmarks.search.peers random|optuna|lecture --study FILE --place DIR ...

`random` and `optuna` train with our trainer, `lecture` with the lecture's loop.
"""

import argparse
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.errors import Diverged
from makemore_core.model.network import initialize
from makemore_core.training.evaluate import split_loss
from makemore_core.training.schedule import learning_rate_at
from makemore_core.training.trainer import evaluation_steps, torch_threads, train
from search.seeds import derive_seed
from search.spec import study_file
from search.spec.search_space import FixedValue, RangeDimension, Space, Value, distributions
from search.spec.study_file import StudySpec
from tests.benchmarks.search.events import Recorder
from tests.benchmarks.search.workload import config_of, data_of
from tests.benchmarks.trainer import examples_of, lecture_loop

STUDY = "peer"

Report = Callable[[int, float], None]
"""Called with an evaluation's number, from 1, and its dev loss; may raise, to prune."""
Train = Callable[[TrialConfig, Dataset, int, Report], float]
"""Trains a configuration from a seed; returns the best dev loss."""


def train_ours(config: TrialConfig, data: Dataset, seed: int, report: Report) -> float:
    """Our trainer."""
    look = train(config, data, seed, on_evaluation=lambda each: report(each.index, each.dev_loss))
    return look.dev_loss


def train_as_the_lecture(config: TrialConfig, data: Dataset, seed: int, report: Report) -> float:
    """The lecture's loop; its evaluations are ours, which is quicker than its own."""
    torch.manual_seed(seed)
    block = data.contexts(config.block_size)
    x, y = examples_of(block.train)
    model = initialize(config, data.vocabulary, torch.Generator().manual_seed(seed))
    step = lecture_loop(model, x, y, config.batch_size)
    done, best = 0, math.inf
    with torch_threads(threads=1):
        for index, until in enumerate(evaluation_steps(config), start=1):
            for number in range(done, until):
                step(learning_rate_at(config, number / config.steps))
            done = until
            tensors = {name: t.detach() for name, t in model.tensors.items()}
            loss = split_loss(replace(model, tensors=tensors), block.dev).all
            report(index, loss)
            best = min(best, loss)
    return best


def lecture_space(spec: StudySpec) -> Space:
    """The study's space, as far as the lecture's loop knows it.

    The four sizes are the study's. The learning rate is that of plain SGD, a decade to each side of
    the lecture's 0.1; the schedule is the lecture's. No decay, no dropout.
    """
    fixed: dict[str, Value] = {
        "schedule": "step", "step_at": 0.5, "step_factor": 0.1, "warmup": 0.0,
        "weight_decay": 0.0, "dropout": 0.0, "optimizer": "sgd",
    }  # fmt: skip
    rate = RangeDimension(low=0.01, high=1.0, log=True, integer=False)
    known = {name: FixedValue(value) for name, value in fixed.items()}
    return {**spec.space, **known, "learning_rate": rate}


@dataclass(frozen=True)
class Peer:
    """An objective as Optuna's own PyTorch example has it: suggest, train, report, prune."""

    spec: StudySpec
    space: Space
    train: Train
    recorder: Recorder
    seed: int

    def objective(self, trial: optuna.Trial) -> float:
        searched = {
            name: suggested(trial, name, each) for name, each in distributions(self.space).items()
        }

        def report(index: int, dev_loss: float) -> None:
            self.recorder.note(str(trial.number), index, dev_loss)
            trial.report(dev_loss, index)
            if trial.should_prune():
                raise optuna.TrialPruned

        config = config_of(self.spec, self.space, searched)
        seed = derive_seed(self.seed, trial.number, "training")
        return self.train(config, data_of(self.spec), seed, report)


def suggested(trial: optuna.Trial, name: str, among: BaseDistribution) -> Any:
    """One hyperparameter by `trial.suggest_...`."""
    match among:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, among.choices)
        case IntDistribution():
            return trial.suggest_int(name, among.low, among.high, log=among.log)
        case FloatDistribution():
            return trial.suggest_float(name, among.low, among.high, log=among.log)
    raise TypeError(among)


def storage_url(place: Path) -> str:
    """The SQLite file that the workers of an Optuna study share."""
    return f"sqlite:///{place}/optuna.db"


def create_study(place: Path) -> None:
    """As `optuna create-study` does before the workers are started."""
    optuna.create_study(study_name=STUDY, storage=storage_url(place), direction="minimize")


def study_of(kind: str, place: Path, seed: int) -> optuna.Study:
    """Random search needs no storage: its workers have nothing to tell each other."""
    if kind == "random":
        return optuna.create_study(
            sampler=optuna.samplers.RandomSampler(seed=seed), pruner=optuna.pruners.NopPruner()
        )
    return optuna.load_study(
        study_name=STUDY,
        storage=storage_url(place),
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["random", "optuna", "lecture"])
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True, help="another one for each worker")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    spec = study_file.read(given.study)
    lecture = given.kind == "lecture"
    peer = Peer(
        spec,
        lecture_space(spec) if lecture else spec.space,
        train_as_the_lecture if lecture else train_ours,
        Recorder(given.place, spec.budget.evaluations),
        given.seed,
    )
    study = study_of(given.kind, given.place, given.seed)
    with contextlib.suppress(KeyboardInterrupt):
        study.optimize(peer.objective, catch=Diverged)


if __name__ == "__main__":
    main()
