"""Which contexts a batch holds, and with what weights."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from examples import word_lists
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from makemore_core.config import TrialConfig
from makemore_core.data import ngram
from makemore_core.data.contexts import count_contexts
from makemore_core.data.dataset import MAX_WRITTEN_OUT, Dataset, ngram_targets
from makemore_core.data.ngram import ContextTree
from makemore_core.training.batches import BatchSampler, stratify
from makemore_core.training.trainer import batches_of

STEPS = 600


def drawn(
    words: tuple[str, ...],
    targets: str,
    batch_size: int,
    smoothing: float = 0.0,
    most: int = MAX_WRITTEN_OUT,
) -> tuple[BatchSampler, int]:
    vocabulary = alphabet_of(words)
    config = TrialConfig(targets=targets, batch_size=batch_size, smoothing=smoothing)
    counted = count_contexts(words, vocabulary, 2)
    expected = ngram_targets(counted, vocabulary, most) if smoothing else None
    return BatchSampler(config, counted, 5, 16, expected), len(vocabulary)


def alphabet_of(words: tuple[str, ...]) -> str:
    return "." + "".join(sorted(set("".join(words))))


@pytest.mark.parametrize("targets", ["sampled", "expected"])
@pytest.mark.parametrize(("smoothing", "most"), [(0.0, 0), (0.25, MAX_WRITTEN_OUT), (0.25, 0)])
@settings(max_examples=15)
@given(words=word_lists(), batch_size=st.integers(1, 30))
def test_the_mean_batch_is_the_training_split(
    targets: str, smoothing: float, most: int, words: tuple[str, ...], batch_size: int
) -> None:
    """Unbiased: the mean weight of each (context, next character) is its share of the examples; of
    smoothed ones, that share and the n-gram's probability, as they are mixed; whether the n-gram's
    are written out beforehand or not."""
    sampler, symbols = drawn(words, targets, batch_size, smoothing, most)
    counted = count_contexts(words, alphabet_of(words), 2)
    found = np.zeros((len(counted.contexts), symbols))
    square = np.zeros_like(found)
    for step in range(STEPS):
        batch = sampler.batch(step)
        dense = np.zeros_like(found)
        np.add.at(dense, batch.rows, sampler.dense_targets(batch, symbols))
        found += dense / STEPS
        square += dense**2 / STEPS
    expected = np.zeros_like(found)
    expected[counted.row_of_pair, counted.next_character] = counted.count / counted.examples
    if smoothing:
        model = ngram.fit(words, alphabet_of(words), 3)
        following = [model.probabilities(context_of(row, words)) for row in counted.contexts]
        share = counted.frequency / counted.examples
        expected = (1 - smoothing) * expected + smoothing * share[:, None] * np.array(following)
    variance = np.maximum(square - found**2, 3 / batch_size * expected)  # none when never drawn
    assert np.all(np.abs(found - expected) <= 6 * np.sqrt(variance / STEPS) + 1e-6)


def context_of(row: NDArray[np.int32], words: tuple[str, ...]) -> str:
    return "".join(alphabet_of(words)[index] for index in row)


@given(
    words=word_lists(),
    batch_size=st.integers(1, 60),
    smoothing=st.floats(0.01, 1.0),
    block_size=st.integers(1, 5),
)
def test_smoothed_targets_are_the_same_written_out_or_not(
    words: tuple[str, ...], batch_size: int, smoothing: float, block_size: int
) -> None:
    """Each row's are its counts and what the n-gram expects, as they are mixed."""
    vocabulary = alphabet_of(words)
    config = TrialConfig(batch_size=batch_size, smoothing=smoothing)
    counted = count_contexts(words, vocabulary, block_size)
    expected = smoothing * ngram_targets(counted, vocabulary, MAX_WRITTEN_OUT)
    shares = counted.count / counted.frequency[counted.row_of_pair]
    expected[counted.row_of_pair, counted.next_character] += (1 - smoothing) * shares
    sampler = BatchSampler(config, counted, 5, 4, ngram_targets(counted, vocabulary, 0))
    for step in (0, 3, 4, 2):
        batch = sampler.batch(step)
        found = sampler.dense_targets(batch, len(vocabulary))
        wanted = batch.weight[:, None] * expected[batch.rows]
        assert np.allclose(wanted, found, rtol=1e-4, atol=1e-7)


