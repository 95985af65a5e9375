"""Batches: which contexts each step sees, with what weights and targets.

A step of B examples has far fewer rows than B: examples with the same context are one row, whose
weight is their number. That is the same mathematics, and no approximation.

- `sampled` (as the lecture): B (context, next character) pairs, uniformly with replacement.
- `expected`: contexts alone are drawn; a row's target is the whole distribution of what follows
  its context in the training split. The same expected gradient, less noise. Less still by strata:
  a context that is expected in every batch is in every batch, weighted by its exact frequency; of
  the others, one is drawn from each of as many equal parts of their cumulative measure, which is a
  power of their frequency; weights correct for that, so the gradient stays unbiased.

Smoothing interpolates each target with the distribution of an interpolated Kneser-Ney n-gram fitted
on the same train words: label smoothing (Szegedy et al. 2016, section 7), though not towards the
uniform distribution but towards an estimate from shorter contexts. A context that occurs once or
twice would otherwise teach its few successors with too much confidence. The n-gram distributions
are written out once, a number for each context and character, if they are at most MAX_WRITTEN_OUT
numbers; otherwise for the rows of each batch alone.

Draws are hashes of (seed, step, row), so any block of steps can be drawn again without any state.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from makemore_core.config import TrialConfig
from makemore_core.data.contexts import CountedContexts, Counts
from makemore_core.data.ngram import ContextTree
from makemore_core.randomness import generator, key
from makemore_core.training.batch_kernels import (
    draw_expected,
    draw_sampled,
    draw_smoothed,
    fill_smooth_targets,
)

FREQUENCY_POWER = 0.75
"""Uncertain contexts are drawn in proportion to this power of their frequency (weights undo it)."""

BLOCK_DRAWS = 1 << 18
"""The most draws that are prepared at once."""


class Batch(NamedTuple):
    """The rows of one step. Their weights sum to one, in expectation.

    A row's targets are the entries `pair_start` to `pair_end` of the sampler's `next_character` and
    `pair_weight`; the latter to be multiplied by the row's weight if the sampler is `weighted`.
    """

    rows: NDArray[np.int32]  # (U,) unique contexts of the training split
    weight: NDArray[np.float32]  # (U,)
    pair_start: NDArray[np.int64]  # (U,)
    pair_end: NDArray[np.int64]  # (U,)
    row_keys: NDArray[np.uint32]  # (U,) for the dropout


def smooth_targets(
    counted: CountedContexts, expected: NDArray[np.float32], smoothing: float
) -> CountedContexts:
    """The contexts with smooth targets: (1 - smoothing) * counts + smoothing * expected (U, V)."""
    rows, symbols = expected.shape
    frequency = counted.frequency.astype(np.float64)
    count = smoothing * frequency[:, None] * expected  # (U, V)
    count[counted.row_of_pair, counted.next_character] += (1 - smoothing) * counted.count
    return replace(
        counted,
        offsets=np.arange(rows + 1, dtype=np.int64) * symbols,
        next_character=np.tile(np.arange(symbols, dtype=np.int32), rows),
        count=count.ravel(),
    )


def _arrays(tree: ContextTree) -> tuple[NDArray[Any], ...]:
    """The arrays of a tree, in the order of the kernels' arguments."""
    return (
        tree.longest, tree.shorter, tree.start, tree.next_character, tree.discounted,
        tree.backoff_weight,
    )  # fmt: skip


