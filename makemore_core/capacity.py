"""Under- and overfitting: train and dev loss against the size of the network.

The lecture's way to see which it is (part 2, 53:20 to 1:07:16): while both losses are about equal
the network is too small for the data; where train goes on falling and dev does not, it is too large
for it, or trained for too long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from makemore_core.config import TrialConfig
from makemore_core.data import Data
from makemore_core.trainer import train

WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)

CONFIG = TrialConfig(
    block_size=6, embedding_size=10, batch_size=256, optimizer="adamw", learning_rate=0.005,
    schedule="linear", step_factor=0.0, warmup=0.02, examples=2_000_000,
)  # fmt: skip
"""Longer contexts than the lecture's, so that there is something to overfit; no regularisation."""


@dataclass(frozen=True)
class CapacityPoint:
    """What one size reaches at the end of its training; losses in nats per predicted character."""

    hidden_width: int
    parameters: int
    train_loss: float  # exact, over the whole split, as the dev loss
    dev_loss: float
    seconds: float


def capacity(
    config: TrialConfig,
    data: Data,
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
