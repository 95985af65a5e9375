"""Confidence intervals of a loss over words, of a mean over seeds, and of a proportion.

A split is a sample of words, so a loss is resampled over words.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK = 250
"""Resamples drawn at once, which bounds the memory."""


def bootstrap(
    nats: NDArray[np.float64], characters: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """Returns a 95 % percentile interval of `nats.sum() / characters.sum()`, resampled over words.

    Args:
        nats: summed over each word, (W,); the difference of two models' for a paired interval.
        characters: predicted characters of each word, (W,).

    Returns:
        Its bounds; both infinite if a word's nats are not finite.
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


def proportion(count: int, total: int) -> tuple[float, float]:
    """Returns the exact 95 % interval (Clopper and Pearson) of `count` successes in `total`."""
    from scipy.special import betaincinv  # takes a third of a second to import

    low = betaincinv(count, total - count + 1, 0.025) if count else 0.0
    high = betaincinv(count + 1, total - count, 0.975) if count < total else 1.0
    return float(low), float(high)


def mean_over_seeds(losses: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % t-interval of a mean over seeds; None with one seed or a loss that is not
    finite."""
    from scipy.special import stdtrit

    if len(losses) < 2 or not all(map(math.isfinite, losses)):
        return None
    half = float(stdtrit(len(losses) - 1, 0.975)) * statistics.stdev(losses) / len(losses) ** 0.5
    mean = statistics.mean(losses)
    return mean - half, mean + half
