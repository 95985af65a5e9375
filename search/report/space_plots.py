"""Figures of the search space: which values do well, together and one at a time."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from search.finite import is_finite
from search.report.plotly_parts import (
    ACCENT,
    GOOD,
    MAX_POINTS,
    QUIET,
    Figure,
    Trace,
    axis,
    dots,
    figure,
    legend,
    loss_range,
    path,
    subsample,
)
from search.spec.search_space import Choices, Dimension, RangeDimension
from search.trials.history import AttemptView

MAX_LINES = 300
BINS = 10


def parallel_coordinates(attempts: Sequence[AttemptView], space: Mapping[str, Dimension]) -> Figure:
    """A line for each complete trial across its hyperparameters, the better the stronger.

    At most MAX_LINES: the best ones and some of the others.
    """
    searched = {name: kind for name, kind in space.items() if distributed(kind)}
    complete = sorted(
        (a for a in attempts if a.outcome == "complete" and is_finite(a.dev_loss)),
        key=lambda a: a.dev_loss or 0.0,
    )
    shown = subsample(complete, MAX_LINES)
    names = [*searched, "dev loss"]
    bounds = (shown[0].dev_loss or 0.0, shown[-1].dev_loss or 0.0) if shown else (0.0, 1.0)
    count = len(shown)
    tiers = (
        ("other complete trials", QUIET, 1.0, 0.5, shown[-(-count // 3) :]),
        ("best third", ACCENT, 1.4, 0.75, shown[1 : -(-count // 3)]),
        ("best", GOOD, 3.0, 1.0, shown[:1]),
    )
    data = [
        path(
            [
                [
                    *(
                        (i, place(kind, a.config[name]))
                        for i, (name, kind) in enumerate(searched.items())
                    ),
                    (len(searched), normalised((a.dev_loss or 0.0), *bounds)),
                ]
                for a in rows
            ],
            told,
            {"color": colour, "width": width},
            opacity=opacity,
            names=[f"trial {a.trial}, dev loss {a.dev_loss:.4f}" for a in rows],
        )
        for told, colour, width, opacity, rows in tiers
    ]
    marks = [
        *(marks_of(kind) for kind in searched.values()),
        [(0.0, f"{bounds[0]:.4g}"), (1.0, f"{bounds[1]:.4g}")],
    ]
    layout = {
        "xaxis": axis(
            "",
            tickvals=list(range(len(names))),
            ticktext=[name.replace("_", "<br>") for name in names],
            range=[-0.25, len(names) - 0.75],
        ),
        "yaxis": axis("", range=[-0.08, 1.08], showticklabels=False, showgrid=False),
        "annotations": [
            tick_label(column, height, words)
            for column, row in enumerate(marks)
            for height, words in row
        ],
        "legend": legend(),
    }
    return figure(data, layout, 440)


def tick_label(column: int, height: float, words: str) -> Figure:
    """A value beside its axis; above the upper end, below the lower."""
    between = 0.0 < height < 1.0
    return {
        "x": column,
        "y": height if between else 1.05 if height else -0.05,
        "text": escape(words),
        "showarrow": False,
        "xanchor": "left" if between else "center",
        "xshift": 5 if between else 0,
        "font": {"size": 11, "color": "@soft"},
    }


def slice_plot(attempts: Sequence[AttemptView], space: Mapping[str, Dimension]) -> Figure:
    """For each hyperparameter, the best loss at each value, whatever the others were."""
    searched = {name: kind for name, kind in space.items() if distributed(kind)}
    complete = [a for a in attempts if a.outcome == "complete" and a.dev_loss is not None]
    losses = [a.dev_loss for a in complete if a.dev_loss is not None]
    low, high = loss_range(losses, share=0.9)
    columns = 3
    rows = -(-len(searched) // columns)
    data: list[Trace] = []
    layout: Figure = {"showlegend": False}
    for index, (name, kind) in enumerate(searched.items()):
        number = "" if index == 0 else str(index + 1)
        row, column = divmod(index, columns)
        left, bottom = column / columns, 1 - (row + 1) / rows
        layout[f"xaxis{number}"] = axis(
            name.replace("_", " "),
            anchor=f"y{number}",
            domain=[left + 0.03, left + 1 / columns - 0.03],
            **value_axis(kind),
        )
        layout[f"yaxis{number}"] = axis(
            "dev loss" if column == 0 else "",
            anchor=f"x{number}",
            range=[low, high],
            domain=[bottom + 0.3 / (rows + 0.5) / 1.6, bottom + 1 / rows - 0.05 / rows],
        )
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        shown = subsample(complete, MAX_POINTS // max(1, len(searched)))
        data.append(
            dots([axis_value(kind, a.config[name]) for a in shown], shown, name, QUIET, 4) | axes
        )
        best = envelope(kind, name, complete)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [axis_value(kind, value) for value, _ in best],
                "y": [loss for _, loss in best],
                "line": {"color": ACCENT, "width": 2},
                "marker": {"size": 7, "color": ACCENT},
                "hovertemplate": "%{x}: %{y:.4f}<extra>best</extra>",
            }
            | axes
        )
    return figure(data, layout, 80 + 250 * max(1, rows))


def envelope(
    kind: Dimension, name: str, attempts: Sequence[AttemptView]
) -> list[tuple[Any, float]]:
    """The best loss for each value, or for each of BINS ranges of a number: (value, loss)."""
    best: dict[Any, tuple[Any, float]] = {}
    for attempt in attempts:
        value, loss = attempt.config[name], attempt.dev_loss
        if loss is None:
            continue
        few = isinstance(kind, Choices) or (
            isinstance(kind, RangeDimension) and kind.integer and kind.high - kind.low < 2 * BINS
        )
        key = value if few else min(BINS - 1, int(BINS * place(kind, value)))
        if key not in best or loss < best[key][1]:
            best[key] = (value, loss)
    if isinstance(kind, Choices):
        return [best[value] for value in kind.values if value in best]
    return [best[key] for key in sorted(best)]


def distributed(kind: Dimension) -> bool:
    """Whether a hyperparameter is searched."""
    return kind.distribution() is not None


def normalised(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, 0 to 1."""
    return min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def place(kind: Dimension, value: Any) -> float:
    """Where a value lies in its dimension, 0 to 1."""
    if isinstance(kind, Choices):
        return kind.values.index(value) / (len(kind.values) - 1) if value in kind.values else 0.5
    if isinstance(kind, RangeDimension) and kind.log:
        return normalised(math.log(value), math.log(kind.low), math.log(kind.high))
    return normalised(value, kind.low, kind.high) if isinstance(kind, RangeDimension) else 0.5


def marks_of(kind: Dimension) -> list[tuple[float, str]]:
    """What stands along a dimension: its choices, or the two ends of its range."""
    if isinstance(kind, Choices):
        return [(place(kind, value), str(value)) for value in kind.values]
    if isinstance(kind, RangeDimension):
        return [(0.0, f"{kind.low:g}"), (1.0, f"{kind.high:g}")]
    return []


def axis_value(kind: Dimension, value: Any) -> Any:
    """A value for its axis: choices are names there, not numbers."""
    return str(value) if isinstance(kind, Choices) else value


def value_axis(kind: Dimension) -> Figure:
    """The kind of axis that a dimension needs."""
    if isinstance(kind, Choices):
        names = [str(value) for value in kind.values]
        return {"type": "category", "categoryorder": "array", "categoryarray": names}
    if isinstance(kind, RangeDimension) and kind.log:
        return {"type": "log", "dtick": 1} if kind.high / kind.low >= 100 else {"type": "log"}
    return {}
