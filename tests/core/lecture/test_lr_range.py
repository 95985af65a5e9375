"""The learning-rate range test, and the losses of single batches that it rests on."""

from dataclasses import replace

import numpy as np
import pytest
from examples import lecture_corpus, toy_data

from makemore_core.config import LECTURE, TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.errors import ConfigError, Diverged
from makemore_core.lecture.batch_losses import batch_losses, running_mean, smooth_losses
from makemore_core.lecture.lr_range import VALLEY, lr_range
from makemore_core.training.trainer import train

SMALL = TrialConfig(hidden_width=16, batch_size=8, examples=8 * 40, evaluations=4, dropout=0.2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("features", "units"), [(10, 200), (2, 100)])
def test_the_lectures_network_on_names(features: int, units: int, seed: int) -> None:
    """Between 0.03 and 0.3; by eye the lecture chose 0.1 (part 2, 45:40)."""
    config = replace(LECTURE, embedding_size=features, hidden_width=units)
    found = lr_range(config, Dataset.from_corpus(lecture_corpus(), 42), seed)
    assert 0.03 < found.suggested < 0.3
    assert len(found.learning_rates) == len(found.losses) == len(found.smoothed) == 1000
    assert pytest.approx((1e-3, 1.0)) == (found.learning_rates[0], found.learning_rates[-1])


def test_the_rule() -> None:
    """The middle, in the exponent, of where the smoothed loss is within VALLEY of its lowest."""
    found = lr_range(SMALL, toy_data(), 1, low=1e-2, high=10, steps=200)
    low = np.flatnonzero(found.smoothed <= found.smoothed.min() + VALLEY)
    first, last = found.valley
    assert first in found.learning_rates[low]
    assert last in found.learning_rates[low]
    assert first <= found.learning_rates[found.smoothed.argmin()] <= last
    assert found.suggested == pytest.approx((first * last) ** 0.5)


def test_the_configurations_own_rate_plays_no_part() -> None:
    """Nor do its schedule and its length; the same seed gives the same bits."""
    one = lr_range(SMALL, toy_data(), 1, steps=50)
    two = lr_range(
        replace(SMALL, learning_rate=3.0, schedule="cosine", warmup=0.5, examples=8),
        toy_data(), 1, steps=50,
    )  # fmt: skip
    assert one.losses.tolist() == two.losses.tolist()
    assert one.losses.tolist() != lr_range(SMALL, toy_data(), 2, steps=50).losses.tolist()


def test_a_run_that_diverges_ends_there() -> None:
    """Its arrays are shorter; one that diverges at once suggests nothing."""
    found = lr_range(SMALL, toy_data(), 1, low=1e-3, high=1e38, steps=100)
    assert 20 <= len(found.losses) < 100
    assert np.isfinite(found.losses).all()
    assert found.suggested < 1e3
    with pytest.raises(Diverged, match="not finite at a learning rate of"):
        lr_range(SMALL, toy_data(), 1, low=1e36, high=1e38)


@pytest.mark.parametrize("wrong", [{"low": 0.0}, {"low": 1.0, "high": 1.0}, {"steps": 19}])
def test_what_makes_no_range(wrong: dict[str, float]) -> None:
    """Is refused, with what would be right."""
    with pytest.raises(ConfigError, match="give"):
        lr_range(SMALL, toy_data(), 1, **wrong)  # type: ignore[arg-type]


def test_batch_losses_are_those_of_a_trial() -> None:
    """Their means between evaluations are what a trial with this seed records."""
    losses = batch_losses(SMALL, toy_data(), 7)
    recorded = [each.train_loss for each in train(SMALL, toy_data(), 7).curve]
    assert running_mean(losses, 10) == pytest.approx(recorded)


def test_smoothing() -> None:
    """A constant stays itself, ends included; weights fall off to both sides."""
    assert smooth_losses(np.ones(30), 5) == pytest.approx(np.ones(30))
    spike = smooth_losses(np.eye(1, 21, 10)[0], 3)
    assert 10 == spike.argmax()
    assert 0.0 == spike[13:].sum()
    assert spike == pytest.approx(spike[::-1])
