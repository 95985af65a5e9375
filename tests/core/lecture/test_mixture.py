"""Networks mixed with n-grams."""

import math

import numpy as np
import pytest
import torch
from examples import toy_data
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.data import ngram
from makemore_core.errors import ConfigError
from makemore_core.lecture.mixture import fitted_weight, mix, ngram_nats, perplexity
from makemore_core.model.network import initialize
from makemore_core.training.evaluate import example_nats

DATA = toy_data()
MODEL = initialize(
    TrialConfig(hidden_width=8, block_size=2, direct=True), DATA.vocabulary, torch.Generator()
)
TRIGRAM = ngram.fit(DATA.train_words, DATA.vocabulary, 3)


def test_the_ends_are_the_two_models() -> None:
    """Weight 1 is the network, weight 0 the n-gram."""
    network, counted = mix(MODEL, TRIGRAM, DATA, 1.0), mix(MODEL, TRIGRAM, DATA, 0.0)
    assert network.dev_loss == pytest.approx(example_nats(MODEL, DATA.dev_words).mean())
    assert counted.dev_loss == pytest.approx(TRIGRAM.loss(DATA.dev_words))
    assert counted.dev_perplexity == pytest.approx(math.exp(TRIGRAM.loss(DATA.dev_words)))
    assert counted.dev_loss_unseen == pytest.approx(TRIGRAM.loss(("ella", "sam")))
    assert not network.fitted


def test_half_and_half_is_the_mean_of_the_probabilities() -> None:
    """Worked out character by character."""
    network = np.exp(-example_nats(MODEL, DATA.dev_words))
    counted = [
        TRIGRAM.probabilities(word[:at])[DATA.vocabulary.index((word + ".")[at])]
        for word in DATA.dev_words
        for at in range(len(word) + 1)
    ]
    expected = -np.log((network + np.array(counted)) / 2).mean()
    assert expected == pytest.approx(mix(MODEL, TRIGRAM, DATA, 0.5).dev_loss)


def test_a_fitted_weight_is_no_worse_than_any_other() -> None:
    """Than either model alone among them: mixing never hurts."""
    fitted = mix(MODEL, TRIGRAM, DATA)
    assert fitted.fitted
    assert 0 <= fitted.weight <= 1
    others = [mix(MODEL, TRIGRAM, DATA, weight).dev_loss for weight in np.linspace(0, 1, 11)]
    assert fitted.dev_loss <= min(others) + 1e-9


@given(st.lists(st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)), min_size=1, max_size=30))
def test_the_fit_finds_the_best_share(pairs: list[tuple[float, float]]) -> None:
    """Whatever the probabilities, against a fine grid."""
    first, second = np.array(pairs).T
    share = fitted_weight(first, second)
    grid = np.linspace(0, 1, 501)[:, None]
    losses = -np.log(grid * first + (1 - grid) * second).mean(1)
    assert -np.log(share * first + (1 - share) * second).mean() <= losses.min() + 1e-9


def test_any_order_goes_with_any_block_size() -> None:
    """The n-gram counts its own contexts, longer or shorter than the network's."""
    for order in (1, 2, 7):
        model = ngram.fit(DATA.train_words, DATA.vocabulary, order)
        assert ngram_nats(model, DATA.dev_words).mean() == pytest.approx(model.loss(DATA.dev_words))
        assert math.isfinite(mix(MODEL, model, DATA).dev_loss)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weights_out_of_range(weight: float) -> None:
    """Are refused, with what would be right."""
    with pytest.raises(ConfigError, match="is not from 0 to 1"):
        mix(MODEL, TRIGRAM, DATA, weight)


def test_perplexity_of_a_uniform_model() -> None:
    """The size of its alphabet."""
    assert pytest.approx(27) == perplexity(math.log(27))
