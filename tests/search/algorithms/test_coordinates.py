"""Coordinates: every configuration is a point, and every point leads to a configuration."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.algorithms.coordinates import Coordinates

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def ranges(draw: st.DrawFn) -> BaseDistribution:
    """A range of numbers: whole or not, logarithmic or not, with or without steps."""
    log, whole = draw(st.booleans()), draw(st.booleans())
    low, span = draw(st.integers(1 if log else -50, 50)), draw(st.integers(0, 3000))
    step = None if log else draw(st.none() | st.integers(1, 7))
    high = low + (span // step * step if step else span)
    if whole:
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


NUMBERS = st.integers(-2000, 2000) | st.floats(-1e6, 1e6)
CHOICES = st.none() | st.booleans() | NUMBERS | st.text(max_size=3)
LISTS = st.lists(NUMBERS, min_size=1, max_size=6, unique=True) | st.lists(
    CHOICES, min_size=1, max_size=6, unique=True
)
SPACES = st.dictionaries(
    st.sampled_from("abcdef"), ranges() | LISTS.map(CategoricalDistribution), max_size=6
)


@given(SPACES, SEEDS)
def test_a_point_leads_back_to_its_configuration(
    space: dict[str, BaseDistribution], seed: int
) -> None:
    """What is sampled lies in the space, and its point is that of its configuration."""
    coordinates = Coordinates(space)
    for point in coordinates.sample(np.random.default_rng(seed), 4):
        values = coordinates.values(point)
        assert list(space) == list(values)
        columns = coordinates.columns(point[None])
        assert values == {name: column[0] for name, column in columns.items()}
        for name, distribution in space.items():
            assert distribution._contains(distribution.to_internal_repr(values[name]))
        np.testing.assert_allclose(point, coordinates.point(values), rtol=0, atol=1e-9)


@given(SPACES, SEEDS)
def test_any_point_is_snapped_to_the_configuration_that_it_leads_to(
    space: dict[str, BaseDistribution], seed: int
) -> None:
    """Snapping beforehand changes no configuration, and snaps a second time to the same."""
    coordinates = Coordinates(space)
    anywhere = np.random.default_rng(seed).uniform(-0.2, 1.2, (4, len(coordinates.names)))
    snapped = coordinates.snap(anywhere)
    expected = coordinates.points([coordinates.values(point) for point in anywhere])
    np.testing.assert_allclose(expected, snapped, rtol=0, atol=1e-9)
    np.testing.assert_allclose(snapped, coordinates.snap(snapped), rtol=0, atol=1e-9)


def test_a_list_of_numbers_is_one_ordered_coordinate() -> None:
    """Batch sizes lie evenly, by their logarithms, whatever their order in the list; a list of near
    numbers lies by their values; numbers among other things, and booleans, have no order."""
    coordinates = Coordinates(
        {
            "batch": CategoricalDistribution((1024, 32, 64, 128, 256, 512)),
            "near": CategoricalDistribution((1, 2, 3)),
            "mixed": CategoricalDistribution((1, "two")),
            "flag": CategoricalDistribution((False, True)),
            "fixed": CategoricalDistribution(("only",)),
        }
    )
    assert ("batch", "near", "mixed", "mixed", "flag", "flag") == coordinates.names
    assert ("ordered",) * 2 + ("choice",) * 4 == coordinates.kinds
    rest: dict[str, Any] = {"mixed": "two", "flag": True, "fixed": "only"}
    at = coordinates.points(
        [{"batch": 32 * 2**k, "near": 1 + k % 3} | rest for k in range(6)],
    )
    np.testing.assert_allclose(np.arange(6) / 5, at[:, 0])
    np.testing.assert_allclose([0.0, 0.5, 1.0], at[:3, 1])


def test_two_choices_are_equally_far_apart() -> None:
    """The distance between any two of three choices is 1."""
    coordinates = Coordinates({"x": CategoricalDistribution(("a", "b", "c"))})
    at = coordinates.points([{"x": "a"}, {"x": "b"}, {"x": "c"}])
    distances = np.linalg.norm(at[:, None] - at[None, :], axis=2)
    np.testing.assert_allclose(1.0 - np.eye(3), distances, atol=1e-12)


@given(SEEDS)
def test_samples_cover_a_space_evenly(seed: int) -> None:
    """Each choice, each number of a list and each whole number gets about its share of samples."""
    coordinates = Coordinates(
        {
            "choice": CategoricalDistribution(("a", "b", "c", "d")),
            "ordered": CategoricalDistribution((1, 10, 1000, 1001)),
            "whole": IntDistribution(1, 4),
        }
    )
    points = coordinates.sample(np.random.default_rng(seed), 400)
    values = [coordinates.values(point) for point in points]
    for name in coordinates.distributions:
        counts = [[each[name] for each in values].count(it) for it in {v[name] for v in values}]
        assert 4 == len(counts) and all(50 <= count <= 160 for count in counts)