def test_smoothing_takes_the_memory_of_the_counts_where_the_alphabet_is_large() -> None:
    """Words of 3,000 different characters, smoothed: what is held is a small share of a number for
    each context and character."""
    rng = np.random.default_rng(1)
    codes = rng.zipf(1.3, 30_000) % 3_000 + 0x4E00
    words = tuple("".join(map(chr, each)) for each in codes.reshape(-1, 3))
    data = Dataset("." + "".join(sorted(set("".join(words)))), words, words[:50])
    block = data.contexts(4)
    config = TrialConfig(block_size=4, batch_size=128, smoothing=0.3)
    tracemalloc.start()
    batches_of(config, block, 1).batch(0)
    batches_of(replace(config, targets="sampled"), block, 1).batch(0)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(block.ngram_targets, ContextTree)
    assert taken < 4 * len(block.train.contexts) * len(data.vocabulary) / 2


def test_block_sizes_are_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for longest goes first; the one in use stays."""
    words = ("anna", "bob", "carla")
    data = Dataset(".abclnor", words, words)
    first = data.contexts(2)
    assert first is data.contexts(2)
    monkeypatch.setattr("makemore_core.data.dataset.MAX_KEPT_BYTES", 2 * first.nbytes)
    for size in (3, 4, 5, 6):
        data.contexts(size)
    assert first is not data.contexts(2)
    assert data.contexts(2) is data.contexts(2)


@given(words=word_lists(), batch_size=st.integers(1, 60))
def test_sampled_batches_are_whole_draws(words: tuple[str, ...], batch_size: int) -> None:
    """The weights are multiples of 1 / batch size and sum to one; no context has two rows."""
    sampler, symbols = drawn(words, "sampled", batch_size)
    for step in (0, 15, 16, 100):
        batch = sampler.batch(step)
        targets = sampler.dense_targets(batch, symbols) * batch_size
        assert targets.sum() == pytest.approx(batch_size, rel=1e-4)
        assert np.abs(targets - targets.round()).max() < 1e-3
        assert len(set(batch.rows.tolist())) == len(batch.rows)
        assert np.allclose(batch.weight, targets.sum(1) / batch_size, rtol=1e-4)


@given(
    counts=st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    batch_size=st.integers(1, 5000),
)
def test_frequent_contexts_are_in_every_batch(counts: list[int], batch_size: int) -> None:
    """No context is expected twice; those in every batch and those drawn are all of them."""
    share = np.array(counts) / sum(counts)
    certain, uncertain, inclusion = stratify(share, batch_size)
    assert sorted([*certain, *uncertain]) == list(range(len(counts)))
    assert np.all((inclusion > 0) & (inclusion < 1))
    assert inclusion.sum() == pytest.approx(round(inclusion.sum()), abs=1e-6)
    assert len(certain) + round(inclusion.sum()) <= batch_size
    if len(certain) and len(uncertain):
        assert share[certain].min() >= share[uncertain].max()


def test_expected_batches_have_less_noise() -> None:
    """The weight of the contexts of one character varies less than in as many sampled batches."""
    words = ("anna", "bob", "carla", "dora", "emil", "fritz", "gerd", "hanna", "ida", "jana")
    spread = {}
    for targets in ("sampled", "expected"):
        sampler, symbols = drawn(words, targets, 20)
        each = [sampler.dense_targets(sampler.batch(s), symbols).sum(0) for s in range(500)]
        spread[targets] = np.var(each, axis=0).sum()
    assert spread["expected"] < 0.5 * spread["sampled"]


@pytest.mark.parametrize("targets", ["sampled", "expected"])
def test_a_batch_depends_on_its_step_alone(targets: str) -> None:
    """The same whatever the block it is made in, and whatever was drawn before."""
    words = ("anna", "bob", "carla")
    config = TrialConfig(targets=targets, batch_size=7)
    counted = count_contexts(words, ".abclnor", 3)
    one, other = BatchSampler(config, counted, 9, 5), BatchSampler(config, counted, 9, 11)
    for step in (12, 3, 12, 40):
        for ours, theirs in zip(one.batch(step)[:2], other.batch(step)[:2], strict=True):
            assert np.array_equal(ours, theirs)
    different = BatchSampler(config, counted, 10, 5).batch(12)
    assert not np.array_equal(one.batch(12).row_keys, different.row_keys)
