"""The lecture's pictures as SVG: what it plots on the way, for notebooks and for files."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from makemore_core.lecture.batch_losses import running_mean
from makemore_core.lecture.capacity import CapacityPoint
from makemore_core.lecture.lr_range import VALLEY, LrRange
from makemore_core.model.network import Model
from makemore_core.training.trainer import TrialResult
from search.figures import trial_figures
from search.figures.numpy_model import NumpyModel
from search.figures.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_DRAWN,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Scale,
    document,
    format_tick,
)
from search.finite import LOWEST_DRAWN

Floats = NDArray[np.float64]

MAX_POINTS = 1_000
"""Longer series are drawn as their running means."""


def lr_range(found: LrRange) -> str:
    """The range test: each batch's loss and the smoothed ones, over learning rates on a log scale
    (lecture part 2, 45:40)."""
    low, high = float(found.smoothed.min()), float(found.smoothed.max())
    pad = 0.1 * (high - low) or 0.1
    rates = found.learning_rates
    chart = Chart(
        Scale(float(rates[0]), float(rates[-1]), LEFT, WIDTH - RIGHT, log=True),
        Scale(low - pad, high + pad, HEIGHT - BOTTOM, TOP + 10),
    )
    chart.axes("learning rate")
    clipped = np.clip(found.losses, low - pad, high + pad)
    chart.line(_points(rates, clipped), "b")
    chart.line(_points(rates, found.smoothed), "a")
    at = chart.x(found.suggested)
    chart.body.append(
        f'<line x1="{at:.1f}" y1="{TOP + 10}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" '
        'class="a line dash"/>'
    )
    chart.legend([("smoothed", "a"), ("batches", "b")])
    what = (
        f"nats per character; suggested {format_tick(found.suggested)}, the middle of the valley: "
        f"within {VALLEY:g} of the lowest"
    )
    return document("Learning-rate range test", what, chart.body)


def batch_losses(losses: Floats, *, log10: bool = False, window: int = 1_000) -> str:
    """The loss of each step (its decimal logarithm if `log10`), with running means over `window`
    (lecture part 2, 1:07:16; its means: part 3)."""
    losses = np.maximum(losses, LOWEST_DRAWN)
    shown = np.log10(losses) if log10 else losses
    means = running_mean(losses, window)
    thin = -(-len(shown) // MAX_POINTS)
    each = running_mean(shown, thin)
    steps = np.minimum((np.arange(len(each)) + 0.5) * thin, len(shown))
    middles = np.minimum((np.arange(len(means)) + 0.5) * window, len(shown))
    chart = Chart.over((0, len(shown)), _padded(each))
    chart.axes("step")
    chart.line(_points(steps, each), "b")
    chart.line(_points(middles, np.log10(means) if log10 else means), "a")
    chart.legend(
        [(f"mean of {window:,}", "a"), ("each step" if thin == 1 else f"mean of {thin}", "b")]
    )
    what = "log10 of " * log10 + "nats per character of each batch"
    return document("Loss while training", what, chart.body)


def train_and_dev(name: str, result: TrialResult) -> str:
    """The learning curve of a run: dev, and the batches' mean since the evaluation before."""
    curve = [[e.examples, e.dev_loss, e.seconds, e.train_loss] for e in result.curve]
    return trial_figures.learning_curve(name, curve)


def embedding(name: str, model: Model) -> str:
    """The characters as their vectors lie: two dimensions as they are, more of them in their first
    two principal components (lecture part 2, 1:05:27)."""
    tensors = {key: tensor.detach().cpu().numpy() for key, tensor in model.tensors.items()}
    return trial_figures.embedding(name, NumpyModel(model.vocabulary, tensors))


def capacity(points: Sequence[CapacityPoint]) -> str:
    """Train and dev loss against the number of parameters, on a log scale."""
    sizes = np.array([point.parameters for point in points], float)
    train = np.array([point.train_loss for point in points])
    dev = np.array([point.dev_loss for point in points])
    chart = Chart(
        Scale(sizes.min(), sizes.max(), LEFT, WIDTH - RIGHT, log=True),
        Scale(*_padded(np.concatenate([train, dev])), HEIGHT - BOTTOM, TOP + 10),
    )
    chart.axes("parameters")
    chart.line(_points(sizes, train), "b")
    chart.line(_points(sizes, dev), "a")
    best = int(dev.argmin())
    x, y = chart.x(float(sizes[best])), chart.y(float(dev[best]))
    chart.body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="fa"/>')
    chart.legend([("dev", "a"), ("train", "b")])
    what = (
        f"nats per character; lowest dev loss {dev[best]:.4f} at "
        f"{points[best].hidden_width} hidden units"
    )
    return document("Under- and overfitting", what, chart.body)


def _points(xs: Floats, ys: Floats) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def _padded(values: Floats) -> tuple[float, float]:
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    values = np.clip(values, -MAX_DRAWN, MAX_DRAWN)
    pad = 0.05 * float(np.ptp(values)) or 0.1
    return float(values.min()) - pad, float(values.max()) + pad
