"""The loss of every single batch: what the lecture plots while it trains.

A trial keeps its losses at its evaluations only; here each step is looked at, which costs a little
more time and no memory worth mentioning.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.model.network import initialize
from makemore_core.randomness import generator
from makemore_core.training.kernel_step import KernelStep
from makemore_core.training.schedule import learning_rate_at
from makemore_core.training.trainer import batches_of, torch_threads

Floats = NDArray[np.float64]


def batch_losses(
    config: TrialConfig,
    data: Dataset,
    seed: int,
    steps: int | None = None,
    *,
    rate: Callable[[TrialConfig, float], float] = learning_rate_at,
) -> Floats:
    """Trains on one thread of the CPU, without evaluations, and keeps each step's loss.

    Args:
        seed: the same draws as `trainer.train` with this seed.
        steps: as many as the whole run has if None; the schedule then spans these.
        rate: the learning rate after a share (0 to 1) of the run; by default the schedule's.

    Returns:
        (S,) mean nats per predicted character, before each step's update. Fewer than `steps` where
        a loss was no longer finite: the run ends there, and that loss is left out.
    """
    if steps is not None:
        config = replace(config, examples=steps * config.batch_size)
    block_data = data.at_block_size(config.block_size)
    model = initialize(config, data.vocabulary, generator(seed, "initialisation"))
    draws = batches_of(config, block_data, seed)
    step = KernelStep(config, model, block_data.train, draws, rate=rate)
    losses: list[float] = []
    with torch_threads(1):
        for number in range(config.steps):
            step.run(number, number + 1)
            loss = step.take_loss()
            if not math.isfinite(loss):
                break
            losses.append(loss)
    return np.array(losses)


def running_mean(losses: Floats, window: int) -> Floats:
    """Means of `window` neighbours, one after the other, the last of what is left. (S / window,)

    The lecture's `torch.tensor(lossi).view(-1, 1000).mean(1)` (part 3).

    >>> running_mean(np.array([4.0, 2.0, 3.0, 3.0, 1.0]), 2)
    array([3., 3., 1.])
    """
    starts = np.arange(0, len(losses), window)
    sizes = np.minimum(window, len(losses) - starts)
    means: Floats = np.add.reduceat(losses, starts) / sizes
    return means


def smooth_losses(losses: Floats, half_width: int) -> Floats:
    """Means of each loss's neighbours, weighted by a bell (Hann) of `half_width` each side. (S,)

    >>> smoothed(np.array([1.0, 1.0, 1.0, 1.0]), 2)
    array([1., 1., 1., 1.])
    """
    bell = np.hanning(2 * half_width + 1)[1:-1]
    total = np.convolve(losses, bell)[half_width - 1 : half_width - 1 + len(losses)]
    weight = np.convolve(np.ones_like(losses), bell)[half_width - 1 : half_width - 1 + len(losses)]
    return np.asarray(total / weight, np.float64)
