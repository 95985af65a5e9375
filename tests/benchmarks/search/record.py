"""Records full learning curves of configurations drawn at random, for `replay`."""

import argparse
import contextlib
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import optuna

from makemore_core.errors import Diverged
from makemore_core.training.trainer import Evaluation, train
from makemore_core.training.warm_up import warm_up
from search.seeds import derive_seed
from search.spec import study_file
from search.spec.search_space import Value, distributions
from search.spec.study_file import StudySpec
from tests.benchmarks.search.curves import RECORDED, Curve, Table
from tests.benchmarks.search.side_by_side import conditions
from tests.benchmarks.search.workload import config_of, data_of, words_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, default=Path("studies/names.toml"))
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--examples", type=int, default=1_000_000, help="of each trial")
    parser.add_argument("--evaluations", type=int, default=27, help="of each trial")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=RECORDED)


def main(given: argparse.Namespace) -> None:
    warm_up()
    spec = study_file.read(given.study)
    spec = spec.resolved_for(words_of(spec)).with_examples(given.examples)
    spec = spec.with_values("budget", evaluations=given.evaluations)
    started = time.monotonic()
    curves = record(spec, given.trials, given.seed, given.workers)
    Table(spec, curves, conditions()).save(given.output)
    print(f"{given.output}: {len(curves)} curves in {time.monotonic() - started:.0f} s")


def record(spec: StudySpec, trials: int, seed: int, workers: int) -> tuple[Curve, ...]:
    """Trains so many configurations, each with a seed of its own."""
    seeds = [derive_seed(seed, number, "training") for number in range(trials)]
    spawn = multiprocessing.get_context("spawn")
    curves: list[Curve] = []
    with ProcessPoolExecutor(workers, spawn, warm_up) as pool:
        try:
            for curve in pool.map(trained, repeat(spec), drawn(spec, trials, seed), seeds):
                curves.append(curve)
                print(f"\r{len(curves)} of {trials}", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:  # the draws are independent: what there is makes a table too
            pool.shutdown(cancel_futures=True)
    print(file=sys.stderr)
    return tuple(curves)


def drawn(spec: StudySpec, trials: int, seed: int) -> list[dict[str, Value]]:
    """Configurations at random."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    searched = distributions(spec.space)
    return [
        {name: shortened(value) for name, value in study.ask(searched).params.items()}
        for _ in range(trials)
    ]


def shortened(value: Value) -> Value:
    """Four digits of a fraction are enough, and keep the table small."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def trained(spec: StudySpec, searched: dict[str, Value], seed: int) -> Curve:
    """One curve. Its seconds are processor time, which other work on the machine changes little."""
    config, data = config_of(spec, spec.space, searched), data_of(spec)
    data.contexts(config.block_size)  # made once for many trials, so it is no trial's time
    seconds: list[float] = []
    losses: list[float] = []
    began = time.thread_time()

    def note(evaluation: Evaluation) -> None:
        seconds.append(round(time.thread_time() - began, 2))
        losses.append(round(evaluation.dev_loss, 4))

    with contextlib.suppress(Diverged):
        train(config, data, seed, on_evaluation=note)
    return Curve(searched, tuple(seconds), tuple(losses))
