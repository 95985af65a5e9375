"""Trains a recorded trial again and compares the curves, bit for bit.

Equal bits are promised for the same machine, versions, code and thread count. The seed and the
threads are taken from the record; other differences are returned with the curves.
"""

import contextlib
from dataclasses import dataclass

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.training.trainer import Evaluation, train
from search.errors import BadInput, StopTraining
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy, corpus_of
from search.system.environment import differences
from search.trials import results


@dataclass(frozen=True)
class Replay:
    """Curves as [[examples, dev_loss], ...]; differences as {name: [recorded, now]}."""

    recorded: list[list[float]]
    replayed: list[list[float]]
    identical: bool
    differs: dict[str, tuple[str | None, str]]


def replay(storage: Storage, study: StoredStudy, number: int, data_dir: DataDir) -> Replay:
    """Trains trial `number` again as far as it was recorded, with its seed and thread count.

    Raises:
        NotFound: there is no such trial.
        BadInput: its curve was not recorded.
    """
    attempt = results.attempt_of_trial(storage, study, number)
    if not attempt.curve:
        raise BadInput(f"study {study.name}: trial {number} has no recorded curve to compare with")
    recorded = [[examples, loss] for examples, loss, *_ in attempt.curve]
    replayed: list[list[float]] = []

    def compare(evaluation: Evaluation) -> None:
        replayed.append([evaluation.examples, evaluation.dev_loss])
        if len(replayed) == len(recorded):
            raise StopTraining

    data = Dataset.from_corpus(corpus_of(storage, study, data_dir), study.spec.study.split_seed)
    with contextlib.suppress(StopTraining):
        train(
            TrialConfig(**attempt.config),
            data,
            attempt.training_seed,
            threads=attempt.threads,
            device=attempt.device,
            on_evaluation=compare,
        )
    return Replay(recorded, replayed, replayed == recorded, differences(attempt.versions))
