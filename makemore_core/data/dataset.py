"""What training sees of a corpus: the contexts of its train and dev words, at any block size."""

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
"""Numbers that an n-gram's expectation may take; a training holds some 24 bytes for each of them,
200 MB at most. 30,000 names have 2.6 million, 20,000 words of 3,000 characters a hundred million.
Written out, a step is faster: 330,000 words of 26 letters took 1.5 to 1.7 times as long without."""

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
    def expected(self) -> NDArray[np.float32] | ContextTree:
        """How likely each character follows each train context, by an n-gram."""
        return ngram_targets(self.train, self.vocabulary)

    @property
    def nbytes(self) -> int:
        """What its arrays take in memory, those included that are made at their first use."""
        held = [self.dev_unseen_count, self.__dict__.get("expected")]
        held += [*vars(self.train).values(), *vars(self.dev).values()]
        return sum(each.nbytes for each in held if isinstance(each, (np.ndarray, ContextTree)))


def ngram_targets(
    counted: CountedContexts, vocabulary: str, most: int = MAX_WRITTEN_OUT
) -> NDArray[np.float32] | ContextTree:
    """What an n-gram expects after each of the contexts it was fitted on, all of which it sees.

    Kneser-Ney, interpolated, of as many orders as the contexts have characters, and one. Written
    out (U, V) if those are at most so many numbers.
    """
    model = ngram.fit_counted(counted, vocabulary, counted.contexts.shape[1] + 1)
    if len(counted.contexts) * len(vocabulary) > most:
        return model.tree(counted.contexts)
    return model.distributions(counted.contexts).astype(np.float32)


@dataclass(frozen=True)
class Dataset:
    """What training sees of a corpus: its train and dev words, never its test words."""

    vocabulary: str
    train_words: tuple[str, ...]
    dev_words: tuple[str, ...]
    _blocks: dict[int, ContextData] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, corpus: Corpus, split_seed: int) -> "Dataset":
        """Splits a corpus and keeps what training may see."""
        splits = split(corpus, split_seed)
        return cls(corpus.vocabulary, splits.train, splits.dev)

    def at_block_size(self, block_size: int) -> ContextData:
        """The contexts of a block size; built at the first call, then kept while there is room."""
        found = self._blocks.pop(block_size, None)
        if found is None:
            self._make_room()
            found = self._build(block_size)
        self._blocks[block_size] = found  # the last of them is the one in use
        return found

    def _make_room(self) -> None:
        """Drops block sizes, the one that was not used for longest first."""
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
