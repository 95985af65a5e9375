"""The figures that the lecture reports, on its own corpus."""

import random

import pytest
import torch
from examples import lecture_corpus

from makemore_core.config import TrialConfig
from makemore_core.data.contexts import count_contexts
from makemore_core.data.dataset import Dataset
from makemore_core.data.splits import split
from makemore_core.model.network import initialize
from makemore_core.training.evaluate import split_loss
from makemore_core.training.trainer import train


def test_counts_of_words_and_examples() -> None:
    """32,033 names, 27 symbols, 228,146 examples; 25,626 / 3,203 / 3,204 words by split."""
    names = lecture_corpus()
    assert (32_033, 27) == (len(names.words), len(names.vocabulary))
    assert 228_146 == count_contexts(names.words, names.vocabulary, 3).examples
    assert 32 == count_contexts(names.words[:5], names.vocabulary, 3).examples
    parts = split(names, 42)
    assert (25_626, 3_203, 3_204) == (len(parts.train), len(parts.dev), parts.test_words)
    shuffled = list(names.words)
    random.Random(42).shuffle(shuffled)
    assert list(parts.train) == shuffled[:25_626]


@pytest.mark.parametrize(("block", "unique"), [(3, 5_438), (4, 20_243), (6, 45_937), (8, 50_457)])
def test_counts_of_contexts(block: int, unique: int) -> None:
    """182,625 and 22,655 examples at any block size, with so many unique contexts."""
    data = Dataset.from_corpus(lecture_corpus(), 42).contexts(block)
    assert (182_625, 22_655) == (data.train.examples, data.dev.examples)
    assert len(data.train.contexts) == unique
    if block == 8:
        assert 9_881 == len(data.dev.contexts)


def test_the_first_loss_and_the_parameters() -> None:
    """17.77 on the first five names from the lecture's seed; 3,481 and 11,897 parameters."""
    names = lecture_corpus()
    small = TrialConfig(embedding_size=2, hidden_width=100, initialisation="lecture")
    model = initialize(small, names.vocabulary, torch.Generator().manual_seed(2147483647))
    first_five = count_contexts(names.words[:5], names.vocabulary, 3)
    assert 17.77 == round(split_loss(model, first_five).all, 2)
    assert 3_481 == model.parameters
    large = initialize(TrialConfig(), names.vocabulary, torch.Generator())
    assert 11_897 == large.parameters


@pytest.mark.long
def test_the_whole_lecture_run_ends_where_the_lecture_ends() -> None:
    """200,000 steps of 32, rate 0.1 then 0.01, unscaled normal: dev 2.155 within 0.02."""
    config = TrialConfig(
        initialisation="lecture", targets="sampled", examples=200_000 * 32, evaluations=10
    )
    result = train(config, Dataset.from_corpus(lecture_corpus(), 42), 2147483647)
    assert 200_000 == result.steps
    assert pytest.approx(2.155, abs=0.02) == result.final_dev_loss
    assert pytest.approx(2.126, abs=0.03) == result.train_loss
