"""Exact losses against the plainest way to compute them."""

import math

import numpy as np
import pytest
import torch
from examples import configs, word_lists
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.data import ngram
from makemore_core.data.contexts import count_contexts
from makemore_core.data.dataset import Dataset
from makemore_core.errors import CorpusError
from makemore_core.lecture.bigram import count_pairs
from makemore_core.lecture.mixture import ngram_nats
from makemore_core.model.network import Model, initialize
from makemore_core.training.evaluate import pair_nats, split_loss, word_losses


def naive_nats(model: Model, word: str) -> list[float]:
    """Each character's nats, one context at a time, in float64."""
    block = model.config.block_size
    padded = "." * block + word + "."
    tensors = {name: t.double() for name, t in model.tensors.items()}
    double = Model(model.config, model.vocabulary, tensors)
    found = []
    for place in range(block, len(padded)):
        context = [model.vocabulary.index(c) for c in padded[place - block : place]]
        logits = double.logits(torch.tensor([context]))
        target = model.vocabulary.index(padded[place])
        found.append(-torch.log_softmax(logits, 1)[0, target].item())
    return found


def a_model(config: TrialConfig, words: tuple[str, ...]) -> Model:
    vocabulary = "." + "".join(sorted(set("".join(words)))) + "0"
    return initialize(config, vocabulary, torch.Generator().manual_seed(4))


@given(config=configs(), words=word_lists())
def test_the_loss_of_a_split_is_the_naive_mean(config: TrialConfig, words: tuple[str, ...]) -> None:
    """Nats of every character of every word, repeats included, summed and divided once."""
    model = a_model(config, words)
    each = [nats for word in words for nats in naive_nats(model, word)]
    found = split_loss(model, count_contexts(words, model.vocabulary, config.block_size))
    assert found.all == pytest.approx(math.fsum(each) / len(each), rel=2e-5, abs=1e-6)
    assert found.unseen is None


@given(config=configs(), words=word_lists())
def test_the_losses_of_words_add_up_to_the_loss_of_the_split(
    config: TrialConfig, words: tuple[str, ...]
) -> None:
    """Each word's nats are the naive ones; together they are the split's."""
    model = a_model(config, words)
    nats, characters = word_losses(model, words)
    for word, found, count in zip(words, nats, characters, strict=True):
        assert found == pytest.approx(math.fsum(naive_nats(model, word)), rel=2e-5, abs=1e-6)
        assert count == len(word) + 1
    split = split_loss(model, count_contexts(words, model.vocabulary, config.block_size)).all
    assert nats.sum() / characters.sum() == pytest.approx(split, rel=1e-12)


@given(config=configs(), train=word_lists(), dev=word_lists(), data=st.data())
def test_the_unseen_loss_is_over_words_that_train_lacks(
    config: TrialConfig, train: tuple[str, ...], dev: tuple[str, ...], data: st.DataObject
) -> None:
    """Both losses come out of one pass; the second skips every word that stands in train."""
    shared = data.draw(st.lists(st.sampled_from(train), max_size=5))
    dev = (*dev, *shared)
    model = a_model(config, train + dev)
    block = Dataset(model.vocabulary, train, dev).contexts(config.block_size)
    found = split_loss(model, block.dev, block.dev_unseen_count)
    each = [n for word in dev if word not in train for n in naive_nats(model, word)]
    naive = pytest.approx(math.fsum(each) / len(each), rel=2e-5, abs=1e-6) if each else None
    assert found.unseen == naive


def test_folded_and_plain_evaluation_agree() -> None:
    """The two ways give the same nats to 1e-5, over several chunks of contexts."""
    from makemore_core.training import evaluate

    rng = np.random.default_rng(0)
    words = tuple("".join(rng.choice(list("abcdefgh"), rng.integers(1, 12))) for _ in range(900))
    model = a_model(TrialConfig(hidden_width=30, block_size=5, direct=True), words)
    counted = count_contexts(words, model.vocabulary, 5)
    assert len(counted.contexts) > evaluate.CHUNK
    plain = np.empty(len(counted.next_character))
    evaluate.plain_nats(model, counted, plain)
    assert np.allclose(pair_nats(model, counted), plain, rtol=0, atol=1e-4)


OUTSIDE = st.sampled_from(["E", ".", "z", "é", "\x00", "語", "🙂", "\ud800"])


@given(words=word_lists(), place=st.integers(0, 30), foreign=OUTSIDE)
def test_a_character_outside_the_alphabet_is_named(
    words: tuple[str, ...], place: int, foreign: str
) -> None:
    """Whoever turns words into numbers refuses a foreign character and a boundary within a word:
    the network's losses, the n-gram's, the bigram's, and what training counts."""
    at = place % len(words)
    alphabet = "." + "".join(sorted(set("".join(words)) - {"E", "z", "é", "語", "🙂"})) + "0"
    kept = tuple("".join(c for c in word if c in alphabet) or "0" for word in words)
    cut = place % (len(kept[at]) + 1)
    wrong = (*kept[:at], kept[at][:cut] + foreign + kept[at][cut:], *kept[at + 1 :])
    model = initialize(TrialConfig(), alphabet, torch.Generator().manual_seed(4))
    ngram_model = ngram.fit(kept, alphabet, 3)
    for encode in (
        lambda: word_losses(model, wrong),
        lambda: count_contexts(wrong, alphabet, 3),
        lambda: count_pairs(wrong, alphabet),
        lambda: ngram_nats(ngram_model, wrong),
        lambda: ngram_model.loss(wrong),
        lambda: ngram.fit(wrong, alphabet, 3),
    ):
        with pytest.raises(CorpusError) as refused:
            encode()
        assert f"{foreign!r}" in str(refused.value)
        assert "is not in the alphabet" in str(refused.value)


@pytest.mark.parametrize("size", [254, 255, 256, 257, 5_000])
def test_alphabets_of_any_size_are_encoded(size: int) -> None:
    """The last character of an alphabet is itself, whatever number type holds it, and the one
    after it is refused in a line of a sensible length."""
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + size - 1)))
    counted = count_contexts((characters,), "." + characters, 1)
    assert size == counted.examples
    assert size - 1 == counted.next_character.max()
    with pytest.raises(CorpusError, match="is not in the alphabet") as refused:
        count_contexts((chr(0x4E00 + size),), "." + characters, 1)
    assert len(str(refused.value)) < 300


def test_no_words_have_no_losses() -> None:
    """Asked for the losses of no words, the answer is empty."""
    model = a_model(TrialConfig(), ("ab",))
    nats, characters = word_losses(model, ())
    assert (0, 0) == (len(nats), len(characters))
