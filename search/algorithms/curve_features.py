"""Features of a trial under way, from which the end of its curve is predicted.

A number is measured on the range that the recorded curves were drawn from, whatever range a study
searches, so that a coefficient means the same in every study. A hyperparameter that was not
recorded is measured on the study's own range.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from search.algorithms.coordinates import CHOICE, Coordinates

Floats = NDArray[np.float64]

INTERCEPT = "1"
LEVEL, SINCE_HALF, ABOVE_LOWEST = CURVE = ("level", "since half", "above lowest")
"""The lowest loss so far; how much higher it was at half of the evaluations so far; how much
higher the last loss is."""
SCHEDULE = "schedule"
WITH_SCHEDULE = (LEVEL, "relative_learning_rate", "batch_size")
"""Features that mean something else under each schedule: what the noise of the steps still hides
at a high learning rate comes off when the rate falls."""
MAX_LOSS = 1e3
"""Losses above, and those that are not finite, count as so much."""
MAX_COORDINATE = 3.0
"""How far beyond -1 to 1 a coordinate may lie, where a study searches more than was recorded."""

Ranges = Mapping[str, tuple[float, float, bool]]
"""(low, high, whether logarithmic) of each recorded number."""


def filled(reports: Mapping[int, float], steps: Sequence[int]) -> Floats:
    """Returns the losses (evaluations,) of a trial.

    An evaluation without a report, where steps are few, has the loss of the one before it; all
    after the last report have that of the last.

    Args:
        reports: losses by step.
        steps: that of each evaluation.
    """
    losses = np.array([reports.get(step, math.nan) for step in steps], dtype=np.float64)
    missing = np.isnan(losses)
    if missing.any():
        known = np.flatnonzero(~missing)
        if not len(known):
            return np.full(len(steps), MAX_LOSS)
        before = np.searchsorted(known, np.arange(len(steps)), side="right") - 1
        losses = losses[known[np.maximum(before, 0)]]
    return np.minimum(losses, MAX_LOSS)


def of_curves(curves: Floats) -> Floats:
    """Returns CURVE (n, 3) of the losses (n, k) so far, which are in the units of the model."""
    lowest = np.minimum.accumulate(curves, axis=1)
    now, half = lowest[:, -1], lowest[:, (curves.shape[1] + 1) // 2 - 1]
    return np.column_stack([now, half - now, curves[:, -1] - now])


class ConfigurationFeatures:
    """The features of the configurations of a search space, beside those of curves.

    A number has itself and its square, a choice one feature for each value.

    Attributes:
        names: of the features that `of` returns.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], ranges: Ranges) -> None:
        self._distributions = {
            name: each for name, each in distributions.items() if not each.single()
        }
        self._ranges = ranges
        self._own = {
            name: Coordinates({name: each})
            for name, each in self._distributions.items()
            if name not in ranges
        }
        self.names = tuple(
            feature
            for name, each in self._distributions.items()
            for feature in self._names_of(name, each)
        )

    def of(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the features (n, d) of configurations."""
        columns = [
            column
            for name in self._distributions
            for column in self._columns_of(name, [values[name] for values in configurations])
        ]
        return np.array(columns, dtype=np.float64).reshape(len(columns), len(configurations)).T

    def _names_of(self, name: str, distribution: BaseDistribution) -> list[str]:
        if name in self._ranges or self._own[name].kinds[0] != "choice":
            return [name, squared(name)]
        assert isinstance(distribution, CategoricalDistribution)
        return [f"{name}={choice}" for choice in distribution.choices]

    def _columns_of(self, name: str, values: Sequence[Any]) -> list[Floats]:
        """The features, each (n,), of a hyperparameter's values."""
        if name not in self._ranges:
            own = self._own[name]
            points = own.points([{name: value} for value in values])
            if own.kinds[0] == "choice":
                return list(points.T / CHOICE)
            return _with_square(2.0 * points[:, 0] - 1.0)
        low, high, is_log = self._ranges[name]
        at = np.array(values, dtype=np.float64)
        if is_log:
            at, low, high = np.log(at), math.log(low), math.log(high)
        at = 2.0 * (at - low) / (high - low) - 1.0
        return _with_square(at.clip(-MAX_COORDINATE, MAX_COORDINATE))


def squared(name: str) -> str:
    """Returns the name of the square of a feature."""
    return f"{name}^2"


def _with_square(at: Floats) -> list[Floats]:
    return [at, at * at - 1.0 / 3.0]  # of mean 0 where it is uniform


def joined(
    names: Sequence[str], configurations: Floats, curves: Floats
) -> tuple[list[str], Floats]:
    """Returns the names of all features, and the features (n, D): an intercept, those of curves
    and configurations, and the products of WITH_SCHEDULE with each schedule.

    Args:
        names: of the features of configurations.
        configurations: (n, d), their features.
        curves: (n, 3), as `of_curves` returns them.
    """
    all_names = [INTERCEPT, *CURVE, *names]
    columns = np.hstack([np.ones((len(curves), 1)), curves, configurations])
    schedules = [name for name in names if name.startswith(f"{SCHEDULE}=")]
    for schedule in schedules:
        for other in WITH_SCHEDULE:
            if other in all_names:
                first, second = all_names.index(schedule), all_names.index(other)
                columns = np.column_stack([columns, columns[:, first] * columns[:, second]])
                all_names.append(f"{schedule}*{other}")
    return all_names, columns
