"""The analytic cost of a full trial."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.algorithms.costs import relative_cost, relative_costs

SIZES = ("embedding_size", "hidden_width", "block_size", "batch_size")
EXAMPLES, SYMBOLS = 338_000, 42  # of the recorded trials: 392 town names


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        (0.582, (14, 95, 2, 64)),
        (0.802, (10, 505, 5, 1024)),
        (1.583, (44, 103, 7, 64)),
        (1.994, (12, 596, 3, 64)),
        (2.635, (10, 593, 5, 32)),
        (2.713, (48, 1291, 8, 1024)),
        (23.089, (65, 2000, 6, 64)),
        (69.198, (119, 1672, 11, 32)),
    ],
)
def test_recorded_trials_took_what_they_cost(seconds: float, sizes: tuple[int, ...]) -> None:
    """Recorded trials of the default space, the cheap and the dear, are estimated to a third."""
    values = dict(zip(SIZES, sizes, strict=True)) | {"examples": EXAMPLES}
    assert 3 / 4 < relative_cost(values, SYMBOLS) / seconds < 4 / 3


@given(
    st.integers(1, 256), st.integers(1, 4096), st.integers(1, 16), st.integers(1, 2048),
    st.sampled_from(SIZES[:3]),
)  # fmt: skip
def test_a_larger_network_costs_more(
    embedding: int, width: int, block: int, batch: int, grown: str
) -> None:
    """Twice as large in any respect, a network costs as much or more; by at most eight times, where
    a batch of a longer block has more different contexts too."""
    values = dict(zip(SIZES, (embedding, width, block, batch), strict=True))
    ratio = relative_cost(values | {grown: 2 * values[grown]}) / relative_cost(values)
    assert 0.99 < ratio < 8


def test_small_batches_and_more_work_cost_more() -> None:
    """Each of these raises the cost of the same examples: small batches, dropout, smoothing, AdamW,
    direct connections, more symbols; twice the examples cost twice as much."""
    plain = {"dropout": 0.0, "smoothing": 0.0, "optimizer": "sgd", "batch_size": 256}
    cost = relative_cost(plain)
    dearer = ({"batch_size": 64}, {"dropout": 0.1}, {"smoothing": 0.1}, {"optimizer": "adamw"})
    assert all(relative_cost(plain | each) > cost for each in (*dearer, {"direct": True}))
    assert relative_cost(plain, symbols=100) > cost
    assert relative_cost(plain | {"examples": 3_000_000}) == pytest.approx(2 * cost)


def test_many_are_estimated_at_once() -> None:
    """Arrays of values, also of choices, give each configuration the cost that it has alone."""
    optimizers, widths = ["adamw", "sgd"], [64, 1024]
    alone = [
        relative_cost({"optimizer": optimizer, "hidden_width": width})
        for optimizer, width in zip(optimizers, widths, strict=True)
    ]
    columns = {"optimizer": np.array(optimizers), "hidden_width": np.array(widths)}
    assert alone == pytest.approx(relative_costs(columns).tolist())
