"""A network mixed with an interpolated n-gram (Bengio et al. 2003, section 4.2 and table 1).

The mixture's probability of a character is weight * network + (1 - weight) * n-gram. The paper
weighs both by half, and found that it always helped: the two err in different places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from makemore_core.data.contexts import count_contexts_with_pairs
from makemore_core.data.dataset import Dataset
from makemore_core.data.ngram import NgramModel
from makemore_core.errors import ConfigError
from makemore_core.lecture.batch_losses import Floats
from makemore_core.model.network import Model
from makemore_core.training.evaluate import example_nats

PAPER_ORDER, PAPER_WEIGHT = 3, 0.5
"""The paper's trigram, and its weight of the network."""

BISECTIONS = 40
"""Bisections of the interval of the fitted weight."""


@dataclass(frozen=True)
class Mixture:
    """A mixture's losses on dev, in nats per predicted character."""

    weight: float  # of the network
    fitted: bool  # whether the weight was fitted on the dev split
    dev_loss: float
    dev_loss_unseen: float | None  # over the dev words that are not in train; None: there are none

    @property
    def dev_perplexity(self) -> float:
        """The perplexity of `dev_loss`, the paper's measure."""
        return perplexity(self.dev_loss)


def perplexity(loss: float) -> float:
    """exp of a loss in nats: the geometric mean of 1 / probability; infinite beyond floats.

    >>> round(perplexity(math.log(27)), 6)
    27.0
    """
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def mix(model: Model, ngram: NgramModel, data: Dataset, weight: float | None = None) -> Mixture:
    """Mixes a network with an n-gram that was fitted on the train words; evaluates on dev.

    Args:
        weight: of the network, from 0 to 1; None: fitted on dev. One number fitted on some 20,000
            characters lowers the loss by about 1 / 40,000 nats.

    Raises:
        ConfigError: the weight is not from 0 to 1.
    """
    if weight is not None and not 0 <= weight <= 1:
        raise ConfigError(f"weight: {weight} is not from 0 to 1")
    network = example_nats(model, data.dev_words)  # (N,)
    counted = ngram_nats(ngram, data.dev_words)  # (N,)
    used = fitted_weight(np.exp(-network), np.exp(-counted)) if weight is None else weight
    with np.errstate(divide="ignore"):  # the log of a weight of 0
        nats = -np.logaddexp(np.log(used) - network, np.log(1 - used) - counted)
    seen = set(data.train_words)
    unseen = np.repeat(
        [word not in seen for word in data.dev_words], [len(word) + 1 for word in data.dev_words]
    )
    return Mixture(
        weight=used,
        fitted=weight is None,
        dev_loss=float(nats.mean()),
        dev_loss_unseen=float(nats[unseen].mean()) if unseen.any() else None,
    )


def ngram_nats(ngram: NgramModel, words: Sequence[str]) -> Floats:
    """Negative log-likelihood of each predicted character of the words, ends included. (N,)"""
    counted, pair_of_example = count_contexts_with_pairs(
        words, ngram.vocabulary, max(ngram.order - 1, 1)
    )
    return -ngram.log_probabilities(counted)[pair_of_example]


def fitted_weight(first: Floats, second: Floats) -> float:
    """The weight of the first model with the lowest loss, to 1e-12.

    The log-likelihood is concave in the weight, so the zero of its slope is found by bisection.

    Args:
        first, second: (N,) the probability that each model gives each example.
    """
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        slope = ((first - second) / (middle * first + (1 - middle) * second)).sum()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return (low + high) / 2
