"""Under- and overfitting: train and dev loss against the size of the network.

The lecture's way to see which it is (part 2, 53:20 to 1:07:16): while both losses are about equal
the network is too small for the data; where train goes on falling and dev does not, it is too large
for it, or trained for too long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.training.trainer import train

WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)

CONFIG = TrialConfig(
    block_size=6, embedding_size=10, batch_size=256, optimizer="adamw", learning_rate=0.005,
    schedule="linear", step_factor=0.0, warmup=0.02, examples=2_000_000,
)  # fmt: skip
"""Longer contexts than the lecture's, so that there is something to overfit; no regularization."""


@dataclass(frozen=True)
class CapacityPoint:
    """The losses of one size at the end of its training, in nats per predicted character."""

    hidden_width: int
    parameters: int
    train_loss: float  # exact, over the whole split, as the dev loss
    dev_loss: float
    seconds: float


def capacity(
    config: TrialConfig,
    data: Dataset,
    seed: int,
    widths: Sequence[int] = WIDTHS,
    *,
    threads: int = 1,
    on_point: Callable[[CapacityPoint], object] = lambda _: None,
) -> list[CapacityPoint]:
    """Trains the configuration at each hidden width, otherwise unchanged, from one seed.

    Every run goes to its end and is evaluated there alone: the best of several evaluations would
    be early stopping, which hides overfitting.

    Args:
        on_point: called after each size.
    """
    points = []
    for width in widths:
        sized = replace(config, hidden_width=width, evaluations=1, patience=None)
        result = train(sized, data, seed, threads=threads)
        points.append(
            CapacityPoint(
                width, result.parameters, result.train_loss, result.dev_loss, result.train_seconds
            )
        )
        on_point(points[-1])
    return points


def verdict(points: Sequence[CapacityPoint]) -> str:
    """The size with the lowest dev loss, and which others under- or overfit, from rounded losses.

    Smaller ones with a higher train loss underfit, larger ones with a lower train loss overfit.
    Any other, such as a larger one that is worse on both, is neither, and is described as it is.
    """
    best = min(points, key=lambda point: (_shown(point.dev_loss), point.hidden_width))
    low, train = _shown(best.dev_loss), _shown(best.train_loss)
    smaller = [p for p in points if p.hidden_width < best.hidden_width]
    larger = [p for p in points if p.hidden_width > best.hidden_width]
    equal = [p for p in larger if _shown(p.dev_loss) == low]
    worse = [p for p in larger if p not in equal]
    underfit = [p for p in smaller if _shown(p.train_loss) > train]
    overfit = [p for p in worse if _shown(p.train_loss) < train]
    parts = [] if smaller else ["no smaller one was tried"]
    parts += _side("smaller", smaller, "underfit", underfit, "worse on dev alone")
    parts += [] if larger else ["no larger one was tried"]
    parts += [_format_widths(equal, "is as good", "are as good")] if equal else []
    parts += _side("larger", worse, "overfit", overfit, "worse on train as well")
    return (
        f"lowest dev loss {best.dev_loss:.4f} at {best.hidden_width} hidden units (one seed): "
        f"{', '.join(parts)}"
    )


def _side(
    which: str,
    points: Sequence[CapacityPoint],
    verb: str,
    explained: Sequence[CapacityPoint],
    otherwise: str,
) -> list[str]:
    """What the sizes on one side of the best do: all of them the same, or each by its width."""
    others = [point for point in points if point not in explained]
    if explained and not others:
        return [f"{which} ones {verb}"]
    parts = [_format_widths(explained, f"{verb}s", verb)] if explained else []
    return (
        [*parts, _format_widths(others, f"is {otherwise}", f"are {otherwise}")] if others else parts
    )


def _format_widths(points: Sequence[CapacityPoint], one: str, many: str) -> str:
    widths = sorted({point.hidden_width for point in points})
    return f"{' and '.join(map(str, widths))} {one if len(widths) == 1 else many}"


def _shown(loss: float) -> float:
    return round(loss, 4)
