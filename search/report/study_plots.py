"""Figures of a study: its progress, its cost, and its winner.

Large studies are thinned; the docstring of a function and the caption in the report say how.
"""

import math
import textwrap
from collections.abc import Sequence
from html import escape
from itertools import cycle

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
    MUTED,
    SECOND,
    Figure,
    Trace,
    axis,
    bars,
    dots,
    figure,
    legend,
    log_loss_range,
    loss_range,
    path,
    subsample,
)
from search.trials.history import AttemptView

MAX_CURVES = 150
MAX_REASONS = 12
MAX_CHARACTERS = 24
"""Of a line of a reason."""


def history_by_trial(attempts: Sequence[AttemptView], others: Baselines) -> Figure:
    """Dev loss against the trial's number, with the best so far; dots are thinned."""
    rows = sorted(_finished(attempts), key=lambda a: a.trial)
    return _history("trial", rows, [float(a.trial) for a in rows], others)


def history_by_time(attempts: Sequence[AttemptView], others: Baselines) -> Figure:
    """Dev loss against working time, with the best so far; dots are thinned."""
    rows = _finished(attempts)
    return _history("working time, seconds", rows, [a.worked_seconds for a in rows], others)


def _finished(attempts: Sequence[AttemptView]) -> list[AttemptView]:
    return [a for a in attempts if a.dev_loss is not None and a.outcome != "failed"]


def _history(
    title: str, rows: Sequence[AttemptView], xs: Sequence[float], others: Baselines
) -> Figure:
    data = []
    for outcome, color, size in (("pruned", MUTED, 5), ("complete", ACCENT, 7)):
        chosen = subsample([(x, a) for x, a in zip(xs, rows, strict=True) if a.outcome == outcome])
        data.append(dots([x for x, _ in chosen], [a for _, a in chosen], outcome, color, size))
    best = math.inf
    steps: list[tuple[float, float]] = []
    for x, attempt in zip(xs, rows, strict=True):
        loss = attempt.dev_loss
        if attempt.outcome == "complete" and loss is not None and loss < best:
            best = loss
            steps.append((x, best))
    if steps:
        steps.append((max(xs), best))
    data.append(path([steps], "best so far", {"color": GOOD, "width": 2.5, "shape": "hv"}))
    low, high = loss_range(finite_of(a.dev_loss for a in rows), others)
    layout = {
        "xaxis": axis(title),
        "yaxis": axis("dev loss, nats per character", range=[low, high]),
        "legend": legend(),
    }
    return figure([*data, *_levels(others, xs, (low, high))], layout, 420)


def _levels(others: Baselines, xs: Sequence[float], ends: tuple[float, float]) -> list[Trace]:
    """A dashed line for each loss to beat; the legend has its name, where none overlap."""
    levels = [*others.named, ("the lecture's best", others.lecture)]
    across = (min(xs, default=0.0), max(xs, default=1.0))
    return [
        path(
            [[(x, loss) for x in across]],
            f"{name} {loss:.4g}",
            {"color": SECOND, "dash": dash, "width": 1.5},
        )
        | {"hoverinfo": "skip"}
        for (name, loss), dash in zip(levels, cycle(("dash", "dot", "dashdot")))
        if loss is not None and ends[0] <= loss <= ends[1]
    ]


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
            {"color": color, "width": width},
            opacity=opacity,
            names=[f"trial {a.trial}" for a in subsample(groups[outcome], MAX_CURVES)],
        )
        for outcome, color, width, opacity in (
            ("pruned", MUTED, 1, 0.55),
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
        "yaxis": axis(
            "dev loss, log scale", type="log", range=log_loss_range(losses, fraction=0.93)
        ),
        "legend": legend(),
    }
    return figure(data, layout, 420)


def effort(attempts: Sequence[AttemptView]) -> Figure:
    """Training time by state."""
    states = ("complete", "pruned", "interrupted", "failed")
    seconds = [sum(a.seconds or 0.0 for a in attempts if _state(a) == s) for s in states]
    texts = [format_duration(value) for value in seconds]
    colors = (ACCENT, MUTED, SECOND, BAD)
    return _bar_chart("training seconds", bars(seconds, states, texts, colors))


def effort_by_reason(attempts: Sequence[AttemptView]) -> Figure | None:
    """Attempts that did not complete, by reason; None without any."""
    reasons: dict[str, int] = {}
    for attempt in attempts:
        if attempt.outcome != "complete":
            state, why = _state(attempt), attempt.reason or "no reason recorded"
            reason = why if why == state else f"{state}: {why}"
            reasons[reason] = reasons.get(reason, 0) + 1
    rows = sorted(reasons.items(), key=lambda item: item[1])[-MAX_REASONS:]
    if not rows:
        return None
    counts, texts = [count for _, count in rows], [f"{count:,}" for _, count in rows]
    names = [_in_lines(reason) for reason, _ in rows]
    colors = [_color(reason) for reason, _ in rows]
    return _bar_chart("attempts", bars(counts, names, texts, colors))


def _bar_chart(title: str, trace: Trace) -> Figure:
    longest = max(trace["x"], default=0.0) or 1.0
    layout = {
        "xaxis": axis(title, range=[0, 1.25 * longest], nticks=5),  # room for the texts
        "yaxis": axis("", automargin=True),
        "showlegend": False,
    }
    return figure([trace], layout, 130 + 34 * max(3, len(trace["y"])))


def _in_lines(reason: str) -> str:
    """A reason in lines that leave room for its bar; no part of it is markup."""
    return "<br>".join(map(escape, textwrap.wrap(printable(reason), MAX_CHARACTERS)))


def _state(attempt: AttemptView) -> str:
    """The state in words; an attempt that was interrupted has not failed."""
    interrupted = (attempt.outcome, attempt.reason) == ("failed", "interrupted")
    return "interrupted" if interrupted else attempt.outcome


def _color(reason: str) -> str:
    if reason.startswith("failed"):
        return BAD
    return SECOND if reason == "interrupted" else MUTED


def winner_curve(attempt: AttemptView) -> Figure:
    """The winner's dev and train loss, and its learning rate."""
    dev = [(row[0], row[1]) for row in attempt.curve]
    train = [(row[0], row[3]) for row in attempt.curve if len(row) > 3]
    config = TrialConfig(**attempt.config)
    fractions = [index / 200 for index in range(201)]
    rates = [(f * config.examples, learning_rate_at(config, f)) for f in fractions]
    data = [
        path([dev], "dev", {"color": ACCENT, "width": 2.5}),
        path([train], "train (batches)", {"color": SECOND, "width": 2}),
        path([rates], "learning rate", {"color": MUTED, "width": 2}) | {"yaxis": "y2"},
    ]
    layout = {
        "xaxis": axis("training examples seen", anchor="y2"),
        "yaxis": axis("loss, log scale", type="log", domain=[0.34, 1]),
        "yaxis2": axis("rate", domain=[0, 0.24], rangemode="tozero", nticks=3),
        "legend": legend(),
    }
    return figure(data, layout, 440)


def embedding(model: NumpyModel) -> Figure:
    """Each character at its vector, in two dimensions."""
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
                SECOND if c in vowels else ACCENT if c.isalpha() else MUTED
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


def format_duration(seconds: float) -> str:
    """Seconds, or minutes, or hours, for a bar."""
    if 0 < seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
