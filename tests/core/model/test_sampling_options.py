"""Temperature, prefix, and only new words."""

import time

import pytest
import torch

from makemore_core.config import TrialConfig
from makemore_core.errors import ConfigError
from makemore_core.model.network import Model, initialize
from makemore_core.model.sampling import BATCH, sample
from makemore_core.training.trainer import torch_threads

MODEL = initialize(
    TrialConfig(hidden_width=16, block_size=3, initialisation="lecture"),
    ".abc",
    torch.Generator().manual_seed(3),
)


def likeliest(prefix: str) -> str:
    """The word that follows the likeliest character each time, at most 20 long."""
    word = prefix
    while len(word) < 20:
        context = [0] * 3 + [".abc".index(character) for character in word]
        best = int(MODEL.logits(torch.tensor([context[-3:]])).argmax())
        if best == 0:
            break
        word += ".abc"[best]
    return word


def test_low_temperatures_follow_the_likeliest_character() -> None:
    """And high ones draw nearly uniformly."""
    assert set(sample(MODEL, 50, 1, 20, temperature=1e-3)) == {likeliest("")}
    empty = sample(MODEL, 4000, 1, temperature=1e6).count("") / 4000
    assert empty == pytest.approx(1 / 4, abs=0.03)


def test_every_word_begins_with_the_prefix() -> None:
    """What follows is drawn as after a drawn beginning: the context holds the prefix."""
    words = sample(MODEL, 200, 1, 20, prefix="abca")
    assert all(word.startswith("abca") for word in words)
    assert max(map(len, words)) <= 20
    assert set(sample(MODEL, 5, 1, 20, prefix="ab", temperature=1e-3)) == {likeliest("ab")}


def test_excluded_words_are_drawn_again() -> None:
    """As many words as asked for, none of the excluded and none empty."""
    plain = sample(MODEL, 300, 1, 6, temperature=5)
    common = {word for word in plain if 0 < len(word) < 3}
    assert "" in plain
    words = sample(MODEL, 300, 1, 6, temperature=5, exclude=common)
    assert 300 == len(words)
    assert not ({""} | common) & set(words)


def test_a_model_with_nothing_new_to_say() -> None:
    """Is noticed, rather than asked for ever."""
    everything = {likeliest("")[:5]}
    with pytest.raises(ConfigError, match="nothing but excluded words"):
        sample(MODEL, 5, 1, 5, temperature=1e-3, exclude=everything)


def test_many_words_come_in_batches() -> None:
    """More than one batch holds; the same seed, the same words; thousands a second."""
    lecture = initialize(TrialConfig(), ".abcdefghijklmnopqrstuvwxyz", torch.Generator())
    with torch_threads(1):
        started = time.process_time()
        words = sample(lecture, BATCH + 1000, 1, 10)
        seconds = time.process_time() - started
        assert words == sample(lecture, BATCH + 1000, 1, 10)
    assert len(words) / seconds > 2_000
    assert len(words) == BATCH + 1000
    assert words[:1000] != words[BATCH:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature: 0.0 is not above 0"),
        ({"temperature": float("nan")}, "temperature"),
        ({"prefix": "ax"}, "prefix: 'x' is not in the alphabet 'abc'"),
        ({"prefix": "."}, "prefix: '.' is not in the alphabet"),
        ({"prefix": "a" * 101}, "longer than 100 characters"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    """Are refused, with the option's name."""
    with pytest.raises(ConfigError, match=message):
        sample(MODEL, 1, 1, **options)  # type: ignore[arg-type]


def test_a_model_of_another_kind_of_tensor_is_not_changed() -> None:
    """Sampling computes without gradients, also from parameters that want them."""
    tensors = {name: t.clone().requires_grad_() for name, t in MODEL.tensors.items()}
    assert sample(Model(MODEL.config, ".abc", tensors), 5, 1) == sample(MODEL, 5, 1)
