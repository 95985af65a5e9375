"""The lecture's first model: each character predicted from the one before it (part 1, "bigrams").

Two ways to the same probabilities: relative frequencies of pairs, and a network of one linear layer
whose input is one-hot. That layer's weights are logits, a row of them for each character, so its
best loss is that of the relative frequencies; gradient descent approaches it.

`data/ngram.py` has longer contexts and better smoothing; this is the lecture's own model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from makemore_core.data.contexts import count_contexts
from makemore_core.lecture.batch_losses import Floats
from makemore_core.model.sampling import MAX_LENGTH, draw_words

LEARNING_RATE, STEPS = 50.0, 5_000
"""The lecture's rate. Its 100 steps reach 2.47; the third decimal takes thousands."""

Counts = NDArray[np.int64]


def count_pairs(words: Sequence[str], vocabulary: str) -> Counts:
    """How often each character (a column) follows each (a row), boundaries included. (V, V)

    >>> count_pairs(("ab", "b"), ".ab")
    array([[0, 1, 1],
           [0, 0, 1],
           [2, 0, 0]])
    """
    counted = count_contexts(words, vocabulary, 1)
    counts = np.zeros((len(vocabulary), len(vocabulary)), np.int64)
    counts[counted.contexts[counted.row_of_pair, 0], counted.next_character] = counted.count
    return counts


def probabilities(counts: Counts, fake_counts: float = 0.0) -> Floats:
    """Each row's relative frequencies, after adding fake counts (lecture: `N + 1`). (V, V)

    A row that was never counted is uniform.
    """
    padded = counts + fake_counts
    total = padded.sum(1, keepdims=True)
    return np.where(total > 0, padded / np.where(total > 0, total, 1), 1 / len(counts))


def loss(table: Floats, counts: Counts) -> float:
    """Mean negative log-likelihood of the counted pairs, in nats per predicted character.

    Infinite where a pair that was counted is impossible (lecture: "andrejq" without fake counts).
    """
    seen = counts > 0
    with np.errstate(divide="ignore"):
        return float(-(counts[seen] @ np.log(table[seen])) / counts.sum())


@dataclass(frozen=True, eq=False)
class BigramNetwork:
    """One linear layer, without biases, over a one-hot character."""

    weights: Floats  # (V, V) logits of what follows each character
    losses: Floats  # (steps,) before each update, nats per predicted character, decay left out

    @property
    def probabilities(self) -> Floats:
        """Softmax of each row. (V, V)"""
        return _softmax(self.weights)


def train_network(
    counts: Counts,
    rng: torch.Generator,
    *,
    learning_rate: float = LEARNING_RATE,
    steps: int = STEPS,
    decay: float = 0.0,
) -> BigramNetwork:
    """Gradient descent on all pairs at once, from unit normal weights.

    Equal pairs have equal gradients, so a step costs as much for 200,000 examples as for 729.

    Args:
        counts: (V, V) from `count_pairs`.
        rng: of the weights to start from; seed 2147483647 gives the lecture's.
        decay: adds decay * mean(weights ** 2) to the loss (lecture: 0.01), which pulls the
            probabilities towards uniform as fake counts do.
    """
    weights = torch.randn(*counts.shape, generator=rng).double().numpy()
    frequency = counts / counts.sum()  # (V, V)
    of_row = frequency.sum(1, keepdims=True)  # (V, 1)
    losses = np.empty(steps)
    for step in range(steps):
        predicted = _softmax(weights)
        losses[step] = -(frequency * np.log(predicted)).sum()
        gradient = predicted * of_row - frequency
        weights -= learning_rate * (gradient + 2 * decay / weights.size * weights)
    return BigramNetwork(weights, losses)


def sample(
    table: Floats, vocabulary: str, count: int, seed: int, max_length: int = MAX_LENGTH
) -> list[str]:
    """Draws words, character by character, each from the row of the one before it."""
    logits = torch.from_numpy(np.log(np.maximum(table, 1e-300)))  # (V, V)
    return draw_words(
        lambda contexts: logits[contexts[:, 0]], 1, vocabulary, count, seed, max_length=max_length
    )


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float64)
