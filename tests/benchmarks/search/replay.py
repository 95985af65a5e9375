"""Searches recorded tables again on virtual time, with many seeds; goes on where it stopped.

The verdict is fixed beforehand. A budget of BUDGET mean full trials, in virtual seconds of two
workers together, is one that a user waits for. The regret of a search is the lowest dev loss that
any of its trials has reported by then above the lowest of the whole table. Methods are compared by
their mean regret at a quarter, half and all of the budget, over at least 40 seeds of each corpus
(whose number weighs the same), and paired over corpora and seeds by Wilcoxon's signed-rank test,
one-sided, at 5 %. A method reaches a reference in the first hundredth of the budget in which its
mean regret is not above the reference's at the end of all of it. A trial was stopped wrongly if it
would have ended below the lowest loss of all trials at the time.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import optuna
import torch

from search import algorithms
from search.algorithms.pruners import Pruner
from search.spec.sections import PrunerSection
from search.system.environment import code_fingerprint
from search.system.processes import thread_limits
from tests.benchmarks.search import choosing, simulation, tables, verdict
from tests.benchmarks.search.choosing import chooser
from tests.benchmarks.search.record import RECORDED
from tests.benchmarks.search.simulation import Simulation
from tests.benchmarks.search.tables import Table
from tests.benchmarks.search.verdict import Run
from tests.benchmarks.search.word_lists import of_use

BUDGET = 30
"""Mean full trials of the table, all workers together."""
SEEDS = 40
WORKERS = 2
THIRD = "third"
"""In place of a pruner: a constant cut, every trial a third as long, with its own schedule."""
METHODS = (
    "random/none", "tpe/none", "tpe-greedy/none", "gp/none", "bayes/none",
    "tpe+initial-design/none", "tpe+initial-design/asha", "tpe/asha", "tpe/third",
    "bayes/asha", "bayes/hyperband", "bayes/median", "bayes/third", "bayes/predictive",
    "bayes-plain/predictive", "bayes-believing+experience/none",
    "bayes-believing+experience/predictive",
)  # fmt: skip
BASELINES = frozenset({"random/none", "tpe/none", "tpe-greedy/none", "gp/none", "tpe/third"})
"""Methods without a part of the product's own: what was found with them stays when that changes."""


