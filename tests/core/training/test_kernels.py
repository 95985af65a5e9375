"""The compiled kernels on their own: accuracy, special values, and where they are kept."""

import numpy as np
import pytest

from makemore_core.config import TrialConfig
from makemore_core.training import kernels
from makemore_core.training.parameter_layout import ParameterLayout

ALL = (-30.0, 30.0)


@pytest.mark.parametrize(
    ("name", "low", "high", "ulps"), [("tanh", *ALL, 4), ("exp", -86.0, 0.0, 3)]
)
def test_functions_are_within_a_few_units_in_the_last_place(
    name: str, low: float, high: float, ulps: float
) -> None:
    """Over their whole range, against numpy in float64."""
    x = np.linspace(low, high, 20_001, dtype=np.float32)
    x[10_000 if name == "tanh" else 20_000] = 0.0
    found = np.array([getattr(kernels, name)(each) for each in x], np.float64)
    expected = getattr(np, name)(x.astype(np.float64))
    assert np.all(np.abs(found - expected) <= ulps * 2.0**-23 * np.abs(expected))
    assert np.abs(found).max() <= 1.0


def test_special_values() -> None:
    """NaN stays NaN, so that a run that diverged is found; infinity saturates."""
    one = np.float32
    assert np.isnan(kernels.tanh(one("nan")))
    assert np.isnan(kernels.exp(one("nan")))
    assert pytest.approx(1.0) == kernels.tanh(one("inf"))
    assert pytest.approx(-1.0) == kernels.tanh(one("-inf"))
    assert 0 <= kernels.exp(one("-inf")) < 1e-37


@pytest.mark.parametrize(
    ("rows", "symbols", "pays"),
    [(28, 27, False), (181, 27, True), (670, 27, True), (60, 3000, False)],
)
def test_folding_is_chosen_by_shape(rows: float, symbols: int, pays: bool) -> None:
    """Folded from medium batches on; plain for tiny ones and for alphabets larger than a batch."""
    layout = ParameterLayout(TrialConfig(block_size=8, embedding_size=24), symbols)
    assert layout.prefers_folded(rows, 3.0) is pays


def test_a_table_too_large_for_memory_is_never_made() -> None:
    """A large alphabet with wide layers and long blocks goes the plain way."""
    config = TrialConfig(block_size=64, hidden_width=4096)
    assert not ParameterLayout(config, 3000).prefers_folded(1e6, 3.0)
