"""The dataset of a corpus: the contexts of its train and dev words, for any block size."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from makemore_core.data import ngram
from makemore_core.data.contexts import CountedContexts, count_contexts, count_contexts_with_pairs
from makemore_core.data.corpus import Corpus
from makemore_core.data.ngram import ContextTree
from makemore_core.data.splits import split

MAX_WRITTEN_OUT = 1 << 23
"""Numbers in the n-gram distributions that are written out; a training holds some 24 bytes for
each, 200 MB at most. 30,000 names have 2.6 million, 20,000 words of 3,000 characters a hundred
million. Steps are faster with them: 330,000 words of 26 letters took 1.5 to 1.7 times as long
without."""

MAX_KEPT_BYTES = 1 << 28
"""Contexts of block sizes beyond the one in use are kept up to this size."""


@dataclass(frozen=True)
class ContextData:
    """The splits of a corpus as contexts of one block size."""

    block_size: int
    vocabulary: str
    train: CountedContexts
    dev: CountedContexts
    dev_unseen_count: NDArray[np.int64]  # (P of dev,) counts from words that train does not hold

    @cached_property
    def ngram_targets(self) -> NDArray[np.float32] | ContextTree:
        """The n-gram distribution of what follows each train context; made at the first use."""
        return ngram_targets(self.train, self.vocabulary)

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays, including those made at their first use."""
        held = [self.dev_unseen_count, self.__dict__.get("ngram_targets")]
        held += [*vars(self.train).values(), *vars(self.dev).values()]
        return sum(each.nbytes for each in held if isinstance(each, (np.ndarray, ContextTree)))


def ngram_targets(
    counted: CountedContexts, vocabulary: str, max_numbers: int = MAX_WRITTEN_OUT
) -> NDArray[np.float32] | ContextTree:
    """The distribution of what follows each context, by an n-gram fitted on these contexts.

    The n-gram is interpolated Kneser-Ney of order block + 1. The result is an array (U, V) if that
    has at most `max_numbers` numbers, else a tree.
    """
    model = ngram.fit_counted(counted, vocabulary, counted.contexts.shape[1] + 1)
    if len(counted.contexts) * len(vocabulary) > max_numbers:
        return model.tree(counted.contexts)
    return model.distributions(counted.contexts).astype(np.float32)


@dataclass(frozen=True)
class Dataset:
    """The train and dev words of a corpus, never its test words."""

    vocabulary: str
    train_words: tuple[str, ...]
    dev_words: tuple[str, ...]
    _blocks: dict[int, ContextData] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_corpus(cls, corpus: Corpus, split_seed: int) -> "Dataset":
        """Splits a corpus and keeps its train and dev words."""
        splits = split(corpus, split_seed)
        return cls(corpus.vocabulary, splits.train, splits.dev)

    def contexts(self, block_size: int) -> ContextData:
        """The contexts of a block size, built at the first call and cached up to MAX_KEPT_BYTES."""
        data = self._blocks.pop(block_size, None)
        if data is None:
            self._evict()
            data = self._build(block_size)
        self._blocks[block_size] = data  # the last one is the most recently used
        return data

    def _evict(self) -> None:
        """Drops block sizes, the least recently used first, down to MAX_KEPT_BYTES."""
        while sum(each.nbytes for each in self._blocks.values()) > MAX_KEPT_BYTES:
            del self._blocks[next(iter(self._blocks))]

    def _build(self, block_size: int) -> ContextData:
        seen = set(self.train_words)
        unseen = np.array([word not in seen for word in self.dev_words])
        lengths = np.fromiter((len(word) + 1 for word in self.dev_words), np.int64)
        dev, pair_of_example = count_contexts_with_pairs(
            self.dev_words, self.vocabulary, block_size
        )
        chosen = pair_of_example[np.repeat(unseen, lengths)]
        unseen_count = np.bincount(chosen, minlength=len(dev.count))
        train = count_contexts(self.train_words, self.vocabulary, block_size)
        return ContextData(block_size, self.vocabulary, train, dev, unseen_count)
