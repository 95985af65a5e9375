"""Figures of the search space: Optuna's own, in the report's layout and colors.

Optuna draws them from a study in memory that has the complete trials whose loss is finite. Large
studies are thinned, since every trace is SVG.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from operator import itemgetter
from typing import Any

import optuna
from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from search.finite import is_finite
from search.report.plotly_parts import (
    ACCENT,
    GOOD,
    MAX_LOSS,
    MAX_POINTS,
    MUTED,
    Figure,
    Trace,
    axis,
    bars,
    figure,
    legend,
    log_axis,
    loss_range,
    subsample,
)
from search.spec.search_space import (
    Choices,
    Dimension,
    RangeDimension,
    distributions,
    parameter,
    parameter_value,
    searched_names,
    searched_values,
)
from search.trials.history import AttemptView

MAX_FOR_IMPORTANCE = 3_000
MIN_FOR_IMPORTANCE = 8
MAX_LINES = 300
BINS = 10
MAX_TICKS = 8


def searched(space: Mapping[str, Dimension]) -> dict[str, Dimension]:
    """The hyperparameters of a space that are searched, by the names of their parameters."""
    return {parameter(name, space[name]): space[name] for name in searched_names(space)}


def optuna_study(attempts: Sequence[AttemptView], space: Mapping[str, Dimension]) -> optuna.Study:
    """A study in memory with an attempt for each trial, in their order."""
    named = distributions(space)
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        [
            create_trial(
                state=TrialState.COMPLETE,
                params=searched_values(space, attempt.config),
                distributions=named,
                value=min(max(attempt.dev_loss or 0.0, -MAX_LOSS), MAX_LOSS),
            )
            for attempt in attempts
        ]
    )
    return study


def _complete(attempts: Sequence[AttemptView]) -> list[AttemptView]:
    return [a for a in attempts if a.outcome == "complete" and is_finite(a.dev_loss)]


def importances(attempts: Sequence[AttemptView], space: Mapping[str, Dimension]) -> Figure | None:
    """Each hyperparameter's importance for being among the best complete trials; None with too few.

    PED-ANOVA (Watanabe et al. 2023), by Optuna: fast, and it looks at the good end of the space.
    """
    complete = subsample(_complete(attempts), MAX_FOR_IMPORTANCE)
    if len(complete) < MIN_FOR_IMPORTANCE or len(searched(space)) < 2:
        return None
    try:  # plot_param_importances copies every trial once for each hyperparameter: 20 times slower
        found = get_param_importances(
            optuna_study(complete, space), evaluator=PedAnovaImportanceEvaluator()
        )
    except (ValueError, RuntimeError):  # the trials are too few or too similar
        return None
    if not found:
        return None
    rows = sorted(found.items(), key=itemgetter(1))
    names, values = [name for name, _ in rows], [value for _, value in rows]
    bar = bars(values, names, [f"{value:.0%}" for value in values], [ACCENT] * len(rows))
    layout = {
        "xaxis": axis("importance", tickformat=".0%", nticks=6),
        "yaxis": axis("", automargin=True),
        "showlegend": False,
    }
    return figure([bar], layout, 90 + 34 * len(rows))


def importances_in_words(drawn: Figure) -> str:
    """The figure of importances for those who do not see it, the largest first."""
    bar = drawn["data"][0]
    rows = sorted(zip(bar["x"], bar["y"], strict=True), reverse=True)
    return ", ".join(f"{name} {value:.0%}" for value, name in rows)


def parallel_coordinates(
    attempts: Sequence[AttemptView], space: Mapping[str, Dimension]
) -> Figure | None:
    """A line for each complete trial across its hyperparameters, in three groups by loss.

    At most MAX_LINES, evenly spaced by rank, the best one among them. None without any.
    """
    complete = sorted(_complete(attempts), key=lambda a: a.dev_loss or 0.0, reverse=True)
    shown = subsample(complete, MAX_LINES)
    if not shown or not searched(space):
        return None
    study = optuna_study(shown, space)
    drawn = visualization.plot_parallel_coordinate(study, target_name="dev loss").to_plotly_json()
    ranks = _ranks(len(shown))
    lines = zip(_trial_of_each_line(study), _lines_of(drawn), strict=True)
    data = [_line(line, shown[k], ranks[k]) for k, line in sorted(lines, key=itemgetter(0))]
    optunas = drawn["layout"]
    names = ["dev loss", *sorted(searched(space))]
    whole = [k for k, name in enumerate(names) if _is_integer(searched(space).get(name))]
    for name in dict.fromkeys(trace["name"] for trace in data):
        next(trace for trace in data if trace["name"] == name)["showlegend"] = True
    layout = {
        "xaxis": axis(
            "",
            tickvals=optunas["xaxis"]["tickvals"],
            ticktext=[_in_lines(name) for name in optunas["xaxis"]["ticktext"]],
            range=[-0.7, len(searched(space)) + 0.2],
            showgrid=False,
        ),
        "yaxis": axis("", range=[-0.08, 1.08], visible=False, fixedrange=True),
        "annotations": [
            _tick_label(note)
            for note in optunas["annotations"]
            if note["x"] not in whole or float(note["text"]).is_integer()
        ],
        "shapes": [shape | {"line": {"color": "@line", "width": 1}} for shape in optunas["shapes"]],
        "legend": legend() | {"traceorder": "reversed"},
    }
    return figure(data, layout, 440)


def _lines_of(drawn: Figure) -> list[Trace]:
    return [trace for trace in drawn["data"] if trace["mode"] == "lines"]


def _trial_of_each_line(study: optuna.Study) -> list[int]:
    """The number of each line's trial: Optuna sorts the lines by hyperparameters, not by loss."""
    by_number = visualization.plot_parallel_coordinate(
        study, target=lambda trial: trial.number, target_name="number"
    )
    last = len(study.trials) - 1
    return [round(line["y"][0] * last) for line in _lines_of(by_number.to_plotly_json())]


