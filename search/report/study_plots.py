"""Figures of a study: how it went, what it cost, and its winner.

Large studies are thinned; each function says in its docstring what it leaves out, and the report's
captions say so too.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from makemore_core.config import TrialConfig
from makemore_core.data.printable import printable
from makemore_core.training.schedule import learning_rate_at
from search.evaluation.baselines import Baselines
from search.figures.numpy_model import NumpyModel, project_to_plane
from search.finite import finite_of
from search.report.plotly_parts import (
    ACCENT,
    BAD,
    GOOD,
    QUIET,
    SECOND,
    Figure,
    Trace,
    axis,
    bars,
    dots,
    figure,
    focus_log,
    legend,
    loss_range,
    path,
    subsample,
)
from search.trials.history import AttemptView

MAX_CURVES = 150


def history(attempts: Sequence[AttemptView], others: Baselines) -> Figure:
    """Dev loss against trials and against working time, with the best so far; dots are thinned."""
    finished = [a for a in attempts if a.dev_loss is not None and a.outcome != "failed"]
    by_trial = sorted(finished, key=lambda a: a.trial)
    panels = (
        ("", by_trial, [float(a.trial) for a in by_trial]),
        ("2", finished, [a.worked_seconds for a in finished]),
    )
    data = [trace for axis, rows, xs in panels for trace in _history_panel(axis, rows, xs)]
    low, high = loss_range(finite_of(a.dev_loss for a in finished), others)
    lines = [
        *(each for name, loss in others.named for each in _level(loss, name, (low, high))),
        *_level(others.lecture, "the lecture's best", (low, high)),
    ]
    layout = {
        "xaxis": axis("trial", domain=[0, 0.48]),
        "xaxis2": axis("working time, seconds", domain=[0.52, 1]),
        "yaxis": axis("dev loss, nats per character", range=[low, high]),
        "yaxis2": axis("", range=[low, high], anchor="x2", showticklabels=False),
        "shapes": [shape for shape, _ in lines],
        "annotations": [note for _, note in lines],
        "legend": legend(),
    }
    return figure(data, layout, 420)


def _history_panel(panel: str, rows: Sequence[AttemptView], xs: Sequence[float]) -> list[Trace]:
    axes = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": not panel}
    traces = []
    for outcome, colour, size in (("pruned", QUIET, 5), ("complete", ACCENT, 7)):
        chosen = subsample([(x, a) for x, a in zip(xs, rows, strict=True) if a.outcome == outcome])
        traces.append(
            dots([x for x, _ in chosen], [a for _, a in chosen], outcome, colour, size) | axes
        )
    best = math.inf
    steps: list[tuple[float, float]] = []
    for x, attempt in zip(xs, rows, strict=True):
        loss = attempt.dev_loss
        if attempt.outcome == "complete" and loss is not None and loss < best:
            best = loss
            steps.append((x, best))
    if steps:
        steps.append((max(xs), best))
    line = {"color": GOOD, "width": 2.5, "shape": "hv"}
    return [*traces, path([steps], "best so far", line) | axes]


def learning_curves(attempts: Sequence[AttemptView], winner: int | None) -> Figure:
    """Dev loss against examples; at most MAX_CURVES of each kind, the best and some others."""
    groups = {
        outcome: sorted(
            (a for a in attempts if a.outcome == outcome and a.curve),
            key=lambda a: math.inf if a.dev_loss is None else a.dev_loss,
        )
        for outcome in ("pruned", "complete")
    }
    data = [
        path(
            [[(row[0], row[1]) for row in a.curve] for a in subsample(groups[outcome], MAX_CURVES)],
            outcome,
            {"color": colour, "width": width},
            opacity=opacity,
            names=[f"trial {a.trial}" for a in subsample(groups[outcome], MAX_CURVES)],
        )
        for outcome, colour, width, opacity in (
            ("pruned", QUIET, 1, 0.55),
            ("complete", ACCENT, 1.2, 0.6),
        )
    ]
    won = [a for a in attempts if a.trial == winner]
    if won:
        points = [(row[0], row[1]) for row in won[0].curve]
        data.append(path([points], f"trial {winner}", {"color": GOOD, "width": 3}))
    losses = [row[1] for a in attempts for row in a.curve]
    layout = {
        "xaxis": axis("training examples seen"),
        "yaxis": axis("dev loss, log scale", type="log", range=focus_log(losses, share=0.93)),
        "legend": legend(),
    }
    return figure(data, layout, 420)


def importances(shares: Mapping[str, float]) -> Figure:
    """How much each hyperparameter decides about being among the best."""
    rows = sorted(shares.items(), key=lambda item: item[1])
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": [share for _, share in rows],
        "y": [name for name, _ in rows],
        "marker": {"color": ACCENT},
        "text": [f"{share:.0%}" for _, share in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    layout = {
        "xaxis": axis("share of importance", tickformat=".0%"),
        "yaxis": axis("", automargin=True),
        "showlegend": False,
    }
    return figure([bar], layout, 90 + 34 * len(rows))


def effort(attempts: Sequence[AttemptView]) -> Figure:
    """Training time by state, and what did not complete by reason."""
    states = ("complete", "pruned", "interrupted", "failed")
    seconds = [sum(a.seconds or 0.0 for a in attempts if _state(a) == s) for s in states]
    reasons: dict[str, int] = {}
    for attempt in attempts:
        if attempt.outcome != "complete":
            told = attempt.reason or "no reason recorded"
            reason = told if told == _state(attempt) else f"{_state(attempt)}: {told}"
            reasons[reason] = reasons.get(reason, 0) + 1
    rows = sorted(reasons.items(), key=lambda item: item[1])
    colours = (ACCENT, QUIET, SECOND, BAD)
    data = [
        bars(seconds, states, [format_duration(value) for value in seconds], colours),
        bars(
            [count for _, count in rows],
            [reason for reason, _ in rows],
            [f"{count:,}" for _, count in rows],
            [_colour(reason) for reason, _ in rows],
        )
        | {"xaxis": "x2", "yaxis": "y2"},
    ]
    layout = {
        "xaxis": axis("training seconds", domain=[0, 0.4]),
        "yaxis": axis("", automargin=True),
        "xaxis2": axis("attempts", domain=[0.68, 1]),
        "yaxis2": axis("", anchor="x2", automargin=True),
        "showlegend": False,
    }
    return figure(data, layout, 130 + 30 * max(3, len(rows)))


def _state(attempt: AttemptView) -> str:
    """For people: an attempt that was interrupted has not failed."""
    interrupted = (attempt.outcome, attempt.reason) == ("failed", "interrupted")
    return "interrupted" if interrupted else attempt.outcome


def _colour(reason: str) -> str:
    if reason.startswith("failed"):
        return BAD
    return SECOND if reason == "interrupted" else QUIET


def winner_curve(attempt: AttemptView) -> Figure:
    """The winner's dev and train loss, and its learning rate."""
    dev = [(row[0], row[1]) for row in attempt.curve]
    train = [(row[0], row[3]) for row in attempt.curve if len(row) > 3]
    config = TrialConfig(**attempt.config)
    shares = [index / 200 for index in range(201)]
    rates = [(s * config.examples, learning_rate_at(config, s)) for s in shares]
    data = [
        path([dev], "dev", {"color": ACCENT, "width": 2.5}),
        path([train], "train (batches)", {"color": SECOND, "width": 2}),
        path([rates], "learning rate", {"color": QUIET, "width": 2}) | {"yaxis": "y2"},
    ]
    layout = {
        "xaxis": axis("training examples seen", anchor="y2"),
        "yaxis": axis("loss, log scale", type="log", domain=[0.34, 1]),
        "yaxis2": axis("rate", domain=[0, 0.24], rangemode="tozero", nticks=3),
        "legend": legend(),
    }
    return figure(data, layout, 440)


