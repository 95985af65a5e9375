"""Exact losses: nats summed over counted contexts in float64, then divided once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from makemore_core.data.contexts import CHUNK, CountedContexts, count_contexts_with_pairs
from makemore_core.model.network import Model
from makemore_core.training import kernels
from makemore_core.training.parameter_layout import ParameterLayout


class SplitLoss(NamedTuple):
    """Mean nats per predicted character."""

    all: float
    unseen: float | None  # over words that the training split does not hold; None: there are none


class WordScore(NamedTuple):
    """The negative log-likelihood of a word, its end included."""

    word: str
    nats: float
    characters: int  # predicted ones, the end of the word counted as one


def score_words(model: Model, words: Sequence[str]) -> list[WordScore]:
    """The score of each word, in the words' order.

    Raises:
        CorpusError: a word has a character outside the model's alphabet, which the message names.
    """
    nats, characters = word_losses(model, words)
    return list(map(WordScore, words, nats.tolist(), characters.tolist()))


def split_loss(
    model: Model, counted: CountedContexts, unseen_count: NDArray[np.int64] | None = None
) -> SplitLoss:
    """The loss of a split, and over its unseen words, in one pass over the unique contexts."""
    nats = pair_nats(model, counted)  # (P,)
    unseen = 0 if unseen_count is None else int(unseen_count.sum())
    return SplitLoss(
        all=float(nats @ counted.count) / counted.examples + 0.0,  # no loss of -0.0
        unseen=float(nats @ unseen_count) / unseen if unseen and unseen_count is not None else None,
    )


def pair_nats(model: Model, counted: CountedContexts) -> NDArray[np.float64]:
    """Negative log-likelihood of each (context, next character) pair. (P,)"""
    nats = np.empty(len(counted.next_character), np.float64)
    on_cpu = model.tensors["embedding"].device.type == "cpu"
    layout = ParameterLayout(model.config, len(model.vocabulary))
    if on_cpu and layout.prefers_folded(len(counted.contexts), counted.mean_context_length):
        folded_nats(model, layout, counted, nats)
    else:
        plain_nats(model, counted, nats)
    return nats


def folded_nats(
    model: Model, layout: ParameterLayout, counted: CountedContexts, nats: NDArray[np.float64]
) -> None:
    """Fills `nats` with the folded algorithm; see `kernel_step.py`."""
    views = layout.views(layout.pack(model.tensors))
    table = torch.matmul(views["embedding"], views["first"])  # (T, V, W)
    prefix = np.empty((model.config.block_size + 1, layout.width), np.float32)
    kernels.cross_entropy(
        counted.contexts, counted.padding, counted.offsets, counted.next_character, table.numpy(),
        prefix, views["hidden_bias"].numpy(), views["output"].numpy(),
        views["output_bias"].numpy()[: layout.symbols], model.config.direct, nats,
    )  # fmt: skip


def plain_nats(model: Model, counted: CountedContexts, nats: NDArray[np.float64]) -> None:
    """Fills `nats` with the plain forward pass, on the model's device."""
    device = model.tensors["embedding"].device
    for first in range(0, len(counted.contexts), CHUNK):
        offsets = counted.offsets[first : first + CHUNK + 1]
        contexts = torch.from_numpy(counted.contexts[first : first + CHUNK])
        logits = model.logits(contexts.to(device, torch.int64))
        log_probabilities = torch.log_softmax(logits, 1).cpu().numpy()
        pairs = slice(offsets[0], offsets[-1])
        row = np.repeat(np.arange(len(contexts)), np.diff(offsets))
        nats[pairs] = -log_probabilities[row, counted.next_character[pairs]]


def example_nats(model: Model, words: Sequence[str]) -> NDArray[np.float64]:
    """Negative log-likelihood of each predicted character of the words, ends included. (N,)"""
    counted, pair_of_example = count_contexts_with_pairs(
        words, model.vocabulary, model.config.block_size
    )
    return pair_nats(model, counted)[pair_of_example]


def word_losses(
    model: Model, words: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Nats of each word (W,), and its predicted characters, its end included (W,).

    Raises:
        CorpusError: a word has a character outside the model's alphabet, which the message names.
    """
    if not words:
        return np.empty(0), np.empty(0, np.int64)
    return sum_by_word(example_nats(model, words), words)


def sum_by_word(
    nats: NDArray[np.float64], words: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums the nats of each example (N,), in the words' order, by word; result as `word_losses`."""
    characters = np.fromiter((len(word) + 1 for word in words), np.int64, len(words))
    return np.add.reduceat(nats, np.cumsum(characters) - characters), characters
