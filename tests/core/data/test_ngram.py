"""Count models: the lecture's bigram and interpolated modified Kneser-Ney n-grams."""

import os
import time
from collections import defaultdict
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore_core.data.contexts import count_contexts
from makemore_core.data.corpus import CORPORA_VARIABLE, Corpus, load
from makemore_core.data.dataset import Dataset
from makemore_core.data.ngram import baseline, dev_losses, discounts, fit, unsmoothed_loss
from makemore_core.data.splits import shuffled, split
from makemore_core.errors import ConfigError, CorpusError

ALPHABET = ".abcd"
WORDS = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=40)  # never a d
CONTEXTS = st.text("abcd", max_size=6)  # with what no word holds
ORDERS = st.integers(1, 6)


@pytest.fixture(scope="module")
def names() -> Corpus:
    directory = os.environ.get(CORPORA_VARIABLE, "")
    if directory and (Path(directory) / "names.txt").is_file():
        return load("names", Path(directory))
    reason = f"no names.txt: set {CORPORA_VARIABLE} to the directory that has it"
    return pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def reference(
    words: list[str], order: int, context: str, vocabulary: str = ALPHABET
) -> list[float]:
    """Modified Kneser-Ney straight from its definition: strings, dictionaries and recursion."""
    occurrences: dict[str, int] = defaultdict(int)
    before: dict[str, set[str]] = defaultdict(set)
    for word in words:
        text = f".{word}."
        for end in range(2, len(text) + 1):
            for start in range(max(0, end - order), end):
                occurrences[text[start:end]] += 1
                before[text[start + 1 : end]].add(text[start])

    def count(gram: str) -> int:
        if len(gram) == order or (len(gram) > 1 and gram[0] == "."):
            return occurrences.get(gram, 0)
        return len(before.get(gram, ()))

    def probability(history: str, x: str) -> float:
        same_order = [count(gram) for gram in occurrences if len(gram) == len(history) + 1]
        d = (0.0, *discounts(np.array(same_order)))
        lower = probability(history[1:], x) if history else 1 / len(vocabulary)
        counts = [count(history + y) for y in vocabulary]
        if sum(counts) == 0:
            return lower
        backoff_weight = sum(d[min(c, 3)] for c in counts)
        c = count(history + x)
        return (c - d[min(c, 3)] + backoff_weight * lower) / sum(counts)

    history = f".{context}"[-(order - 1) :] if order > 1 else ""
    return [probability(history, x) for x in vocabulary]


@given(words=WORDS, other=WORDS, highest=ORDERS)
def test_all_orders_at_once_are_as_each_alone(
    words: list[str], other: list[str], highest: int
) -> None:
    """The dev loss of each order is its own model's, on all dev words and on the unseen ones."""
    data = Dataset(ALPHABET, tuple(words), tuple(other)).contexts(max(1, highest - 1))
    found = dev_losses(data.train, data.dev, data.dev_unseen_count, ALPHABET, highest)
    unseen = [word for word in other if word not in words]
    assert list(range(1, len(found) + 1)) == [each.order for each in found]
    for each in found:
        model = fit(words, ALPHABET, each.order)
        assert model.loss(other) == pytest.approx(each.dev_loss)
        if unseen:
            assert model.loss(unseen) == pytest.approx(each.dev_loss_unseen)
        else:
            assert each.dev_loss_unseen is None
    if len(found) < highest:  # no word is that long
        assert fit(words, ALPHABET, highest).loss(other) == pytest.approx(found[-1].dev_loss)


