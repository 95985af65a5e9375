"""Estimates of the memory that a training takes, from sizes alone, before anything is counted.

The factors are fitted to the peak memory of processes (tests/benchmarks/LOG.md, 2026-11-26); the
estimates are meant to be right within a third.
"""

from collections.abc import Sequence

from makemore_core.config import TrialConfig
from makemore_core.data.contexts import CHUNK
from makemore_core.data.dataset import MAX_KEPT_BYTES, MAX_WRITTEN_OUT
from makemore_core.training.parameter_layout import MAX_TABLE, ParameterLayout

PROGRAM_BYTES = 400 << 20
"""Memory of a process without data: Python, torch, numba, Optuna and the kernels."""

DISTINCT = 0.5
"""Distinct (context, next character) pairs per example: a half in names and word lists at longer
contexts, fewer at shorter ones."""


def words_bytes(words: Sequence[str]) -> int:
    """Bytes of the words, held once and listed twice."""
    return sum(map(len, words)) * 4 + len(words) * 80


def contexts_bytes(words: Sequence[str], symbols: int, block_size: int) -> int:
    """Bytes of the contexts of one block size while they are counted, which is their peak."""
    examples, reach = _examples(words), _reach(words, block_size)
    counted = DISTINCT * examples * (4 * block_size + 40)
    transient = examples * (50 + reach * (2 if symbols <= 256 else 5))
    return int(max(counted, transient))


def smoothing_bytes(words: Sequence[str], symbols: int, block_size: int) -> int:
    """Further bytes with smoothing: an n-gram, and its distributions if they are written out."""
    distinct = DISTINCT * _examples(words)
    levels = 25 * distinct * (_reach(words, block_size) + 1)
    written_out = distinct * symbols
    return int(levels + (24 * written_out if written_out <= MAX_WRITTEN_OUT else 0))


def other_blocks_bytes(words: Sequence[str], block_sizes: int, largest: int) -> int:
    """Bytes of the contexts of other block sizes, which are cached beside the one in use."""
    each = DISTINCT * _examples(words) * (4 * largest + 40)
    return int(min((block_sizes - 1) * each, MAX_KEPT_BYTES))


def network_bytes(config: TrialConfig, words: Sequence[str], symbols: int) -> int:
    """Bytes of a network while it is trained and evaluated, its batches included."""
    layout = ParameterLayout(config, symbols)
    rows = min(config.batch_size, int(DISTINCT * _examples(words)) + 1)
    copies = 7 if config.optimizer == "adamw" else 5  # gradient, moments, best, evaluated, packed
    table = config.block_size * symbols * layout.width
    tables = 0 if table > MAX_TABLE else table * (3 if rows > symbols else 1)
    features = config.block_size * config.embedding_size
    buffers = 2 * rows * (layout.hidden + layout.output + features)
    targets = 2 * rows * symbols if config.smoothing else 0
    evaluated = CHUNK * (3 * symbols + layout.width + features)
    return 4 * (copies * layout.size + tables + buffers + targets + evaluated)


def _examples(words: Sequence[str]) -> int:
    return sum(map(len, words)) + len(words)


def _reach(words: Sequence[str], block_size: int) -> int:
    return min(block_size, max(map(len, words)))
