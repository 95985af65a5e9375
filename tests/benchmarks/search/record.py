"""Records full learning curves of random configurations, for `replay`; goes on where it stopped."""

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from makemore_core.data import corpus as corpora
from makemore_core.data.corpus import Corpus
from makemore_core.data.dataset import Dataset
from makemore_core.data.splits import split
from makemore_core.errors import Diverged
from makemore_core.training.trainer import Evaluation, train
from makemore_core.training.warm_up import warm_up
from search.seeds import derive_seed
from search.system.environment import run_environment
from tests.benchmarks.search import tables, word_lists
from tests.benchmarks.search.tables import Curve, Facts, Table, config_of, drawn
from tests.benchmarks.trainer import commit

SPLIT_SEED = 42
SEED = 1
RECORDED = word_lists.of_use("design") + word_lists.of_use("held back")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lists", nargs="*", default=RECORDED, choices=RECORDED, metavar="NAME")
    parser.add_argument("--curves", type=int, default=200, help="of each list, old ones included")
    parser.add_argument(
        "--third", action="store_true", help="trials a third as long, in NAME-third"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--words", type=Path, default=word_lists.DIRECTORY, help="a directory")
    parser.add_argument("-o", "--output", type=Path, default=tables.DIRECTORY, help="a directory")


def main(given: argparse.Namespace) -> None:
    warm_up()
    given.output.mkdir(parents=True, exist_ok=True)
    for name in given.lists:
        words = word_lists.make(name, given.words)
        path = given.output / f"{name}.json"
        facts = facts_of(words)
        if given.third:
            path, facts = tables.third_of(path), replace(facts, examples=facts.examples // 3)
        table = tables.load(path) if path.is_file() else Table(facts, ())
        missing = sorted(set(range(given.curves)) - {curve.index for curve in table.curves})
        try:
            for curve in trained(table.facts, words, missing, given.workers):
                table = table.with_curves([curve])
                table.save(path)
                print(
                    f"\r{path.stem}: {len(table.curves)} curves",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on", file=sys.stderr)
            raise SystemExit(130) from None
        print(f"\r{path}: {len(table.curves)} curves", file=sys.stderr)


def facts_of(words: Path) -> Facts:
    """Returns the facts of a recording that begins here and now."""
    corpus = _corpus(words)
    train_examples = sum(len(word) + 1 for word in split(corpus, SPLIT_SEED).train)
    return Facts(
        corpus=words.stem,
        words=len(corpus.words),
        symbols=len(corpus.vocabulary),
        sha256=hashlib.sha256(words.read_bytes()).hexdigest(),
        train_examples=train_examples,
        examples=tables.examples_of_a_trial(train_examples),
        evaluations=tables.EVALUATIONS,
        space_version=tables.SPACE_VERSION,
        split_seed=SPLIT_SEED,
        seed=SEED,
        commit=commit(),
        date=time.strftime("%Y-%m-%d"),
        environment=dict(run_environment()),
    )


def trained(facts: Facts, words: Path, indices: list[int], workers: int) -> Iterable[Curve]:
    """Trains the configurations of these indices, side by side; yields each when it is done."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(workers, _begin_worker) as pool:  # its end terminates what still trains
        yield from pool.imap_unordered(partial(curve_of, facts, words), indices)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    warm_up()


def curve_of(facts: Facts, words: Path, index: int) -> Curve:
    """Trains one configuration. Its seconds are processor time, which other work on the machine
    changes less than wall time."""
    searched, data = drawn(index), _dataset(words)
    config = config_of(facts, searched)
    data.contexts(config.block_size)  # made once for many trials, so it is no trial's time
    seconds = 0.0
    losses: list[float] = []
    began = time.thread_time()

    def note(evaluation: Evaluation) -> None:
        nonlocal seconds
        seconds = round(time.thread_time() - began, 3)
        losses.append(round(evaluation.dev_loss, 4))

    with contextlib.suppress(Diverged):
        train(config, data, derive_seed(facts.seed, index, "training"), on_evaluation=note)
    return Curve(index, searched, seconds, tuple(losses))


@cache
def _corpus(words: Path) -> Corpus:
    return corpora.read_file(words)


@cache
def _dataset(words: Path) -> Dataset:
    return Dataset.from_corpus(_corpus(words), SPLIT_SEED)
