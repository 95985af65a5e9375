"""The result of comparisons: who is ahead at every second, tables, paired tests and a plot."""

import argparse
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.search.contenders import CONTENDERS
from tests.benchmarks.search.events import Series, best_at
from tests.benchmarks.search.verdict import p_value, row

TIMES = (8, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600)
"""Seconds since the command that a table shows."""
TESTED = (30, 60, 120)
"""Seconds at which contenders are tested in pairs."""
FIRST_SECOND = 10
"""From which on it is told who is ahead."""
PEERS = ("random", "optuna", "ray")
"""The contenders over the same space that ours has to be ahead of."""

COLORS = ("#8a94a6", "#d9730d", "#a371f7", "#1f6feb", "#2da44e", "#bf3989")

Found = Mapping[str, Any]
"""The runs of one corpus, as `side_by_side` keeps them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, help="what `side-by-side` wrote: CORPUS.json"
    )
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="for CORPUS.svg")


def main(given: argparse.Namespace) -> None:
    every = [json.loads(path.read_text(encoding="utf-8")) for path in given.files]
    print(as_markdown(every))
    if given.plots:
        given.plots.mkdir(parents=True, exist_ok=True)
        for found in every:
            draw(found, given.plots / f"{found['corpus']}.svg")


def save(found: Found, path: Path) -> None:
    """Writes the raw results, one line for each run, whole or not at all."""
    runs = ",\n  ".join(json.dumps(each) for each in found["runs"])
    rest = json.dumps({key: value for key, value in found.items() if key != "runs"}, indent=1)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(f'{rest[:-2]},\n "runs": [\n  {runs}\n ]\n}}\n', encoding="utf-8")
    partial.replace(path)


def as_markdown(every: Sequence[Found]) -> str:
    """What was found on each corpus, then the tests over all of them, then what each contender
    is."""
    described = [f"- **{name}**: {CONTENDERS[name].description}." for name in names_in(every)]
    parts = [line for found in every for line in [*_of_corpus(found), ""]]
    return "\n".join([*parts, *paired_tests(every), "", *described, ""])


def names_in(every: Sequence[Found]) -> list[str]:
    """The contenders that ran, in the order of CONTENDERS."""
    there = {run["contender"] for found in every for run in found["runs"]}
    return [name for name in CONTENDERS if name in there]


def _of_corpus(found: Found) -> list[str]:
    commits = sorted({run["commit"] for run in found["runs"]})
    machines = sorted({run["surroundings"]["machine"] for run in found["runs"]})
    return [
        f"Corpus {found['corpus']}, {found['workers']} workers of one thread, {found['seconds']:g} "
        f"s; {' and '.join(machines)}; commit {', '.join(commits)}. Best dev loss so far, median "
        "over seeds (least to greatest), seconds since the command:",
        "",
        *table(found, "best"),
        "",
        "The same, where only trials that ran to their end count:",
        "",
        *table(found, "best_complete"),
        "",
        *who_is_ahead(found),
    ]


def table(found: Found, kind: str) -> list[str]:
    """Contenders down, times across."""
    times = times_of(found)
    head = ["", *(f"{at:g} s" for at in times), "trials", "seeds"]
    lines = [row(head), "|---" * len(head) + "|"]
    for name in names_in([found]):
        runs = runs_of(found, name)
        cells = [cell([best_at(each[kind], at) for each in runs]) for at in times]
        lines.append(row([name, *cells, format_trials(runs), str(len(runs))]))
    return lines


def runs_of(found: Found, contender: str) -> list[dict[str, Any]]:
    return [each for each in found["runs"] if each["contender"] == contender]


def times_of(found: Found) -> list[float]:
    """The usual times within the comparison, and its end."""
    return sorted({*(at for at in TIMES if at < found["seconds"]), found["seconds"]})


def medians(found: Found, contender: str, seconds: Sequence[float]) -> list[float]:
    """The median over seeds at each time; infinity where half of them have found nothing."""
    series = [run["best"] for run in runs_of(found, contender)]
    return [statistics.median(best_at(each, at) for each in series) for at in seconds]


def who_is_ahead(found: Found) -> list[str]:
    """The full seconds at which our median is below that of every peer, and at which it is not."""
    peers = [name for name in names_in([found]) if name in PEERS]
    if not peers or not runs_of(found, "ours"):
        return []
    seconds = range(FIRST_SECOND, math.floor(found["seconds"]) + 1)
    ours = medians(found, "ours", seconds)
    lines = []
    for name in peers:
        theirs = medians(found, name, seconds)
        behind = [at for at, a, b in zip(seconds, ours, theirs, strict=True) if not a < b]
        where = f"not at {format_seconds(behind)} s" if behind else "at every full second"
        lines.append(f"- ours ahead of {name} from {FIRST_SECOND} s on: {where}")
    return lines


def format_seconds(seconds: Sequence[int]) -> str:
    """Returns whole numbers with their stretches drawn together.

    >>> format_seconds([10, 11, 12, 20, 31, 32])
    '10 to 12, 20, 31 to 32'
    """
    stretches: list[list[int]] = []
    for second in seconds:
        if stretches and second == stretches[-1][-1] + 1:
            stretches[-1].append(second)
        else:
            stretches.append([second])
    told = [f"{each[0]} to {each[-1]}" if len(each) > 1 else f"{each[0]}" for each in stretches]
    return ", ".join(told)


def paired_tests(every: Sequence[Found]) -> list[str]:
    """Ours against each other contender by Wilcoxon's signed-rank test, one-sided, over all seeds
    and corpora that both have."""
    others = [name for name in names_in(every) if name != "ours"]
    times = [at for at in TESTED if all(at <= found["seconds"] for found in every)]
    if not others or "ours" not in names_in(every) or not times:
        return []
    head = ["ours is lower than", "pairs", *(f"p at {at} s" for at in times)]
    lines = [row(head), "|---" * len(head) + "|"]
    for name in others:
        pairs = [pair for found in every for pair in pairs_of(found, name)]
        if not pairs:
            continue
        cells = []
        for at in times:
            ours, theirs = (
                [best_at(series, at) for series in each] for each in zip(*pairs, strict=True)
            )
            cells.append(f"{p_value(ours, theirs):.2g}")
        lines.append(row([name, str(len(pairs)), *cells]))
    return lines


def pairs_of(found: Found, other: str) -> list[tuple[Series, Series]]:
    """Ours and another contender's improvements of the same seed."""
    theirs = {run["seed"]: run["best"] for run in runs_of(found, other)}
    ours = {run["seed"]: run["best"] for run in runs_of(found, "ours")}
    return [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]