def embedding(model: NumpyModel) -> Figure:
    """Each character where its vector lies, in two dimensions."""
    points, _ = project_to_plane(model.embedding)
    vowels = set("aeiouy")
    letters = {
        "type": "scatter",
        "mode": "text",
        "x": points[:, 0].round(5).tolist(),
        "y": points[:, 1].round(5).tolist(),
        "text": [f"<b>{escape(printable(c))}</b>" for c in model.vocabulary],
        "textfont": {
            "size": 18,
            "color": [
                SECOND if c in vowels else ACCENT if c.isalpha() else QUIET
                for c in model.vocabulary
            ],
        },
        "hoverinfo": "skip",
    }
    layout = {
        "xaxis": axis("", visible=False),
        "yaxis": axis("", visible=False),
        "margin": {"l": 16, "r": 16, "t": 10, "b": 10},
        "showlegend": False,
    }
    return figure([letters], layout, 440)


def confirmation(rows: Sequence[tuple[str, float, float, float | None]]) -> Figure:
    """(name, searched loss, mean, half of its 95 % interval or None) for each candidate."""
    names = [row[0] for row in rows]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "mean over fresh seeds, with its 95 % interval",
            "x": [row[2] for row in rows],
            "y": names,
            "error_x": {
                "type": "data",
                "array": [row[3] or 0.0 for row in rows],
                "color": ACCENT,
                "thickness": 2,
            },
            "marker": {"size": 10, "color": ACCENT},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "as the search found it",
            "x": [row[1] for row in rows],
            "y": names,
            "marker": {"size": 10, "symbol": "circle-open", "color": SECOND, "line": {"width": 2}},
        },
    ]
    layout = {
        "xaxis": axis("dev loss, nats per character"),
        "yaxis": axis("", automargin=True, autorange="reversed"),
        "legend": legend(),
    }
    return figure(data, layout, 150 + 44 * len(rows))


def _level(
    loss: float | None, name: str, bounds: tuple[float, float]
) -> list[tuple[Figure, Figure]]:
    """A dashed line across both panels, with its name."""
    if loss is None or not bounds[0] <= loss <= bounds[1]:
        return []
    line = {"color": SECOND, "dash": "dash", "width": 1.5}
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": loss, "y1": loss}
    note = {
        "xref": "paper",
        "x": 1,
        "y": loss,
        "text": f"{name} {loss:.4g}",
        "showarrow": False,
        "xanchor": "right",
        "yanchor": "bottom",
        "font": {"color": SECOND, "size": 12},
    }
    return [(across | {"line": line}, note)]


def format_duration(seconds: float) -> str:
    """Seconds, or minutes, or hours, for a bar."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
