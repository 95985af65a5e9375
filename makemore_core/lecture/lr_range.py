"""The learning-rate range test (lecture: "finding a good initial learning rate", 45:40).

One short run whose learning rate rises from step to step, evenly in its exponent, from far too low
to far too high (Smith 2017, "Cyclical learning rates for training neural networks", section 3.3).
Where it is too low the loss hardly falls, where it is too high the loss rises again; in between
lies a valley.

The rule: smooth the losses over a tenth of the steps; take the stretch around the lowest smoothed
loss in which it stays within VALLEY nats of that; suggest its middle, in the exponent.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.errors import ConfigError, Diverged
from makemore_core.lecture.batch_losses import Floats, batch_losses, smooth_losses

LOWEST, HIGHEST, STEPS = 1e-3, 1.0, 1000
"""The lecture's `10 ** torch.linspace(-3, 0, 1000)`."""

VALLEY = 0.1
"""Nats above the lowest smoothed loss that still count as the valley."""

MIN_STEPS = 20
"""The fewest steps; fewer are too few to smooth."""


@dataclass(frozen=True, eq=False)
class LrRange:
    """The result of a range test; losses in nats per predicted character.

    The arrays end where the run diverged.
    """

    suggested: float
    valley: tuple[float, float]  # the learning rates at its ends
    learning_rates: Floats  # (S,)
    losses: Floats  # (S,) of each batch
    smoothed: Floats  # (S,)


def lr_range(
    config: TrialConfig,
    data: Dataset,
    seed: int,
    *,
    low: float = LOWEST,
    high: float = HIGHEST,
    steps: int = STEPS,
) -> LrRange:
    """Tries learning rates from `low` to `high` in one run, and suggests one.

    The configuration's own learning rate, schedule and length are ignored.

    Raises:
        ConfigError: `low`, `high` or `steps` make no range.
        Diverged: the very first losses are not finite.
    """
    if not 0 < low < high:
        raise ConfigError(f"learning rates from {low} to {high}: give 0 < low < high")
    if steps < MIN_STEPS:
        raise ConfigError(f"steps: {steps} is too few to smooth; give at least {MIN_STEPS}")
    rates = low * (high / low) ** (np.arange(steps) / (steps - 1))

    def rising(_: TrialConfig, progress: float) -> float:
        return float(rates[min(steps - 1, math.floor(progress * steps))])

    losses = batch_losses(replace(config, schedule="constant"), data, seed, steps, rate=rising)
    if len(losses) < MIN_STEPS:
        raise Diverged(f"the loss was not finite at a learning rate of {rates[len(losses)]:.2g}")
    mean = smooth_losses(losses, max(2, steps // 20))
    first, last = _valley(mean)
    rates = rates[: len(losses)]
    suggested = float(math.sqrt(rates[first] * rates[last]))
    return LrRange(suggested, (float(rates[first]), float(rates[last])), rates, losses, mean)


def _valley(mean: Floats) -> tuple[int, int]:
    """The first and last step around the lowest mean whose means are within VALLEY of it."""
    lowest = int(mean.argmin())
    high = np.flatnonzero(mean > mean[lowest] + VALLEY)
    before, after = high[high < lowest], high[high > lowest]
    first = int(before[-1]) + 1 if len(before) else 0
    last = int(after[0]) - 1 if len(after) else len(mean) - 1
    return first, last
