"""Uncertainty: of a mean loss over words and over seeds, and of a share.

Words are what a split is a sample of, so a loss is resampled over them.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK = 250
"""Resamples drawn at once: bounds the memory."""


def bootstrap(
    nats: NDArray[np.float64], characters: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """A 95 % percentile interval of `nats.sum() / characters.sum()`, resampling words.

    Args:
        nats: summed over each word, (W,); the difference of two models' for a paired interval.
        characters: predicted characters of each word, (W,).

    Returns:
        Its ends; both infinite where a word's nats are not finite.
    """
    if not np.isfinite(nats).all():
        return math.inf, math.inf
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(RESAMPLES // CHUNK):
        drawn = rng.integers(len(nats), size=(CHUNK, len(nats)))
        losses.append(nats[drawn].sum(axis=1) / characters[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(losses), [0.025, 0.975])
    return float(low), float(high)


def proportion(count: int, of: int) -> tuple[float, float]:
    """The exact 95 % interval (Clopper and Pearson) of a share, given `count` hits among `of`."""
    from scipy.special import betaincinv  # a third of a second that a launcher does without

    low = betaincinv(count, of - count + 1, 0.025) if count else 0.0
    high = betaincinv(count + 1, of - count, 0.975) if count < of else 1.0
    return float(low), float(high)


def mean_over_seeds(losses: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % t-interval of a mean over seeds; None with a single seed, which has no spread, and
    where a loss is not finite."""
    from scipy.special import stdtrit

    if len(losses) < 2 or not all(map(math.isfinite, losses)):
        return None
    half = float(stdtrit(len(losses) - 1, 0.975)) * statistics.stdev(losses) / len(losses) ** 0.5
    mean = statistics.mean(losses)
    return mean - half, mean + half