def cell(losses: Sequence[float]) -> str:
    """Median (least to greatest); a dash stands for nothing found yet.

    >>> cell([2.0, 1.9, 1.95]), cell([2.0, math.inf]), cell([1.9])
    ('1.9500 (1.9000 to 2.0000)', '- (2.0000 to -)', '1.9000')
    """
    middle, least, greatest = map(
        format_loss, (statistics.median(losses), min(losses), max(losses))
    )
    return middle if len(losses) == 1 else f"{middle} ({least} to {greatest})"


def format_loss(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) else "-"


def format_trials(runs: Sequence[dict[str, Any]]) -> str:
    """How many trials were begun, and how many of them ran to their end: medians."""
    begun = statistics.median(each["trials"] for each in runs)
    complete = statistics.median(each["complete"] for each in runs)
    return f"{begun:g} ({complete:g} complete)"


def draw(found: Found, path: Path) -> None:
    """The medians over time, with bands from the least to the greatest."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "bench"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    lowest = math.inf
    for name, color in zip(CONTENDERS, COLORS, strict=True):
        series = [each["best"] for each in runs_of(found, name)]
        if points := curves(series, found["seconds"]):
            at, middle, least, greatest = zip(*points, strict=True)
            axes.step(at, middle, where="post", color=color, label=name)
            axes.fill_between(at, least, greatest, step="post", color=color, alpha=0.15, lw=0)
            lowest = min(lowest, *least)
    if math.isfinite(lowest):
        axes.set(ylim=(lowest - 0.01, lowest + 0.3))
        axes.legend()
    ticks = times_of(found)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{at:g}" for at in ticks])
    axes.minorticks_off()
    axes.set(
        xlabel="seconds since the command", ylabel="best dev loss so far",
        title=f"{found['corpus']}, {found['workers']} workers",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def curves(runs: Sequence[Series], seconds: float) -> list[tuple[float, float, float, float]]:
    """(seconds, median, least, greatest) wherever any run improves, from when all have a loss."""
    moments = sorted({at for series in runs for at, _ in series} | {seconds})
    points = []
    for at in moments:
        losses = [best_at(series, at) for series in runs]
        if losses and math.isfinite(max(losses)):
            points.append((at, statistics.median(losses), min(losses), max(losses)))
    return points
