"""Uncertainty of a mean loss: bootstrap over words, which are what a split is a sample of."""

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
    """
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(RESAMPLES // CHUNK):
        drawn = rng.integers(len(nats), size=(CHUNK, len(nats)))
        losses.append(nats[drawn].sum(axis=1) / characters[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(losses), [0.025, 0.975])
    return float(low), float(high)
