"""The result of a comparison as JSON, as a table and as a plot."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.search.events import Series, best_at

TIMES = (10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600)
"""Seconds since the command that the table shows."""

COLORS = ("#8a94a6", "#d9730d", "#a371f7", "#2da44e", "#1f6feb")


def write(found: dict[str, Any], directory: Path) -> None:
    """Writes `CORPUS.json`, `CORPUS.md` and `CORPUS.svg`."""
    name = found["corpus"]
    (directory / f"{name}.json").write_text(as_json(found), encoding="utf-8")
    (directory / f"{name}.md").write_text(as_markdown(found), encoding="utf-8")
    draw(found, directory / f"{name}.svg")


def as_json(found: dict[str, Any]) -> str:
    """One line for each run."""
    runs = ",\n  ".join(json.dumps(each) for each in found["runs"])
    rest = json.dumps({key: value for key, value in found.items() if key != "runs"}, indent=1)
    return f'{rest[:-2]},\n "runs": [\n  {runs}\n ]\n}}\n'


def as_markdown(found: dict[str, Any]) -> str:
    """Both tables, and what each contender is."""
    told = [f"- **{name}**: {what}." for name, what in found["contenders"].items()]
    return "\n".join(
        [
            f"Corpus {found['corpus']}, {found['workers']} workers of one thread, "
            f"{found['seconds']:g} s; {found['surroundings']['machine']}, {found['cpus']} cores; "
            f"commit {found['commit']}, {found['started']}.",
            "Best dev loss so far, median over seeds (least to greatest), seconds since the "
            "command:",
            "",
            *table(found, "best"),
            "",
            "The same, where only trials that ran to their end count:",
            "",
            *table(found, "best_complete"),
            "",
            *told,
            "",
        ]
    )


def table(found: dict[str, Any], kind: str) -> list[str]:
    """Contenders down, times across."""
    times = times_of(found)
    head = ["", *(f"{at:g} s" for at in times), "trials"]
    lines = [row(head), "|---" * len(head) + "|"]
    for name in found["contenders"]:
        runs = [each for each in found["runs"] if each["contender"] == name]
        if runs:
            cells = [cell([best_at(each[kind], at) for each in runs]) for at in times]
            lines.append(row([name, *cells, told_trials(runs)]))
    return lines


def times_of(found: dict[str, Any]) -> list[float]:
    """The usual times within the comparison, and its end."""
    return sorted({*(at for at in TIMES if at < found["seconds"]), found["seconds"]})


def cell(losses: Sequence[float]) -> str:
    """Median (least to greatest); a dash stands for nothing found yet.

    >>> cell([2.0, 1.9, 1.95]), cell([2.0, math.inf]), cell([1.9])
    ('1.9500 (1.9000 to 2.0000)', '- (2.0000 to -)', '1.9000')
    """
    middle, least, greatest = map(told_loss, (statistics.median(losses), min(losses), max(losses)))
    return middle if len(losses) == 1 else f"{middle} ({least} to {greatest})"


def told_loss(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) else "-"


def told_trials(runs: Sequence[dict[str, Any]]) -> str:
    """How many trials were begun, and how many of them ran to their end: medians."""
    begun = statistics.median(each["trials"] for each in runs)
    complete = statistics.median(each["complete"] for each in runs)
    return f"{begun:g} ({complete:g} complete)"


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(found: dict[str, Any], path: Path) -> None:
    """The medians over time, with bands from the least to the greatest."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "bench"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    lowest = math.inf
    for name, color in zip(found["contenders"], COLORS, strict=False):
        series = [each["best"] for each in found["runs"] if each["contender"] == name]
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
