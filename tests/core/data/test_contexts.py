"""Counted contexts against the lecture's own loop."""

import time
from collections import Counter

import numpy as np
import pytest
from examples import lecture_corpus, word_lists
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.data.contexts import count_contexts, count_contexts_with_pairs
from makemore_core.data.dataset import Dataset


def naive(words: tuple[str, ...], vocabulary: str, block: int) -> list[tuple[tuple[int, ...], int]]:
    """The lecture's loop: every example in order."""
    found = []
    for word in words:
        context = [0] * block
        for character in word + ".":
            index = vocabulary.index(character)
            found.append((tuple(context), index))
            context = [*context[1:], index]
    return found


@given(words=word_lists(), block=st.integers(1, 64))
def test_counts_are_those_of_the_naive_loop(words: tuple[str, ...], block: int) -> None:
    """Every context and next character as often as the loop finds it, and each example's place."""
    vocabulary = "." + "".join(sorted(set("".join(words))))
    counted, place = count_contexts_with_pairs(words, vocabulary, block)
    pairs = [
        (tuple(counted.contexts[row].tolist()), int(following))
        for row, following in zip(counted.row_of_pair, counted.next_character, strict=True)
    ]
    examples = naive(words, vocabulary, block)
    assert dict(zip(pairs, counted.count.tolist(), strict=True)) == Counter(examples)
    assert [pairs[p] for p in place] == examples
    assert len({context for context, _ in pairs}) == len(counted.contexts)
    assert pairs == sorted(pairs)
    assert counted.examples == len(examples)
    assert counted.padding.tolist() == [row.tolist().count(0) for row in counted.contexts]
    assert counted.frequency.tolist() == [
        counted.count[a:b].sum() for a, b in zip(counted.offsets, counted.offsets[1:], strict=False)
    ]


@given(train=word_lists(), dev=word_lists())
def test_unseen_counts_are_those_of_unseen_words(
    train: tuple[str, ...], dev: tuple[str, ...]
) -> None:
    """A dev word that train holds, repeats included, adds nothing to them."""
    vocabulary = "." + "".join(sorted(set("".join(train + dev))))
    block = Dataset(vocabulary, train, dev).contexts(3)
    unseen = tuple(word for word in dev if word not in train)
    expected = Counter(naive(unseen, vocabulary, 3))
    found = {
        (tuple(block.dev.contexts[row].tolist()), int(following)): int(count)
        for row, following, count in zip(
            block.dev.row_of_pair, block.dev.next_character, block.dev_unseen_count, strict=True
        )
        if count
    }
    assert found == expected


def test_a_large_alphabet_and_long_words() -> None:
    """More columns than fit one number of 63 bits, and more symbols than fit one byte."""
    rng = np.random.default_rng(1)
    alphabet = [chr(0x4E00 + k) for k in range(700)]
    words = tuple("".join(rng.choice(alphabet, rng.integers(1, 30))) for _ in range(50))
    vocabulary = "." + "".join(sorted(set("".join(words))))
    counted = count_contexts(words * 2, vocabulary, 25)
    expected = Counter(naive(words * 2, vocabulary, 25))
    assert len(counted.count) == len(expected)
    assert counted.contexts.max() == len(vocabulary) - 1
    assert sorted(counted.count.tolist()) == sorted(expected.values())


@pytest.mark.parametrize("block", [3, 20, 64])
def test_names_are_built_in_a_moment(block: int) -> None:
    """Under a tenth of a second of processor time, at any block size; kept after that."""
    data = Dataset.from_corpus(lecture_corpus(), 42)
    data.contexts(2)
    times = []
    for _ in range(4):
        fresh = Dataset(data.vocabulary, data.train_words, data.dev_words)
        started = time.process_time()
        built = fresh.contexts(block)
        times.append(time.process_time() - started)
    assert min(times) < 0.1
    assert fresh.contexts(block) is built