class BatchSampler:
    """The batches of a run, made `block` steps at a time, and the keys of its dropout."""

    def __init__(
        self,
        config: TrialConfig,
        counted: CountedContexts,
        seed: int,
        block: int,
        expected: NDArray[np.float32] | ContextTree | None = None,
    ) -> None:
        """Args:
        expected: the n-gram distribution after each context, (U, V) or as a tree; None: no
            smoothing.
        """
        self._tree: tuple[NDArray[Any], ...] | None = None
        if isinstance(expected, ContextTree):
            self._tree, self._symbols = _arrays(expected), expected.symbols
        elif expected is not None:
            counted = smooth_targets(counted, expected, config.smoothing)
        self._smoothing = config.smoothing
        self.block = max(1, min(block, BLOCK_DRAWS // config.batch_size))
        self.weighted = config.targets == "expected"
        self.counted, self._batch_size = counted, config.batch_size
        self._key = np.uint64(key(seed, "draws"))
        self._mask_key = np.uint64(key(seed, "dropout"))
        if self.weighted:
            self._prepare_expected(config.batch_size)
        else:
            self._prepare_sampled(config.batch_size)
        shape = (self.block, self.max_rows)
        self._batches = Batch(
            np.zeros(shape, np.int32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.uint32),
        )
        self._used = np.full(self.block, self.max_rows, np.int64)
        self._prepared = -1
        self.threshold = np.uint32(round(config.dropout * 2**31))
        self.scale = np.float32(1.0 / (1.0 - int(self.threshold) / 2**31))
        keys = torch.randint(
            2**32, (config.hidden_width,), generator=generator(seed, "dropout columns")
        )
        self.column_keys = keys.numpy().astype(np.uint32)

    def _prepare_expected(self, batch_size: int) -> None:
        counted = self.counted
        frequency = counted.frequency / counted.examples  # (all,)
        self._certain, self._uncertain, inclusion = stratify(frequency, batch_size)
        self._certain_weight = frequency[self._certain].astype(np.float32)
        self._uncertain_weight = (frequency[self._uncertain] / inclusion).astype(np.float32)
        self._cumulative, self._guide = _guided(inclusion)
        self.max_rows = len(self._certain) + round(float(inclusion.sum()))
        self.expected_rows = float(self.max_rows)
        if self._tree is not None:  # filled for each batch
            self.next_character = np.tile(np.arange(self._symbols, dtype=np.int32), self.max_rows)
            self.pair_weight = np.zeros(self.max_rows * self._symbols, np.float32)
            return
        self.next_character = counted.next_character
        frequency_of_pair = np.repeat(counted.frequency, np.diff(counted.offsets))
        self.pair_weight = (counted.count / frequency_of_pair).astype(np.float32)

    def _prepare_sampled(self, batch_size: int) -> None:
        counted = self.counted
        measure = counted.count if self._tree is None else counted.frequency
        self._cumulative, self._guide = _guided(measure)
        frequency = self.counted.frequency / self.counted.examples
        self.expected_rows = float((1.0 - (1.0 - frequency) ** batch_size).sum())
        self.max_rows = min(batch_size, len(self.counted.contexts))
        self.next_character = np.zeros(self.block * batch_size, np.int32)
        self.pair_weight = np.zeros(self.block * batch_size, np.float32)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0; it is valid until the next call."""
        index, place = divmod(step, self.block)
        if index != self._prepared:
            self._prepare(index)
        rows, weight, pair_start, pair_end, row_keys = self._batches
        used = self._used[place]
        batch = Batch(
            rows[place, :used],
            weight[place, :used],
            pair_start[place, :used],
            pair_end[place, :used],
            row_keys[place, :used],
        )
        if self.weighted and self._tree is not None:
            self._write_out(batch, self._tree)
        return batch

    def _write_out(self, batch: Batch, tree: tuple[NDArray[Any], ...]) -> None:
        """Writes out the targets of a batch: a number for each of its rows and each character."""
        counted, symbols = self.counted, self._symbols
        rows = len(batch.rows)
        fill_smooth_targets(
            batch.rows, self._smoothing, counted.offsets, counted.next_character, counted.count,
            *tree, self.pair_weight[: rows * symbols],
        )  # fmt: skip
        batch.pair_start[:] = np.arange(rows) * symbols
        batch.pair_end[:] = batch.pair_start + symbols

    def _prepare(self, index: int) -> None:
        counted, first_step = self.counted, np.uint64(index * self.block)
        if self.weighted:
            draw_expected(
                self._key, self._mask_key, first_step, self._certain, self._certain_weight,
                self._uncertain, self._uncertain_weight, self._cumulative, self._guide,
                counted.offsets, *self._batches,
            )  # fmt: skip
        elif self._tree is not None:
            draw_smoothed(
                self._key, self._mask_key, first_step, self._cumulative, self._guide,
                self._smoothing, counted.offsets, counted.next_character, counted.count,
                self._symbols, *self._tree, self.next_character, self.pair_weight, self._used,
                *self._batches,
            )  # fmt: skip
        else:
            draw_sampled(
                self._key, self._mask_key, first_step, self._cumulative, self._guide,
                counted.row_of_pair, counted.next_character, self.next_character,
                self.pair_weight, self._used, *self._batches,
            )  # fmt: skip
        self._prepared = index

    def dense_targets(self, batch: Batch, symbols: int) -> NDArray[np.float32]:
        """The weight of each (row, next character). (U, V)"""
        dense = np.zeros((len(batch.rows), symbols), np.float32)
        for u, (start, end) in enumerate(zip(batch.pair_start, batch.pair_end, strict=True)):
            scale = batch.weight[u] if self.weighted else np.float32(1.0)
            weights = scale * self.pair_weight[start:end]
            np.add.at(dense[u], self.next_character[start:end], weights)  # some occur twice
        return dense


def stratify(
    frequency: NDArray[np.float64], batch_size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Divides the contexts into those in every batch and those that are drawn.

    Args:
        frequency: (all,) the fraction of the training examples with each context; sums to one.

    Returns:
        certain (K,), uncertain (M,), inclusion (M,): expected occurrences in a batch, below one;
        they sum to a whole number, the strata.
    """
    expected = frequency * batch_size
    strata = int(np.ceil(expected[expected < 1].sum() - 1e-9))
    strata += int((expected >= 1).sum())
    certain = np.zeros(len(frequency), np.bool_)
    measure = frequency**FREQUENCY_POWER
    while True:
        rest = strata - int(certain.sum())
        inclusion = np.where(certain, 0.0, measure)
        inclusion *= rest / max(inclusion.sum(), 1e-300)
        if not (inclusion >= 1).any() or rest <= 0:
            break
        certain |= inclusion >= 1
    uncertain = np.flatnonzero(~certain)
    return (
        np.flatnonzero(certain).astype(np.int32),
        uncertain.astype(np.int32),
        inclusion[uncertain],
    )


def _guided(
    measure: Counts,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The cumulative distribution of a measure (M + 1,), and a guide table for its inversion.

    `guide[k]` is the item at the position k / M, so that an item is found from a position in a step
    or two (Devroye 1986, chapter III).
    """
    cumulative = np.concatenate(([0.0], np.cumsum(measure, dtype=np.float64)))
    if len(measure):
        cumulative /= cumulative[-1]
    places = np.arange(len(measure)) / max(len(measure), 1)
    guide = np.searchsorted(cumulative[1:], places, side="right").astype(np.int32)
    return cumulative, guide
