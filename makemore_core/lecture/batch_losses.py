"""The loss of every batch, as the lecture plots it during training.

A trial records losses at its evaluations only; a loss for each step takes a little more time.
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
    """Trains on one thread of the CPU, without evaluations; returns the loss of each step.

    Args:
        seed: gives the same batches as `trainer.train` with this seed.
        steps: the length of the run and of its schedule; None: the configuration's.
        rate: the learning rate at a fraction (0 to 1) of the run; by default the schedule's.

    Returns:
        (S,) mean nats per predicted character, before each step's update. Fewer than `steps` if
        a loss was not finite: the run ends there, and that loss is left out.
    """
    if steps is not None:
        config = replace(config, examples=steps * config.batch_size)
    block_data = data.contexts(config.block_size)
    model = initialize(config, data.vocabulary, generator(seed, "initialisation"))
    sampler = batches_of(config, block_data, seed)
    step = KernelStep(config, model, block_data.train, sampler, rate=rate)
    losses: list[float] = []
    with torch_threads(1):
        for number in range(config.steps):
            step.run(number, number + 1)
            loss = step.pop_loss()
            if not math.isfinite(loss):
                break
            losses.append(loss)
    return np.array(losses)


def running_mean(losses: Floats, window: int) -> Floats:
    """Means of successive windows, the last of which may be shorter. (S / window,)

    The lecture's `torch.tensor(lossi).view(-1, 1000).mean(1)` (part 3).

    >>> running_mean(np.array([4.0, 2.0, 3.0, 3.0, 1.0]), 2)
    array([3., 3., 1.])
    """
    starts = np.arange(0, len(losses), window)
    sizes = np.minimum(window, len(losses) - starts)
    means: Floats = np.add.reduceat(losses, starts) / sizes
    return means


def smooth_losses(losses: Floats, half_width: int) -> Floats:
    """Means weighted by a Hann window that reaches `half_width` to each side. (S,)

    >>> smooth_losses(np.array([1.0, 1.0, 1.0, 1.0]), 2)
    array([1., 1., 1., 1.])
    """
    bell = np.hanning(2 * half_width + 1)[1:-1]
    total = np.convolve(losses, bell)[half_width - 1 : half_width - 1 + len(losses)]
    weight = np.convolve(np.ones_like(losses), bell)[half_width - 1 : half_width - 1 + len(losses)]
    return np.asarray(total / weight, np.float64)
