"""Parts of the report's figures: plotly documents as plain dictionaries.

Colors are names ("@accent"), which the page replaces by those of its light or dark theme. Every
trace is SVG, which can be printed and needs no WebGL, so large studies are thinned.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from search.evaluation.baselines import Baselines
from search.finite import LOWEST_DRAWN, finite_of
from search.trials.history import AttemptView

Figure = dict[str, Any]
Trace = dict[str, Any]
T = TypeVar("T")

MAX_POINTS = 2_000

MAX_LOSS = 1e200
"""Larger losses are drawn as this: the ends of an axis must be finite."""

ACCENT, SECOND, MUTED, GOOD, BAD = "@accent", "@second", "@quiet", "@good", "@bad"


def figure(data: Sequence[Trace], layout: Figure, height: int) -> Figure:
    """A document with the layout that all figures share."""
    shared = {
        "height": height,
        "margin": {"l": 64, "r": 24, "t": 36 if "legend" in layout else 10, "b": 56},
        "bargap": 0.4,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "@ink"},
        "hoverlabel": {"bgcolor": "@surface", "bordercolor": "@line", "font": {"color": "@ink"}},
        "hovermode": "closest",
        "dragmode": "zoom",
    }
    return {"data": list(data), "layout": shared | layout}


def axis(title: str, **options: Any) -> Figure:
    """An axis with a light grid."""
    shared = {
        "title": {"text": title, "standoff": 8, "font": {"size": 13, "color": "@soft"}},
        "gridcolor": "@grid",
        "linecolor": "@line",
        "zeroline": False,
        "ticks": "",
    }
    return shared | options


def log_axis(title: str, low: float, high: float) -> Figure:
    """A logarithmic axis over a range, with ticks at 1, 2 and 5 times the powers of ten.

    Over more than three powers of ten only at these, and at the ends where no other tick is.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    digits = (1, 2, 5) if math.log10(high / low) <= 2 else (1, 3) if last - first <= 4 else (1,)
    ticks = [d * 10.0**power for power in range(first, last + 1) for d in digits]
    within = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001] or [low, high]
    pad = 0.04 * math.log10(high / low) or 0.1
    return axis(
        title,
        type="log",
        range=[math.log10(low) - pad, math.log10(high) + pad],
        tickvals=within,
        ticktext=[f"{tick:g}" for tick in within],
    )


def legend() -> Figure:
    """The legend above the figure, at its left."""
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"}


def dots(xs: Sequence[Any], rows: Sequence[AttemptView], name: str, color: str, size: int) -> Trace:
    """A dot for each attempt."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(xs),
        "y": [a.dev_loss for a in rows],
        "text": [f"trial {a.trial}" for a in rows],
        "hovertemplate": "%{text}: %{y:.4f}<extra></extra>",
        "marker": {"color": color, "size": size, "opacity": 0.7},
    }


def path(
    lines: Sequence[Sequence[tuple[float, float | None]]],
    name: str,
    line: Figure,
    *,
    opacity: float = 1.0,
    names: Sequence[str] = (),
) -> Trace:
    """Several lines as one trace, with gaps between them and where a number is not finite."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    text: list[str] = []
    for points, label in zip(lines, names or [name] * len(lines), strict=True):
        xs += [*(x for x, _ in points), None]
        ys += [
            *(None if y is None or not math.isfinite(y) else round(y, 5) for _, y in points),
            None,
        ]
        text += [label] * (len(points) + 1)
    trace: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": xs,
        "y": ys,
        "line": line,
        "opacity": opacity,
    }
    hover = {"text": text, "hovertemplate": "%{text}: %{y:.4f}<extra></extra>"} if names else {}
    return trace | hover


def bars(
    xs: Sequence[float], ys: Sequence[str], text: Sequence[str], colors: Sequence[str]
) -> Trace:
    """Horizontal bars with their numbers."""
    return {
        "type": "bar",
        "orientation": "h",
        "x": list(xs),
        "y": list(ys),
        "text": list(text),
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
        "marker": {"color": list(colors)},
    }


def subsample(rows: Sequence[T], count: int = MAX_POINTS) -> list[T]:
    """At most `count` rows, evenly spaced, the first and the last among them."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(k * (len(rows) - 1) / (count - 1))] for k in range(count)]


def loss_range(
    losses: Sequence[float], others: Baselines | None = None, fraction: float = 0.75
) -> tuple[float, float]:
    """The range of losses to show: the best `fraction` of them, and every loss to beat."""
    ordered = sorted(min(max(loss, -MAX_LOSS), MAX_LOSS) for loss in finite_of(losses))
    if not ordered:
        return 1.0, 4.0
    to_beat = (*(loss for _, loss in others.named), others.lecture) if others else ()
    known = [loss for loss in to_beat if loss is not None]
    low = min([ordered[0], *known])
    high = max([ordered[int(fraction * (len(ordered) - 1))], *known, low + 0.02 * abs(low)])
    pad = (high - low) * 0.06 or 0.01
    return low - pad, high + pad


def log_loss_range(losses: Sequence[float], fraction: float) -> list[float]:
    """As `loss_range`: the decimal logarithms of the ends, padded by a ratio."""
    low, high = loss_range(losses, fraction=fraction)
    lowest = max(min(finite_of(losses), default=low), LOWEST_DRAWN)
    ends = math.log10(lowest), math.log10(max(high, 1.02 * lowest))
    pad = 0.06 * (ends[1] - ends[0])
    return [ends[0] - pad, ends[1] + pad]