def test_trigram_worked_by_hand() -> None:
    """Words ab, ab, b; V = 3; every order is too small for counts of counts: D = 1/2, 1, 3/2.

    Empty context: different characters before a {.} 1, before b {., a} 2, before the end {b} 1;
    4 in all. Left over (1/2 + 1 + 1/2) / 4 = 1/2, times 1/3 each = 1/6.
        p(.) = (1 - 1/2)/4 + 1/6 = 7/24    p(a) = 7/24    p(b) = (2 - 1)/4 + 1/6 = 10/24
    Context "." (begins words: occurrences): a 2, b 1; 3 in all. Left over (1 + 1/2) / 3 = 1/2.
        p(a|.) = 1/3 + 7/48 = 23/48    p(b|.) = 1/6 + 10/48 = 18/48    p(.|.) = 7/48
    Context "a": before ab {.} 1. Left over 1/2. p(b|a) = 1/2 + 10/48 = 34/48, p(a|a) = 7/48.
    Context "b": before b. {a, .} 2. Left over 1/2. p(.|b) = 1/2 + 7/48 = 31/48, p(a|b) = 7/48.
    Context ".a": b 2 times. Left over 1/2. p(b|.a) = 1/2 + 34/96 = 82/96, a and the end 7/96.
    Context "ab": the end 2 times. Left over 1/2. p(.|ab) = 1/2 + 31/96 = 79/96.
    Context "bb": never seen: as "b".
    """
    model = fit(["ab", "ab", "b"], ".ab", order=3)
    assert pytest.approx([7 / 48, 23 / 48, 18 / 48]) == model.probabilities("")
    assert pytest.approx([7 / 96, 7 / 96, 82 / 96]) == model.probabilities("a")
    assert pytest.approx([79 / 96, 7 / 96, 10 / 96]) == model.probabilities("ab")
    assert pytest.approx([31 / 48, 7 / 48, 10 / 48]) == model.probabilities("bb")
    expected = -(log(23 / 48) + log(82 / 96) + log(79 / 96)) / 3
    assert pytest.approx(expected) == model.loss(["ab"])


def test_discounts_worked_by_hand() -> None:
    """One word, order 1: the end and a to e once, f to h twice, i and j thrice, k four times.

    n = 6, 3, 2, 1. Y = 6 / (6 + 2*3) = 1/2; D1 = 1 - 2*Y*3/6 = 1/2; D2 = 2 - 3*Y*2/3 = 1;
    D3+ = 3 - 4*Y*1/2 = 2. Left over (6/2 + 3*1 + 3*2) / 22 = 12/22, times 1/12 each = 1/22.
    p: once 1.5/22, twice (2 - 1 + 1)/22, thrice (3 - 2 + 1)/22, four times (4 - 2 + 1)/22.
    """
    model = fit(["abcdeffgghhiiijjjkkkk"], ".abcdefghijk", order=1)
    expected = np.array([1.5] * 6 + [2] * 5 + [3]) / 22
    assert pytest.approx(expected) == model.probabilities("")


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param([], id="nothing"),
        pytest.param([1, 1, 3, 4], id="no twos"),
        pytest.param([1, 2, 2, 2, 3, 3, 3, 3, 4], id="fewer ones than twos"),
        pytest.param([1] * 8 + [2, 3, 3, 3, 4], id="D2 = 2 - 3*0.8*3 < 0"),
    ],
)
def test_discounts_leave_something_over(counts: list[int]) -> None:
    """Every discount is above zero and no larger than its count, whatever the counts."""
    found = discounts(np.array(counts, np.int64))
    assert all(0 < d <= count for d, count in zip(found, (1, 2, 3), strict=True))


@settings(deadline=None, max_examples=60)
@given(WORDS, ORDERS, CONTEXTS)
def test_distribution_sums_to_one_and_rules_nothing_out(
    words: list[str], order: int, context: str
) -> None:
    """After any context, seen or not, every symbol is possible and together they are certain."""
    probabilities = fit(words, ALPHABET, order).probabilities(context)
    assert pytest.approx(1, abs=1e-12) == probabilities.sum()
    assert (probabilities > 0).all()


@settings(deadline=None, max_examples=60)
@given(WORDS, ORDERS, CONTEXTS)
def test_arrays_agree_with_the_definition(words: list[str], order: int, context: str) -> None:
    """The vectorised model is the recursive definition over strings."""
    expected = reference(words, order, context)
    assert pytest.approx(expected, rel=1e-9) == fit(words, ALPHABET, order).probabilities(context)


@settings(deadline=None, max_examples=40)
@given(WORDS, WORDS, ORDERS)
def test_loss_is_the_sum_over_words_divided_once(
    words: list[str], others: list[str], order: int
) -> None:
    """One sum over every predicted character, ends included, one division."""
    model = fit(words, ALPHABET, order)
    logs = [
        np.log(model.probabilities(word[:i])[ALPHABET.index(x)])
        for word in others
        for i, x in enumerate(f"{word}.")
    ]
    assert pytest.approx(-sum(logs) / len(logs)) == model.loss(others)


