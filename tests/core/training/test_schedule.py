"""The learning rate as a function of progress."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.training.schedule import learning_rate_at

SCHEDULES = ["constant", "step", "linear", "cosine", "inverse"]


@given(
    schedule=st.sampled_from(SCHEDULES),
    factor=st.floats(0.01, 1),
    warmup=st.floats(0, 0.5),
    at=st.floats(0.5, 1),
    progress=st.floats(0, 1),
)
def test_it_stays_between_its_last_share_and_its_peak(
    schedule: str, factor: float, warmup: float, at: float, progress: float
) -> None:
    """Below the peak in the warm-up, then within [step_factor, 1] of it, never rising."""
    config = TrialConfig(
        learning_rate=2.0, schedule=schedule, step_factor=factor, warmup=warmup, step_at=at
    )
    rate = learning_rate_at(config, progress)
    if progress < warmup:
        assert rate == pytest.approx(2.0 * progress / warmup)
    else:
        assert 2.0 * factor * (1 - 1e-9) <= rate <= 2.0 * (1 + 1e-9)
        assert learning_rate_at(config, min(1.0, progress + 0.01)) <= rate * (1 + 1e-9)


@pytest.mark.parametrize(
    ("schedule", "quarter", "half", "end"),
    [
        ("constant", 1.0, 1.0, 1.0),
        ("step", 1.0, 0.1, 0.1),
        ("linear", 0.775, 0.55, 0.1),
        ("cosine", 0.8682, 0.55, 0.1),
        ("inverse", 1 / 3.25, 1 / 5.5, 0.1),
    ],
)
def test_values(schedule: str, quarter: float, half: float, end: float) -> None:
    """Shares of the peak at a quarter, at half and at the end, for a last share of a tenth."""
    config = TrialConfig(learning_rate=1.0, schedule=schedule, step_factor=0.1)
    found = [learning_rate_at(config, progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([1.0, quarter, half, end], abs=1e-4)


def test_the_lecture_steps_from_step_100_000_on() -> None:
    """Of 200,000 steps the first 100,000 are at 0.1, the others at 0.01."""
    config = TrialConfig(examples=200_000 * 32)
    rates = [learning_rate_at(config, (step + 0.5) / 200_000) for step in (99_999, 100_000)]
    assert pytest.approx([0.1, 0.01]) == rates