def _ranks(count: int) -> list[str]:
    """The group of each of so many trials, the worst first."""
    best_third = -(-count // 3)
    return [
        *(["other complete trials"] * (count - best_third)),
        *(["best third"] * (best_third - 1)),
        "best",
    ]


LINES: dict[str, tuple[Figure, float]] = {
    "other complete trials": ({"color": MUTED, "width": 1.0}, 0.5),
    "best third": ({"color": ACCENT, "width": 1.4}, 0.75),
    "best": ({"color": GOOD, "width": 3.0}, 1.0),
}


def _line(trace: Trace, attempt: AttemptView, rank: str) -> Trace:
    """Optuna's line of a trial, in the color of its group; a click in the legend hides a group."""
    line, opacity = LINES[rank]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(trace["x"]),
        "y": [round(float(value), 4) for value in trace["y"]],
        "customdata": [": ".join(map(str, row)) for row in trace["customdata"]],
        "name": rank,
        "legendgroup": rank,
        "showlegend": False,
        "line": line,
        "opacity": opacity,
        "hovertemplate": f"trial {attempt.trial}, %{{customdata}}<extra></extra>",
    }


def _tick_label(note: Mapping[str, Any]) -> Figure:
    """A value beside its axis, on the color of the page, so that lines do not hide it."""
    kept = {name: note[name] for name in ("x", "y", "showarrow", "xanchor", "xshift")}
    return kept | {
        "text": escape(str(note["text"])),
        "font": {"size": 11, "color": "@soft"},
        "bgcolor": "@surface",
        "borderpad": 0,
    }


