"""Pictures of studies within a page, whose style sheet gives their classes their colors.

Each is an SVG element without a style of its own, as the page's policy allows none.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from makemore_core.data.printable import printable
from search.figures.svg import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Chart, Scale, text
from search.finite import LOWEST_DRAWN, finite_of

Points = Sequence[tuple[float, float]]

LINES = ("a", "b", "c", "d", "e", "g", "h", "i")
"""The classes of lines that are told apart by color."""
MAX_DOTS = 400
ROOM_OF_A_NAME = 20
"""Between the names of two levels."""
LITTLE = (120, 32)
"""Width and height of a picture in a row of a table."""


@dataclass(frozen=True)
class Line:
    """A named line of a picture."""

    name: str
    points: Points


def best_so_far(line: Points, dots: Points, levels: Sequence[tuple[str, float]], about: str) -> str:
    """The best dev loss against working time, with a dot for each complete trial.

    Args:
        line: (seconds, dev loss) where the best changed.
        dots: (seconds, dev loss); at most MAX_DOTS are drawn.
        levels: losses to beat; those far from the line are left out.
        about: the picture in words.
    """
    shown = [point for point in thinned(dots) if finite_of([point[1]])]
    end = max([seconds for seconds, _ in (*line, *shown)], default=1.0)
    low, high = _range([loss for _, loss in line], [loss for _, loss in shown], levels)
    chart = _chart((0.0, end), (low, high))
    chart.axes("working time, seconds")
    _levels(chart, levels, (low, high))
    for seconds, loss in shown:
        chart.body.append(_dot(chart, seconds, min(loss, high), "dot"))
    if line:
        chart.line(_steps(line, end), "a")
    return _element(about, chart.body)


def running_curves(lines: Sequence[Line], best: Line | None, about: str) -> str:
    """Learning curves of the running trials, and of the best one: dev loss against examples."""
    everything = [*lines, *([] if best is None else [best])]
    losses = finite_of(loss for line in everything for _, loss in line.points)
    end = max((x for line in everything for x, _ in line.points), default=1.0)
    low, high = min(losses, default=1.0), max(losses, default=4.0)
    ratio = (high / max(low, LOWEST_DRAWN)) ** 0.04 if high > low else 1.02
    chart = _chart((0.0, end), (low / ratio, high * ratio), log=True)
    chart.axes("training examples seen")
    if best is not None and best.points:
        chart.line(best.points, "best dash")
    for line, kind in zip(lines, _kinds(), strict=False):
        if line.points:
            chart.line(line.points, kind)
    return _element(about, chart.body)


def comparison(lines: Sequence[Line], x_title: str, about: str) -> str:
    """The best dev loss so far of several studies in one picture."""
    end = max((x for line in lines for x, _ in line.points), default=1.0)
    low, high = _range([loss for line in lines for _, loss in line.points], [], [])
    chart = _chart((0.0, end), (low, high))
    chart.axes(x_title)
    for line, kind in zip(lines, LINES, strict=False):
        if line.points:
            chart.line(_steps(line.points, end), kind)
    return _element(about, chart.body)


def little_curve(line: Points, end: float) -> str:
    """The best dev loss so far, small and without numbers; empty without any."""
    if not line:
        return ""
    width, height = LITTLE
    losses = [loss for _, loss in line]
    x = Scale(0.0, max(end, line[-1][0]), 2, width - 2)
    y = Scale(min(losses), max(losses), height - 3, 3)
    places = [(x(seconds), y(loss)) for seconds, loss in _steps(line, end)]
    points = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
    return (
        f'<svg class="little" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<polyline class="a line" points="{points}"/></svg>'
    )


def thinned(points: Points, count: int = MAX_DOTS) -> Points:
    """At most `count` points, evenly spaced, the first and the last among them."""
    if len(points) <= count:
        return points
    return [points[round(k * (len(points) - 1) / (count - 1))] for k in range(count)]


def _kinds() -> Iterable[str]:
    while True:
        yield from LINES


def _chart(xs: tuple[float, float], ys: tuple[float, float], *, log: bool = False) -> Chart:
    across = Scale(*xs, LEFT, WIDTH - RIGHT)
    return Chart(across, Scale(*ys, HEIGHT - BOTTOM, 14, log=log))


def _range(
    line: Sequence[float], dots: Sequence[float], levels: Sequence[tuple[str, float]]
) -> tuple[float, float]:
    """Of the line whole, of three quarters of the dots, and of the levels near them."""
    ordered = sorted(dots)
    known = finite_of([*line, *ordered[: max(1, 3 * len(ordered) // 4)]])
    if not known:
        known = [loss for _, loss in levels] or [1.0, 4.0]
    low, high = min(known), max(known)
    room = max(high - low, 0.02 * abs(high), 1e-3)
    near = [loss for _, loss in levels if low - 2 * room <= loss <= high + 2 * room]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.06 * (high - low) or room
    return low - pad, high + pad


def _steps(line: Points, end: float) -> list[tuple[float, float]]:
    """A line that keeps each value up to the next one, and the last one to the end."""
    corners: list[tuple[float, float]] = []
    for x, loss in line:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, loss))
    if corners and end > corners[-1][0]:
        corners.append((end, corners[-1][1]))
    return corners


def _levels(chart: Chart, levels: Sequence[tuple[str, float]], ends: tuple[float, float]) -> None:
    """A dashed line for each level within the picture, and its name where it has room."""
    last = math.inf
    for name, loss in sorted(levels, key=lambda level: level[1]):
        if not ends[0] <= loss <= ends[1]:
            continue
        chart.line([(chart.x.low, loss), (chart.x.high, loss)], "b dash")
        at = chart.y(loss) - 5
        if last - at >= ROOM_OF_A_NAME:
            chart.body.append(text(LEFT + 4, at, f"{name} {loss:.4g}", "quiet"))
            last = at


def _dot(chart: Chart, x: float, loss: float, kind: str) -> str:
    return f'<circle cx="{chart.x(x):.1f}" cy="{chart.y(loss):.1f}" r="3" class="{kind}"/>'


def _element(about: str, body: Iterable[str]) -> str:
    drawn = "\n".join(body)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(printable(about))}">\n{drawn}\n</svg>'
    )
