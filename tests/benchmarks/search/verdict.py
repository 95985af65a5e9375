"""The verdict on replayed searches: mean regrets, paired tests, times to reach a reference."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import wilcoxon

from tests.benchmarks.search.events import Series, best_at

FRACTIONS = (0.25, 0.5, 1.0)
"""Of the budget, at which the verdict is given."""
HIGH = 1e6
"""Above any loss."""


@dataclass(frozen=True)
class Run:
    """What one search found."""

    key: str
    method: str
    seed: int
    regrets: Series
    """(fraction of the budget, regret in nats), one pair for each improvement."""
    trials: int
    """That ended within the budget."""
    pruned: int
    """Of these, by the pruner."""
    wrongly: int
    """Of the pruned, how many would have ended below the lowest loss of the time."""


def read(path: Path) -> list[Run]:
    """Returns the runs of a file of raw results, one a line; none if there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    documents = map(json.loads, lines)
    return [Run(**each | {"regrets": list(map(tuple, each["regrets"]))}) for each in documents]


Runs = Mapping[str, Sequence[Run]]
"""Of each corpus: the same methods and seeds, in the same order."""


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def as_markdown(runs: Runs, methods: Sequence[str], against: str) -> str:
    """One table over all corpora, and one with each of them."""
    return "\n".join([*_overall(runs, methods, against), "", *_each(runs, methods)])


def _overall(runs: Runs, methods: Sequence[str], against: str) -> list[str]:
    at = [f"{fraction:.0%}" for fraction in FRACTIONS]
    head = [
        "method", *at, *(f"p {each}" for each in at), f"time to {against}", "time to no pruner",
        "trials", "pruned", "wrongly",
    ]  # fmt: skip
    lines = [row(head), "|---" * len(head) + "|"]
    for method in methods:
        regrets = [mean_regret(runs, method, fraction) for fraction in FRACTIONS]
        unpruned = f"{method.partition('/')[0]}/none"
        lines.append(
            row([
                method,
                *(f"{regret:.4f}" for regret in regrets),
                *(_p_value(runs, method, against, fraction) for fraction in FRACTIONS),
                _time(runs, method, against),
                _time(runs, method, unpruned) if method != unpruned and unpruned in methods else "",
                *_counts(runs, method),
            ])
        )  # fmt: skip
    return lines


def _each(runs: Runs, methods: Sequence[str]) -> list[str]:
    """Mean regrets at all fractions, corpus by corpus."""
    head = ["method", *(f"{corpus} {at:.0%}" for corpus in runs for at in FRACTIONS)]
    lines = [row(head), "|---" * len(head) + "|"]
    for method in methods:
        regrets = [
            mean_regret({corpus: of_corpus}, method, fraction)
            for corpus, of_corpus in runs.items()
            for fraction in FRACTIONS
        ]
        lines.append(row([method, *(f"{regret:.4f}" for regret in regrets)]))
    return lines


def mean_regret(runs: Runs, method: str, fraction: float) -> float:
    """Over all corpora and seeds."""
    return statistics.fmean(regrets_at(runs, method, fraction))


def regrets_at(runs: Runs, method: str, fraction: float) -> list[float]:
    """Of each corpus and seed, in their order; infinity before the first evaluation."""
    return [
        best_at(run.regrets, fraction)
        for of_corpus in runs.values()
        for run in of_corpus
        if run.method == method
    ]


def p_value(lower: Sequence[float], higher: Sequence[float]) -> float:
    """Of Wilcoxon's signed-rank test that the first of each pair is lower; pairs that are equal
    count for neither (Pratt 1959). Infinity, nothing found, is as high as any."""
    pairs = [(min(a, HIGH), min(b, HIGH)) for a, b in zip(lower, higher, strict=True)]
    differences = [a - b for a, b in pairs]
    if not any(differences):
        return 1.0
    test = wilcoxon(differences, alternative="less", zero_method="pratt")
    return float(test.pvalue)


def _p_value(runs: Runs, method: str, against: str, fraction: float) -> str:
    if method == against:
        return ""
    ours, theirs = (regrets_at(runs, each, fraction) for each in (method, against))
    return f"{p_value(ours, theirs):.2g}"


def time_to_reach(runs: Runs, method: str, reference: str) -> float | None:
    """The fraction of the budget after which a method's mean regret is at most what the reference
    has at the end of it; None if never."""
    goal = mean_regret(runs, reference, 1.0)
    for hundredth in range(1, 101):
        if mean_regret(runs, method, hundredth / 100) <= goal:
            return hundredth / 100
    return None


def _time(runs: Runs, method: str, reference: str) -> str:
    reached = time_to_reach(runs, method, reference)
    return "never" if reached is None else f"{reached:.2f}"


def _counts(runs: Runs, method: str) -> list[str]:
    """Means of trials and of the pruned, and the rate of those stopped wrongly."""
    of_method = [run for each in runs.values() for run in each if run.method == method]
    trials = statistics.fmean(run.trials for run in of_method)
    pruned = statistics.fmean(run.pruned for run in of_method)
    if not pruned:
        return [f"{trials:.0f}", "", ""]
    rate = sum(run.wrongly for run in of_method) / sum(run.pruned for run in of_method)
    return [f"{trials:.0f}", f"{pruned:.0f}", f"{rate:.1%}"]
