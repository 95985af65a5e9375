"""Searches recorded curves again on virtual time, with many seeds, and prints the regrets."""

import argparse
import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from search.algorithms.pruners import Pruner
from tests.benchmarks.search import curves
from tests.benchmarks.search.choosing import chooser
from tests.benchmarks.search.curves import RECORDED, Table
from tests.benchmarks.search.events import Series, best_at
from tests.benchmarks.search.simulation import Simulation
from tests.benchmarks.search.summary import row


@dataclass(frozen=True)
class Setting:
    """One line of the printed table."""

    sampler: str
    pruner: str
    reduction_factor: int
    evaluations: int
    workers: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samplers",
        default="random",
        help="of random, tpe, qmc, gp; the last three ask a sampler each time: a minute or more",
    )
    parser.add_argument("--pruners", default="asha,hyperband,median,none")
    parser.add_argument("--reduction-factors", default="3", help="for example 2,3,4")
    parser.add_argument("--evaluations", help="divisors of the recorded ones; default: all of them")
    parser.add_argument("--workers", default="1,2,8,64,1000")
    parser.add_argument("--times", default="5,10,20,40,80,160,320", help="virtual seconds")
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--table", type=Path, default=RECORDED)


def main(given: argparse.Namespace) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = curves.load(given.table)
    times = [float(at) for at in given.times.split(",")]
    print(
        f"{len(table.curves)} curves of {table.spec.study.corpus}, {given.seeds} seeds. Median "
        f"regret in nats (dev loss above {table.best:.4f}, the best of all curves) after so many "
        "seconds of computing on each worker. A configuration is tried once at most, so a table "
        f"keeps at most {len(table.curves)} workers busy.\n"
    )
    head = ["sampler", "pruner", "factor", "evaluations", "workers", *(f"{t:g} s" for t in times)]
    print(row(head), "|---" * len(head) + "|", sep="\n")
    for setting in settings(given, table):
        try:
            found = regrets(table, setting, times, given.seeds)
        except ValueError as error:
            raise SystemExit(f"--evaluations: {error}") from None
        print(line(setting, found), flush=True)


def settings(given: argparse.Namespace, table: Table) -> Iterator[Setting]:
    """Every combination; a reduction factor says nothing to `median` and `none`."""
    factors = [int(each) for each in given.reduction_factors.split(",")]
    recorded = str(table.spec.budget.evaluations)
    evaluations = [int(each) for each in (given.evaluations or recorded).split(",")]
    workers = [int(each) for each in given.workers.split(",")]
    for sampler, pruner, count, number in itertools.product(
        given.samplers.split(","), given.pruners.split(","), evaluations, workers
    ):
        for factor in factors if pruner in ("asha", "hyperband") else factors[:1]:
            yield Setting(sampler, pruner, factor, count, number)


def regrets(table: Table, setting: Setting, times: Sequence[float], seeds: int) -> list[float]:
    """Median over seeds, at each time; infinity before the first evaluation."""
    thinned = table.thinned(setting.evaluations)
    found = [simulated(thinned, setting, seed, max(times)) for seed in range(seeds)]
    return [statistics.median(best_at(series, at) for series in found) - table.best for at in times]


def simulated(table: Table, setting: Setting, seed: int, until: float) -> Series:
    """One search."""
    section = table.spec.with_values(
        "pruner", kind=setting.pruner, reduction_factor=setting.reduction_factor
    ).pruner
    pruner = Pruner(section, table.spec.budget)
    choose = chooser(setting.sampler, table, seed)
    return Simulation(table, choose, pruner, setting.workers).run(until, enough=table.best)


def line(setting: Setting, found: Sequence[float]) -> str:
    factor = str(setting.reduction_factor) if setting.pruner in ("asha", "hyperband") else ""
    names = [setting.sampler, setting.pruner, factor, setting.evaluations, setting.workers]
    return row([*map(str, names), *(f"{regret:.4f}" for regret in found)])
