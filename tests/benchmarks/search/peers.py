"""One worker of a search that somebody might have written with Optuna alone.

python -m tests.benchmarks.search.peers random|optuna --study FILE --place DIR --seed N
"""

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
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
from makemore_core.training.trainer import train
from search.seeds import derive_seed
from search.spec.search_space import distributions
from search.spec.study_spec import StudySpec
from tests.benchmarks.search.events import Recorder
from tests.benchmarks.search.workload import config_of, data_of, spec_of

STUDY = "peer"

Report = Callable[[int, float], None]
"""Called with an evaluation's number, from 1, and its dev loss; may raise, to prune."""


def train_reporting(config: TrialConfig, data: Dataset, seed: int, report: Report) -> float:
    """Trains a configuration from a seed with our trainer; returns the best dev loss."""
    look = train(config, data, seed, on_evaluation=lambda each: report(each.index, each.dev_loss))
    return look.dev_loss


@dataclass(frozen=True)
class Peer:
    """An objective as Optuna's own PyTorch example has it: suggest, train, report, prune."""

    spec: StudySpec
    recorder: Recorder
    seed: int

    def objective(self, trial: optuna.Trial) -> float:
        space = distributions(self.spec.space)
        searched = {name: suggested(trial, name, each) for name, each in space.items()}

        def report(index: int, dev_loss: float) -> None:
            self.recorder.note(str(trial.number), index, dev_loss)
            trial.report(dev_loss, index)
            if trial.should_prune():
                raise optuna.TrialPruned

        config = config_of(self.spec, searched)
        seed = derive_seed(self.seed, trial.number, "training")
        return train_reporting(config, data_of(self.spec), seed, report)


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
    parser.add_argument("kind", choices=["random", "optuna"])
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True, help="another one for each worker")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    spec = spec_of(given.study)
    peer = Peer(spec, Recorder(given.place, spec.budget.evaluations), given.seed)
    study = study_of(given.kind, given.place, given.seed)
    with contextlib.suppress(KeyboardInterrupt):
        study.optimize(peer.objective, catch=Diverged)


if __name__ == "__main__":
    main()
