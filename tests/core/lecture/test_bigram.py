"""The lecture's bigram model, by counts and by gradient."""

import itertools
import math

import numpy as np
import pytest
import torch
from examples import WORDS, lecture_corpus

from makemore_core.data import ngram
from makemore_core.lecture import bigram

ALPHABET = "." + "".join(sorted(set("".join(WORDS))))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_counts_are_those_of_the_words() -> None:
    """Against counting pairs one by one."""
    expected = np.zeros((len(ALPHABET),) * 2, np.int64)
    for word in WORDS:
        text = f".{word}."
        for before, after in itertools.pairwise(text):
            expected[ALPHABET.index(before), ALPHABET.index(after)] += 1
    assert expected.tolist() == bigram.count_pairs(WORDS, ALPHABET).tolist()


def test_both_ways_agree_on_names_to_three_decimals() -> None:
    """2.454 by counts and by gradient, and nearly the same probabilities."""
    names = lecture_corpus()
    counts = bigram.count_pairs(names.words, names.vocabulary)
    by_counts = bigram.loss(bigram.probabilities(counts), counts)
    network = bigram.train_network(counts, seeded(1))
    by_gradient = bigram.loss(network.probabilities, counts)
    assert by_counts == pytest.approx(ngram.unsmoothed_loss(names.words, names.vocabulary, 2))
    assert round(by_counts, 3) == round(by_gradient, 3) == 2.454
    assert 0 < by_gradient - by_counts < 0.0005
    common = counts > 1000
    table = bigram.probabilities(counts)
    assert network.probabilities[common] == pytest.approx(table[common], abs=1e-3)


def test_the_gradient_is_that_of_autograd() -> None:
    """One step of descent on one-hot inputs, as the lecture writes it, with its regularisation."""
    counts = bigram.count_pairs(WORDS, ALPHABET)
    start = bigram.train_network(counts, seeded(5), steps=0).weights
    weights = torch.from_numpy(start.copy()).requires_grad_()
    before, after = (torch.from_numpy(each) for each in np.nonzero(counts))
    often = torch.from_numpy(counts[counts > 0])
    logits = torch.nn.functional.one_hot(before, len(ALPHABET)).double() @ weights
    log_probabilities = torch.log_softmax(logits, 1)[torch.arange(len(after)), after]
    loss = -(often * log_probabilities).sum() / often.sum()
    (loss + 0.01 * (weights**2).mean()).backward()
    stepped = bigram.train_network(counts, seeded(5), steps=1, learning_rate=50, decay=0.01)
    assert loss.item() == pytest.approx(stepped.losses[0])
    assert weights.grad is not None
    expected = start - 50 * weights.grad.numpy()
    assert expected == pytest.approx(stepped.weights)


def test_fake_counts_and_decay_pull_towards_uniform() -> None:
    """Without them a pair that never occurred is impossible, and its words infinitely bad."""
    counts = bigram.count_pairs(("ab", "ab"), ".abc")
    unseen = bigram.count_pairs(("ba",), ".abc")
    assert bigram.loss(bigram.probabilities(counts), unseen) == math.inf
    assert math.isfinite(bigram.loss(bigram.probabilities(counts, 1), unseen))
    assert bigram.probabilities(counts)[3].tolist() == [0.25] * 4
    uniform = bigram.probabilities(counts, 1e9)
    assert bigram.loss(uniform, counts) == pytest.approx(math.log(4), abs=1e-6)
    decayed = bigram.train_network(counts, seeded(1), steps=200, learning_rate=0.1, decay=50)
    assert decayed.probabilities == pytest.approx(np.full((4, 4), 0.25), abs=0.03)


def test_samples_follow_the_table() -> None:
    """Only pairs that occurred, in their proportions, the same for the same seed."""
    table = bigram.probabilities(bigram.count_pairs(("ab", "ab", "b"), ".ab"))
    words = bigram.sample(table, ".ab", 3000, 1)
    assert words == bigram.sample(table, ".ab", 3000, 1)
    assert {"ab", "b"} == set(words)
    assert words.count("ab") / 3000 == pytest.approx(2 / 3, abs=0.04)
