"""Which contexts a batch holds, and with what weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from toys import word_lists

from makemore_core import ngram
from makemore_core.config import TrialConfig
from makemore_core.contexts import count_contexts
from makemore_core.data import expectation
from makemore_core.draws import Draws, stratify

STEPS = 600


def drawn(
    words: tuple[str, ...], targets: str, batch_size: int, smoothing: float = 0.0
) -> tuple[Draws, int]:
    vocabulary = alphabet_of(words)
    config = TrialConfig(targets=targets, batch_size=batch_size, smoothing=smoothing)
    counted = count_contexts(words, vocabulary, 2)
    expected = expectation(counted, vocabulary) if smoothing else None
    return Draws(config, counted, 5, 16, expected), len(vocabulary)


def alphabet_of(words: tuple[str, ...]) -> str:
    return "." + "".join(sorted(set("".join(words))))


@pytest.mark.parametrize("targets", ["sampled", "expected"])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@settings(max_examples=15)
@given(words=word_lists(), batch_size=st.integers(1, 30))
def test_the_mean_batch_is_the_training_split(
    targets: str, smoothing: float, words: tuple[str, ...], batch_size: int
) -> None:
    """Unbiased: the mean weight of each (context, next character) is its share of the examples; of
    smoothed ones, that share and the n-gram's probability, as they are mixed."""
    draws, symbols = drawn(words, targets, batch_size, smoothing)
    counted = count_contexts(words, alphabet_of(words), 2)
    found = np.zeros((len(counted.contexts), symbols))
    square = np.zeros_like(found)
    for step in range(STEPS):
        batch = draws.at(step)
        dense = np.zeros_like(found)
        np.add.at(dense, batch.rows, draws.dense_targets(batch, symbols))
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


@given(words=word_lists(), batch_size=st.integers(1, 60))
def test_sampled_batches_are_whole_draws(words: tuple[str, ...], batch_size: int) -> None:
    """The weights are multiples of 1 / batch size and sum to one; no context has two rows."""
    draws, symbols = drawn(words, "sampled", batch_size)
    for step in (0, 15, 16, 100):
        batch = draws.at(step)
        targets = draws.dense_targets(batch, symbols) * batch_size
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
    """The weight of the contexts of one character varies less than in as many sampled draws."""
    words = ("anna", "bob", "carla", "dora", "emil", "fritz", "gerd", "hanna", "ida", "jana")
    spread = {}
    for targets in ("sampled", "expected"):
        draws, symbols = drawn(words, targets, 20)
        each = [draws.dense_targets(draws.at(s), symbols).sum(0) for s in range(500)]
        spread[targets] = np.var(each, axis=0).sum()
    assert spread["expected"] < 0.5 * spread["sampled"]


@pytest.mark.parametrize("targets", ["sampled", "expected"])
def test_a_batch_depends_on_its_step_alone(targets: str) -> None:
    """The same whatever the block it is made in, and whatever was drawn before."""
    words = ("anna", "bob", "carla")
    config = TrialConfig(targets=targets, batch_size=7)
    counted = count_contexts(words, ".abclnor", 3)
    one, other = Draws(config, counted, 9, 5), Draws(config, counted, 9, 11)
    for step in (12, 3, 12, 40):
        for ours, theirs in zip(one.at(step)[:2], other.at(step)[:2], strict=True):
            assert np.array_equal(ours, theirs)
    different = Draws(config, counted, 10, 5).at(12)
    assert not np.array_equal(one.at(12).row_keys, different.row_keys)