def test_log_probabilities_follow_the_counted_pairs() -> None:
    """A network's contexts, longer than the n-gram's, are mixed pair by pair."""
    model = fit(["ab", "ab", "b"], ".ab", order=3)
    counted = count_contexts(["ab", "bb"], ".ab", 5)
    expected = [
        log(model.probabilities("".join(".ab"[c] for c in counted.contexts[row]))[x])
        for row, x in zip(counted.row_of_pair, counted.next_character, strict=True)
    ]
    assert pytest.approx(expected) == model.log_probabilities(counted)


def test_discounts_of_a_real_corpus(names: Corpus) -> None:
    """Where the counts of counts suffice, arrays and definition agree with estimated discounts."""
    vocabulary = ".abcde"
    words = [word for word in names.words if set(word) <= set(vocabulary)]
    model = fit(words, vocabulary, 4)
    for context in ("", "a", "ab", "abe", "dea", "ddd"):
        expected = reference(words, 4, context, vocabulary)
        assert pytest.approx(expected) == model.probabilities(context)
    ends = model.levels[3].backoff_weight  # 46 four-grams once, 8 twice: D1 = 46 / (46 + 2 * 8)
    assert pytest.approx(46 / 62) == ends.max()  # of a context seen once


def test_lecture_bigram(names: Corpus) -> None:
    """The lecture's 2.454: relative frequencies, without smoothing, over every name."""
    assert pytest.approx(2.4540145, abs=1e-7) == baseline(names, 42).all_words_loss


def test_conditional_entropy(names: Corpus) -> None:
    """At block 3 no model has a lower train loss than 1.869 (FACTS.md)."""
    train = split(names, 42).train
    assert pytest.approx(1.869, abs=5e-4) == unsmoothed_loss(train, names.vocabulary, 4)


def test_names_order_6(names: Corpus) -> None:
    """The strongest order on names, in less than two seconds of a core."""
    start = time.process_time()
    found = baseline(names, 42, 6)
    assert time.process_time() - start < 2
    assert pytest.approx(1.97460, abs=1e-4) == found.dev_loss
    assert pytest.approx(2.01792, abs=1e-4) == found.dev_loss_unseen
    assert pytest.approx(1.61779, abs=1e-4) == found.train_loss


def test_test_words_change_nothing_but_the_lectures_figure() -> None:
    """Other test words of the same alphabet leave the Kneser-Ney losses bit-identical."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), 1 + rng.integers(5))) for _ in range(50)]
    numbered, _, cut = shuffled(Corpus("numbers", tuple(map(str, range(50)))), 7)
    others = list(words)
    for number in numbered[cut:]:
        others[int(number)] = "dddddddd"
    one, two = (baseline(Corpus("toy", tuple(w)), 7, 3) for w in (words, others))
    assert (one.train_loss, one.dev_loss, one.dev_loss_unseen) == (
        two.train_loss,
        two.dev_loss,
        two.dev_loss_unseen,
    )
    assert one.all_words_loss != two.all_words_loss


def test_no_unseen_dev_words() -> None:
    """There is no loss over no words."""
    assert baseline(Corpus("same", ("ab",) * 20), 1).dev_loss_unseen is None


@pytest.mark.parametrize("order", [0, -1, 66])
def test_order_out_of_range(order: int) -> None:
    """The message names the key and what would be right."""
    with pytest.raises(ConfigError, match=f"order: {order} is not from 1 to 65"):
        fit(["ab"], ".ab", order)


def test_input_that_cannot_be_counted() -> None:
    """No words, characters outside the alphabet and contexts that are too short are said."""
    model = fit(["ab"], ".ab", 3)
    with pytest.raises(CorpusError, match="no words"):
        model.loss([])
    with pytest.raises(CorpusError, match="'z' is not in the alphabet"):
        model.loss(["az"])
    with pytest.raises(CorpusError, match="'z' is not in the alphabet"):
        model.probabilities("z")
    with pytest.raises(ConfigError, match="block size 2"):
        model.log_probabilities(count_contexts(["ab"], ".ab", 1))
