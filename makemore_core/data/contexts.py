"""Words to contexts and next characters; identical contexts are counted once.

A word `emma` gives five examples at block size 3: `...`->e, `..e`->m, `.em`->m, `emm`->a,
`mma`->`.` (lecture: building the dataset). Contexts repeat often in a corpus of names, so each is
stored once with the count of each character that follows it: exact, and a fraction of the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makemore_core.data.characters import foreign_character

Counts = NDArray[np.int64] | NDArray[np.float64]

CHUNK = 1024
"""Contexts in one forward pass, which bounds the memory of an evaluation."""


@dataclass(frozen=True)
class CountedContexts:
    """U unique contexts and their P (context, next character) pairs, in compressed rows.

    The pairs of context `u` are `next_character[offsets[u]:offsets[u + 1]]`, with their counts in
    `count` at the same places.
    """

    contexts: NDArray[np.int32]  # (U, block) character indices, oldest first
    offsets: NDArray[np.int64]  # (U + 1,)
    next_character: NDArray[np.int32]  # (P,)
    count: Counts  # (P,) fractions where targets are smoothed

    @cached_property
    def examples(self) -> int:
        """The number of (context, next character) examples in the words, repeats included."""
        return round(float(self.count.sum()))  # fractions, rounding aside, sum to it

    @cached_property
    def frequency(self) -> Counts:
        """The number of examples with each context. (U,)"""
        frequency: Counts = np.add.reduceat(self.count, self.offsets[:-1])
        return frequency

    @cached_property
    def padding(self) -> NDArray[np.int32]:
        """The number of boundary characters at the start of each context. (U,)"""
        padding: NDArray[np.int32] = (self.contexts == 0).sum(axis=1, dtype=np.int32)
        return padding

    @cached_property
    def row_of_pair(self) -> NDArray[np.int32]:
        """The row of each pair's context. (P,)"""
        return np.repeat(np.arange(len(self.contexts), dtype=np.int32), np.diff(self.offsets))

    @cached_property
    def mean_context_length(self) -> float:
        """The mean number of characters in a context, boundaries left out, over the examples."""
        characters = (self.contexts.shape[1] - self.padding) @ self.frequency
        return float(characters) / self.examples


def count_contexts(words: Sequence[str], vocabulary: str, block_size: int) -> CountedContexts:
    """Counts every (context, next character) pair of the words.

    >>> counted = count_contexts(("ava", "ave"), ".aev", 2)
    >>> counted.examples, len(counted.contexts)
    (8, 5)
    """
    return count_contexts_with_pairs(words, vocabulary, block_size)[0]


def count_contexts_with_pairs(
    words: Sequence[str], vocabulary: str, block_size: int
) -> tuple[CountedContexts, NDArray[np.int64]]:
    """The counted pairs, and the index of each example's pair in the order of the words. (N,)"""
    reach = min(block_size, max(map(len, words)))  # further back is only padding
    windows, following, age = _examples(words, vocabulary, reach)
    contexts = np.where(age[:, None] < np.arange(reach, 0, -1), 0, windows)  # (N, reach)
    keys, pair_of_example = _ranked(contexts, following, len(vocabulary))
    example_of_pair = np.empty(len(keys), np.int64)
    example_of_pair[pair_of_example] = np.arange(len(following))
    first_pairs = np.flatnonzero(np.diff(keys // len(vocabulary), prepend=-1))  # (U,)
    unique = np.zeros((len(first_pairs), block_size), np.int32)
    unique[:, block_size - reach :] = contexts[example_of_pair[first_pairs]]
    counted = CountedContexts(
        contexts=unique,
        offsets=np.append(first_pairs, len(keys)),
        next_character=(keys % len(vocabulary)).astype(np.int32),
        count=np.bincount(pair_of_example),
    )
    return counted, pair_of_example


def _examples(
    words: Sequence[str], vocabulary: str, reach: int
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64], NDArray[np.int64]]:
    """Every example of the words in order: the `reach` characters before it, which may reach into
    the previous word (N, reach), the next character (N,), and how far into its word it is (N,).

    Raises:
        CorpusError: a word has a character outside the alphabet, or the boundary within it.
    """
    text = vocabulary[0] * reach + vocabulary[0].join(words) + vocabulary[0]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    foreign = len(vocabulary)  # stands for every character that the alphabet lacks
    kind = np.uint8 if foreign <= 255 else np.int32
    lookup = np.full(max(max(map(ord, vocabulary)), int(codes.max())) + 1, foreign, kind)
    lookup[[ord(character) for character in vocabulary]] = np.arange(len(vocabulary))
    stream = lookup[codes]  # boundaries, then each word and its end
    if stream.max() == foreign or np.count_nonzero(stream == 0) != reach + len(words):
        raise foreign_character(words, vocabulary)
    following = stream[reach:].astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(stream[:-1], reach)
    ends = np.flatnonzero(following == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    age = np.arange(len(following)) - np.repeat(starts, ends - starts + 1)
    return windows, following, age


def _ranked(
    contexts: NDArray[np.integer[Any]], following: NDArray[np.int64], base: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The (context, next character) pairs that occur, in lexicographic order, and each example's.

    Returns keys (P,) that are a multiple of `base` plus the next character, the multiple growing
    with the context, and places among them (N,). Rows are read as numbers of base `base`; as many
    columns at once as fit 62 bits.
    """
    key = np.zeros(len(contexts), np.int64)
    size = 1
    for column in (*contexts.T, following):
        if size > 2**62 // base:
            key = np.unique(key, return_inverse=True)[1]
            size = len(contexts)
        key = key * base + column
        size *= base
    keys, places = np.unique(key, return_inverse=True)
    return keys, places