def slice_plots(
    attempts: Sequence[AttemptView], space: Mapping[str, Dimension]
) -> dict[str, Figure]:
    """A figure for each hyperparameter: complete trials, and the best at each value.

    The names are those of the hyperparameters after "slice-".
    """
    complete = _complete(attempts)
    names = searched(space)
    if not complete or not names:
        return {}
    shown = subsample(complete, MAX_POINTS // len(names))
    study = optuna_study(shown, space)
    losses = [a.dev_loss for a in complete if a.dev_loss is not None]
    ends = list(loss_range(losses, fraction=0.9))
    return {
        f"slice-{name}": _slice(study, shown, complete, name, kind, ends)
        for name, kind in names.items()
    }


def _slice(
    study: optuna.Study,
    shown: Sequence[AttemptView],
    complete: Sequence[AttemptView],
    name: str,
    kind: Dimension,
    ends: list[float],
) -> Figure:
    drawn = visualization.plot_slice(study, params=[name]).to_plotly_json()
    trace = drawn["data"][0]
    numbers = [shown[number].trial for number in trace["marker"]["color"]]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": list(trace["x"]),
        "y": list(trace["y"]),
        "text": [f"trial {number}" for number in numbers],
        "hovertemplate": "%{text}: %{y:.4f}<extra></extra>",
        "marker": {"color": MUTED, "size": 4, "opacity": 0.7},
    }
    layout = {
        "xaxis": _value_axis(name, kind, drawn["layout"]["xaxis"]),
        "yaxis": axis("dev loss", range=ends, nticks=6),
        "showlegend": False,
    }
    return figure([_best_of(kind, name, complete), dots], layout, 250)


def _best_of(kind: Dimension, name: str, complete: Sequence[AttemptView]) -> Trace:
    """The best loss at each value: bars for categories, which have no order, else a line."""
    best = envelope(kind, name, complete)
    shared = {"y": [loss for _, loss in best], "hovertemplate": "best: %{y:.4f}<extra></extra>"}
    if isinstance(kind, Choices):
        columns = {"type": "bar", "x": [repr(value) for value, _ in best], "opacity": 0.45}
        return columns | shared | {"marker": {"color": ACCENT}}
    line = {"type": "scatter", "mode": "lines+markers", "x": [value for value, _ in best]}
    return (
        line
        | shared
        | {
            "line": {"color": ACCENT, "width": 2},
            "marker": {"size": 7, "color": ACCENT},
        }
    )


def _value_axis(name: str, kind: Dimension, optunas: Mapping[str, Any]) -> Figure:
    """The axis of a hyperparameter: categories by name, ranges from end to end."""
    title = name.replace("_", " ")
    if isinstance(kind, Choices):
        names = list(optunas["categoryarray"])  # repr of each choice
        words = [_in_lines(str(value)) for value in kind.values]
        return axis(
            title, type="category", categoryarray=names, categoryorder="array",
            tickvals=names, ticktext=words, range=[-0.6, len(names) - 0.4],
        )  # fmt: skip
    assert isinstance(kind, RangeDimension)
    if kind.log:
        return log_axis(title, kind.low, kind.high)
    pad = 0.04 * (kind.high - kind.low)
    few = kind.integer and kind.high - kind.low <= MAX_TICKS
    ticks = {"dtick": 1} if few else {"nticks": 6}
    return axis(title, range=[kind.low - pad, kind.high + pad], **ticks)


def _in_lines(name: str) -> str:
    """A name for a place that is narrow."""
    return "<br>".join(escape(part) for part in textwrap.wrap(name.replace("_", " "), 9))


def envelope(
    kind: Dimension, name: str, attempts: Sequence[AttemptView]
) -> list[tuple[Any, float]]:
    """The best loss for each value, or for each of BINS parts of a range: (value, loss)."""
    best: dict[Any, tuple[Any, float]] = {}
    for attempt in attempts:
        value, loss = parameter_value(name, kind, attempt.config), attempt.dev_loss
        if loss is None:
            continue
        key = _bin(kind, value) if isinstance(kind, RangeDimension) else value
        if key not in best or loss < best[key][1]:
            best[key] = (value, loss)
    if isinstance(kind, Choices):
        return [best[value] for value in kind.values if value in best]
    return [best[key] for key in sorted(best)]


def _is_integer(kind: Dimension | None) -> bool:
    return isinstance(kind, RangeDimension) and kind.integer


def _bin(kind: RangeDimension, value: float) -> float:
    """The part of a range that a value is in; the value itself where there are few."""
    if kind.integer and kind.high - kind.low < 2 * BINS:
        return value
    low, high, at = (math.log(v) if kind.log else v for v in (kind.low, kind.high, value))
    fraction = (at - low) / (high - low) if high > low else 0.0
    return min(BINS - 1, max(0, int(BINS * fraction)))