@dataclass(frozen=True)
class Search:
    """One search of a table."""

    table: Path
    method: str
    """SAMPLER[+OPENING]/PRUNER; PRUNER may be predictive:PROBABILITY."""
    seed: int
    workers: int
    budget: float
    """As BUDGET."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("methods", nargs="*", default=METHODS, metavar="SAMPLER[+OPENING]/PRUNER")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--corpora", nargs="+", choices=RECORDED, metavar="NAME")
    which.add_argument("--held-back", action="store_true", help="the corpora to be judged on")
    parser.add_argument("--against", default="tpe/none", help="the method compared with")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--budget", type=float, default=BUDGET, help="mean full trials")
    parser.add_argument("--workers", type=int, default=WORKERS, help="virtual ones")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--tables", type=Path, default=tables.DIRECTORY, help="a directory")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/replay"), help="for raw results"
    )


def main(given: argparse.Namespace) -> None:
    corpora = given.corpora or of_use("held back" if given.held_back else "design")
    methods = list(dict.fromkeys([given.against, *given.methods]))
    given.output.mkdir(parents=True, exist_ok=True)
    os.environ |= thread_limits(1)  # before the others load it: BLAS threads would spin
    runs: dict[str, list[Run]] = {}
    for corpus in corpora:
        table = given.tables / f"{corpus}.json"
        _ensure_recorded(table, methods)
        wanted = [
            Search(table, method, seed, given.workers, given.budget)
            for method in methods
            for seed in range(given.seeds)
        ]
        runs[corpus] = list(found(wanted, given.output / f"{corpus}.jsonl", given.processes))
    print(heading(given, corpora))
    print(verdict.as_markdown(runs, methods, given.against))


def _ensure_recorded(table: Path, methods: Iterable[str]) -> None:
    cut = [tables.third_of(table)] if any(each.endswith(f"/{THIRD}") for each in methods) else []
    for path in (table, *cut):
        if not path.is_file():
            option = " --third" if path in cut else ""
            raise SystemExit(f"{path}: no such table; make it with `record {table.stem}{option}`")


def heading(given: argparse.Namespace, corpora: Iterable[str]) -> str:
    sizes = [f"{name} ({len(_table(given.tables / f'{name}.json').curves)})" for name in corpora]
    return (
        f"Corpora (curves): {', '.join(sizes)}; {given.seeds} seeds each, {given.workers} workers, "
        f"a budget of {given.budget:g} mean full trials.\n"
    )


def found(wanted: Sequence[Search], path: Path, processes: int) -> Iterator[Run]:
    """Yields what was found, out of a file of earlier results and by searching for the rest."""
    known = {run.key: run for run in verdict.read(path)}
    missing = [each for each in wanted if key_of(each) not in known]
    with path.open("a", encoding="utf-8") as file:
        for done, run in enumerate(_side_by_side(missing, processes), start=1):
            file.write(json.dumps(asdict(run)) + "\n")
            file.flush()
            known[run.key] = run
            if done % 20 == 0 or done == len(missing):
                print(f"{path.stem}: {done} of {len(missing)}", file=sys.stderr)
    yield from (known[key_of(each)] for each in wanted)


def _side_by_side(searches: Sequence[Search], processes: int) -> Iterator[Run]:
    """Searches in so many processes; with one, in this."""
    if processes == 1 or not searches:
        yield from map(searched, searches)
        return
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(processes, _begin_worker) as pool:  # its end terminates what still searches
        yield from pool.imap_unordered(searched, searches, chunksize=2)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def searched(search: Search) -> Run:
    """One search on virtual time."""
    full = _table(search.table)
    sampler, _, pruner = search.method.partition("/")
    table = _short(search.table) if pruner == THIRD else full
    simulated = Simulation(
        table,
        chooser(sampler, table, search.seed),
        Pruner(pruning_rule(pruner), table.facts),
        search.workers,
    )
    until = search.budget * sum(full.seconds) / len(full.curves) / search.workers
    improvements = simulated.run(until)
    pruned = [end for end in simulated.ends if end.pruned]
    return Run(
        key=key_of(search),
        method=search.method,
        seed=search.seed,
        regrets=[(round(at / until, 4), round(loss - full.best, 4)) for at, loss in improvements],
        trials=len(simulated.ends),
        pruned=len(pruned),
        wrongly=sum(min(table.curves[end.place].losses) < end.lowest for end in pruned),
    )


def pruning_rule(name: str) -> PrunerSection:
    """Returns the rule of a kind, or of `predictive:PROBABILITY`."""
    kind, _, probability = name.partition(":")
    document = {"kind": "none" if kind == THIRD else kind}
    if probability:
        document["probability"] = float(probability)
    return PrunerSection.model_validate(document)


def _short(path: Path) -> Table:
    """The table of trials of a third, with the time of the full ones' table."""
    return replace(_table(tables.third_of(path)), given_factor=_table(path).factor)


@cache
def _table(path: Path) -> Table:
    return tables.load(path)


def key_of(search: Search) -> str:
    """Names a search with a digest of what its result depends on: table, bench, algorithms."""
    parts = [_sha256(search.table), optuna.__version__, _sha256(Path(choosing.__file__))]
    parts += [_sha256(Path(simulation.__file__)), str(search.workers), str(search.budget)]
    if search.method.endswith(f"/{THIRD}"):
        parts.append(_sha256(tables.third_of(search.table)))
    if search.method not in BASELINES:
        parts.append(_algorithms())
    digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    return f"{search.method} {search.seed} {digest[:16]}"


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _algorithms() -> str:
    return code_fingerprint([Path(str(algorithms.__file__)).parent])
