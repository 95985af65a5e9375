"""What the report's figures are made of: plotly documents as plain dictionaries, no library.

Colours are names ("@accent"): the page replaces them by those of its light or dark theme. Every
trace is drawn as SVG, which prints and needs no WebGL, so large studies are thinned.
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

MOST = 1e200
"""Larger losses are drawn as this: the ends of an axis must be numbers."""

ACCENT, SECOND, QUIET, GOOD, BAD = "@accent", "@second", "@quiet", "@good", "@bad"


def figure(data: Sequence[Trace], layout: Figure, height: int) -> Figure:
    """A document with what all figures share."""
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
    """An axis with a quiet grid."""
    shared = {
        "title": {"text": title, "standoff": 8, "font": {"size": 13, "color": "@soft"}},
        "gridcolor": "@grid",
        "linecolor": "@line",
        "zeroline": False,
        "ticks": "",
    }
    return shared | options


def legend() -> Figure:
    """Above the figure, at its left."""
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"}


def dots(
    xs: Sequence[Any], rows: Sequence[AttemptView], name: str, colour: str, size: int
) -> Trace:
    """A dot for each attempt."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(xs),
        "y": [a.dev_loss for a in rows],
        "text": [f"trial {a.trial}" for a in rows],
        "hovertemplate": "%{text}: %{y:.4f}<extra></extra>",
        "marker": {"color": colour, "size": size, "opacity": 0.7},
    }


def path(
    lines: Sequence[Sequence[tuple[float, float | None]]],
    name: str,
    line: Figure,
    *,
    opacity: float = 1.0,
    names: Sequence[str] = (),
) -> Trace:
    """Several lines as one trace, with gaps between them, and where a number is none."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    text: list[str] = []
    for points, told in zip(lines, names or [name] * len(lines), strict=True):
        xs += [*(x for x, _ in points), None]
        ys += [
            *(None if y is None or not math.isfinite(y) else round(y, 5) for _, y in points),
            None,
        ]
        text += [told] * (len(points) + 1)
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
    xs: Sequence[float], ys: Sequence[str], text: Sequence[str], colours: Sequence[str]
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
        "marker": {"color": list(colours)},
    }


def subsample(rows: Sequence[T], most: int = MAX_POINTS) -> list[T]:
    """At most so many, evenly spaced, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(k * (len(rows) - 1) / (most - 1))] for k in range(most)]


def loss_range(
    losses: Sequence[float], others: Baselines | None = None, share: float = 0.75
) -> tuple[float, float]:
    """The range of losses worth looking at: the best `share` of them, and every loss to beat."""
    ordered = sorted(min(max(loss, -MOST), MOST) for loss in finite_of(losses))
    if not ordered:
        return 1.0, 4.0
    wanted = (*(loss for _, loss in others.named), others.lecture) if others else ()
    known = [loss for loss in wanted if loss is not None]
    low = min([ordered[0], *known])
    high = max([ordered[int(share * (len(ordered) - 1))], *known, low + 0.02 * abs(low)])
    pad = (high - low) * 0.06 or 0.01 * (abs(low) or 1.0)
    return low - pad, high + pad


def focus_log(losses: Sequence[float], share: float) -> list[float]:
    """As `focus`, the decimal logarithms of the range's ends, padded by a ratio."""
    low, high = loss_range(losses, share=share)
    lowest = max(min(finite_of(losses), default=low), LOWEST_DRAWN)
    ends = math.log10(lowest), math.log10(max(high, 1.02 * lowest))
    pad = 0.06 * (ends[1] - ends[0])
    return [ends[0] - pad, ends[1] + pad]
