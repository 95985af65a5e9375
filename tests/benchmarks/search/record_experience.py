"""Trains the configurations of the program's experience on recorded corpora.

They stand in `search/algorithms/experience.json`. One that is to be added gets a line there with
`"dev_losses": []`; this fills in what is missing, and goes on where it stopped. The corpora are
the lists that algorithms are designed on, and first-names for a larger one.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from makemore_core.config import TrialConfig
from makemore_core.data import corpus as corpora
from makemore_core.data.dataset import Dataset
from makemore_core.training.trainer import train
from makemore_core.training.warm_up import warm_up
from search.algorithms import experience
from search.learning_rates import with_rate
from search.seeds import derive_seed
from tests.benchmarks.search import tables, word_lists
from tests.benchmarks.search.record import SPLIT_SEED

PATH = Path(experience.__file__).with_name("experience.json")
SEED = 7
RUNS = Path("runs")

Document = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--words", type=Path, default=word_lists.DIRECTORY, help="a directory")


def main(given: argparse.Namespace) -> None:
    document = json.loads(PATH.read_text(encoding="utf-8"))
    missing = list(missing_trainings(document))
    for number, (place, corpus, loss) in enumerate(
        trained(document, missing, given.words, given.workers), start=1
    ):
        losses = document["configurations"][place]["dev_losses"]
        losses.extend([None] * (len(document["corpora"]) - len(losses)))
        losses[corpus] = loss
        save(document)
        print(f"\r{number} of {len(missing)} trainings", end="", file=sys.stderr, flush=True)
    print(f"\n{PATH}: nothing is missing", file=sys.stderr)


def missing_trainings(document: Document) -> Iterable[tuple[int, int]]:
    """Yields the places of a configuration and of a corpus without a dev loss."""
    for place, each in enumerate(document["configurations"]):
        for corpus in range(len(document["corpora"])):
            losses = each["dev_losses"]
            if corpus >= len(losses) or losses[corpus] is None:
                yield place, corpus


def trained(
    document: Document, missing: list[tuple[int, int]], words: Path, workers: int
) -> Iterable[tuple[int, int, float]]:
    """Trains side by side; yields (configuration, corpus, dev loss) in the order of `missing`."""
    with ProcessPoolExecutor(workers, get_context("spawn"), warm_up) as pool:
        results = [
            pool.submit(
                dev_loss,
                document["corpora"][corpus]["name"],
                document["configurations"][place]["values"],
                derive_seed(SEED, place, "training"),
                words,
            )
            for place, corpus in missing
        ]
        for (place, corpus), result in zip(missing, results, strict=True):
            yield place, corpus, result.result()


def dev_loss(corpus: str, values: dict[str, Any], seed: int, words: Path) -> float:
    """Trains a configuration for as long as a full trial takes; returns its lowest dev loss."""
    data = _dataset(corpus, words)
    characters = sum(len(word) + 1 for word in data.train_words)
    config = TrialConfig(
        **with_rate({**tables.FIXED, **values}),
        examples=tables.examples_of_a_trial(characters),
        evaluations=tables.EVALUATIONS,
    )
    return round(train(config, data, seed).dev_loss, 4)


@cache
def _dataset(corpus: str, words: Path) -> Dataset:
    if corpus in corpora.BUILT_IN:
        return Dataset.from_corpus(corpora.load(corpus, RUNS), SPLIT_SEED)
    return Dataset.from_corpus(corpora.read_file(word_lists.make(corpus, words)), SPLIT_SEED)


def save(document: Document) -> None:
    """Writes the file whole or not at all, one line for each configuration."""
    head = json.dumps(document["corpora"])
    lines = ",\n".join(map(json.dumps, document["configurations"]))
    partial = PATH.with_suffix(".part")
    partial.write_text(
        f'{{"corpora": {head},\n "configurations": [\n{lines}\n]}}\n', encoding="utf-8"
    )
    partial.replace(PATH)
