"""New words."""

from collections import Counter

import pytest
import torch

from makemore_core.config import TrialConfig
from makemore_core.model.network import Model, initialize
from makemore_core.model.sampling import sample

CONFIG = TrialConfig(hidden_width=8, embedding_size=3, block_size=2)


def model_with_output_bias(*bias: float) -> Model:
    """A model over `.ab` that draws by these logits alone."""
    model = initialize(CONFIG, ".ab", torch.Generator().manual_seed(1))
    tensors = dict(model.tensors)
    tensors["output_weight"] = torch.zeros(8, 3)
    tensors["output_bias"] = torch.tensor(bias)
    return Model(CONFIG, ".ab", tensors)


def test_the_same_seed_gives_the_same_words() -> None:
    """And another seed others."""
    model = model_with_output_bias(0.0, 0.0, 0.0)
    assert sample(model, 20, 1) == sample(model, 20, 1)
    assert sample(model, 20, 1) != sample(model, 20, 2)
    assert 20 == len(sample(model, 20, 1))


def test_words_end_at_a_boundary() -> None:
    """No word holds the boundary; lengths are those of the model's distribution."""
    words = sample(model_with_output_bias(0.0, 0.0, 0.0), 3000, 5)
    assert {"a", "b"} == set("".join(words))
    lengths = Counter(map(len, words))
    assert lengths[0] / 3000 == pytest.approx(1 / 3, abs=0.04)
    assert lengths[1] / 3000 == pytest.approx(2 / 9, abs=0.04)


def test_a_model_that_never_ends_a_word_is_cut() -> None:
    """At the longest length, by default a hundred characters."""
    model = model_with_output_bias(-1e9, 0.0, -1e9)
    assert sample(model, 2, 1) == ["a" * 100] * 2
    assert sample(model, 2, 1, max_length=7) == ["a" * 7] * 2
    assert [] == sample(model, 0, 1)


def test_sampling_follows_the_context() -> None:
    """The distribution is that of the forward pass: an `a` that is always followed by the end."""
    model = initialize(CONFIG, ".ab", torch.Generator().manual_seed(1))
    tensors = {name: torch.zeros_like(t) for name, t in model.tensors.items()}
    tensors["embedding"][1] = 1.0  # a
    tensors["hidden_weight"][-1] = 5.0  # the last character
    tensors["output_weight"][:, 0] = 50.0  # saturated: the boundary
    words = sample(Model(CONFIG, ".ab", tensors), 200, 3)
    assert all("a" not in word[:-1] for word in words)
    assert any(word.endswith("a") for word in words)
