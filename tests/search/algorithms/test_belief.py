"""The belief in configurations that are like those that a study begins with."""

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from search.algorithms.belief import ELSEWHERE, TRIALS, Belief
from search.algorithms.coordinates import Coordinates

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(0.001, 0.1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "schedule": CategoricalDistribution(("cosine", "linear")),
}
FIRST = {"rate": 0.003, "dropout": 0.1, "schedule": "cosine"}
SECOND = {"rate": 0.03, "dropout": 0.4, "schedule": "cosine"}


def belief_in(*configurations: dict[str, object], ended: int = 0) -> list[float]:
    coordinates = Coordinates(SPACE)
    belief = Belief(coordinates, [FIRST, SECOND])
    return belief(coordinates.points(configurations), ended).tolist()


def test_what_is_known_is_believed_most() -> None:
    """Nothing is better than a known configuration, and far from all each value counts against."""
    far = {"rate": 0.0001 * 1000, "dropout": 0.0, "schedule": "linear"}
    known, near, other = belief_in(FIRST, FIRST | {"dropout": 0.13}, far)
    assert known == pytest.approx(0.0, abs=0.05)
    assert known > near > other
    assert -3 * np.log(1 / ELSEWHERE) <= other < -2


def test_each_hyperparameter_counts_by_itself() -> None:
    """The dropout of one known configuration goes with the rate of another."""
    mixed = {"rate": 0.003, "dropout": 0.4, "schedule": "cosine"}
    assert belief_in(FIRST) == pytest.approx(belief_in(mixed), abs=0.05)


def test_it_counts_less_with_each_trial() -> None:
    """After TRIALS of them half, and in the end hardly at all."""
    wrong = FIRST | {"schedule": "linear"}
    (now,), (later,), (late,) = (belief_in(wrong, ended=n) for n in (0, TRIALS, 10_000))
    assert now == pytest.approx(np.log(ELSEWHERE), abs=0.05)
    assert later == pytest.approx(now / 2)
    assert abs(late) < 0.01


def test_nothing_known_is_no_belief() -> None:
    """Nor is a configuration that leaves out a hyperparameter, or one that others do not search."""
    coordinates = Coordinates(SPACE)
    points = coordinates.sample(np.random.default_rng(0), 5)
    for known in ([], [{"rate": 0.01}]):
        assert [0.0] * 5 == Belief(coordinates, known)(points, 0).tolist()
    extra = Belief(coordinates, [FIRST | {"optimizer": "adamw"}])
    assert (extra(points, 0) == Belief(coordinates, [FIRST])(points, 0)).all()
