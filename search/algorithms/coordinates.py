"""Coordinates: the values of a search space as points of the unit cube, for models.

Good values should lie close together, so a number is one coordinate, linear or logarithmic as its
range is; so is a list of numbers, which Optuna knows as a category without order. Only a choice
among other things has one coordinate for each of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Floats = NDArray[np.float64]
_Scale = Callable[[Any], Any]

LOG_RATIO = 4.0
"""A list of positive numbers is logarithmic if its largest is so many times its smallest."""
CHOICE = math.sqrt(0.5)
"""The coordinate of the choice that is taken: two choices lie a distance of 1 apart."""


class _Axis(Protocol):
    """One hyperparameter: `width` neighbouring coordinates, of which `kind` tells the meaning."""

    kind: str
    width: int

    def encode(self, value: Any) -> Sequence[float]:
        """Returns the coordinates of a value."""

    def decode(self, at: Floats) -> Any:
        """Returns the value nearest to coordinates (width,)."""

    def column(self, at: Floats) -> NDArray[Any]:
        """Returns the values (n,) nearest to coordinates (n, width)."""

    def snap(self, at: Floats) -> Floats:
        """Returns the coordinates (n, width) of the values nearest to `at` (n, width)."""

    def spread(self, fractions: Floats) -> Floats:
        """Returns the coordinates (n, width) at fractions (n,), evenly if those are uniform."""


class Coordinates:
    """The points of a search space.

    A hyperparameter with a single value has no coordinates. Each other one is

    - `number`: a range, in [0, 1]. Whole numbers and steps are the middles of cells of their range,
      so that each has the share of the range that it has when it is sampled;
    - `ordered`: a list of numbers, in [0, 1], by their values or the logarithms of these;
    - `choice`: a list of other things, one coordinate for each, one of them above 0.

    Attributes:
        distributions: the search space.
        names: the hyperparameter that each coordinate belongs to.
        kinds: the kind of each coordinate.
        groups: for each coordinate the number of its hyperparameter, of those with coordinates.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.distributions = dict(distributions)
        self._axes = {
            name: _axis_of(distribution)
            for name, distribution in self.distributions.items()
            if not distribution.single()
        }
        self._slices: dict[str, slice] = {}
        start = 0
        for name, axis in self._axes.items():
            self._slices[name] = slice(start, start + axis.width)
            start += axis.width
        self.names = tuple(name for name, axis in self._axes.items() for _ in range(axis.width))
        self.kinds = tuple(axis.kind for axis in self._axes.values() for _ in range(axis.width))
        widths = [axis.width for axis in self._axes.values()]
        self.groups = tuple(np.repeat(range(len(widths)), widths).tolist())

    def point(self, values: Mapping[str, Any]) -> Floats:
        """Returns the point (d,) of a configuration, which may have more values than the space."""
        at: list[float] = []
        for name, axis in self._axes.items():
            at.extend(axis.encode(values[name]))
        return np.array(at, dtype=np.float64)

    def points(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the points (n, d) of configurations."""
        at = [self.point(values) for values in configurations]
        return np.array(at, dtype=np.float64).reshape(len(at), len(self.names))

    def values(self, point: Floats) -> dict[str, Any]:
        """Returns the configuration nearest to a point (d,)."""
        values = {}
        for name, distribution in self.distributions.items():
            if name in self._axes:
                values[name] = self._axes[name].decode(point[self._slices[name]])
            else:
                values[name] = _single_value(distribution)
        return values

    def columns(self, points: Floats) -> dict[str, NDArray[Any]]:
        """Returns for each hyperparameter its values (n,) in the configurations nearest to points
        (n, d)."""
        columns = {}
        for name, distribution in self.distributions.items():
            if name in self._axes:
                columns[name] = self._axes[name].column(points[:, self._slices[name]])
            else:
                columns[name] = np.full(len(points), _single_value(distribution))
        return columns

    def snap(self, points: Floats) -> Floats:
        """Returns for each of the points (n, d) that of the nearest configuration."""
        at = np.empty_like(points)
        for name, axis in self._axes.items():
            at[:, self._slices[name]] = axis.snap(points[:, self._slices[name]])
        return at

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """Draws the points (count, d) of configurations, independently and uniformly."""
        return self.spread(rng.random((count, len(self._axes))))

    def spread(self, fractions: Floats) -> Floats:
        """Returns the points (n, d) of configurations at points (n, hyperparameters) of a cube.

        The cube has one dimension for each hyperparameter with more than one value; uniform or
        quasi-random fractions give evenly spread configurations.
        """
        at = np.empty((len(fractions), len(self.names)))
        for (name, axis), column in zip(self._axes.items(), fractions.T, strict=True):
            at[:, self._slices[name]] = axis.spread(column)
        return at


def _axis_of(distribution: BaseDistribution) -> _Axis:
    if not isinstance(distribution, CategoricalDistribution):
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        return _Number(distribution)
    if all(_is_number(choice) for choice in distribution.choices):
        return _Ordered(distribution)
    return _Choice(distribution)


def _is_number(choice: Any) -> bool:
    is_real = isinstance(choice, int | float) and not isinstance(choice, bool)
    return is_real and math.isfinite(choice)


def _single_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low


class _Number:
    """A range of numbers; with a step, each number is the middle of a cell of that width."""

    kind, width = "number", 1

    def __init__(self, distribution: IntDistribution | FloatDistribution) -> None:
        self._range, self._step = distribution, distribution.step
        self._bend: _Scale = np.log if distribution.log else _same
        self._unbend: _Scale = np.exp if distribution.log else _same
        half = 0.5 * (self._step or 0.0)
        self._start = float(self._bend(distribution.low - half))
        self._span = float(self._bend(distribution.high + half)) - self._start

    def encode(self, value: Any) -> Sequence[float]:
        at = (float(self._bend(float(value))) - self._start) / self._span
        return [min(max(at, 0.0), 1.0)]

    def decode(self, at: Floats) -> Any:
        value = float(self._nearest(at)[0])
        return round(value) if isinstance(self._range, IntDistribution) else value

    def column(self, at: Floats) -> NDArray[Any]:
        return self._nearest(at)[:, 0]

    def snap(self, at: Floats) -> Floats:
        if not self._step:
            return at.clip(0.0, 1.0)
        return np.asarray((self._bend(self._nearest(at)) - self._start) / self._span)

    def spread(self, fractions: Floats) -> Floats:
        return self.snap(fractions[:, None])

    def _nearest(self, at: Floats) -> Floats:
        value = self._unbend(self._start + at.clip(0.0, 1.0) * self._span)
        low, high = self._range.low, self._range.high
        if self._step:
            value = low + self._step * np.round((value - low) / self._step)
        return np.asarray(np.clip(value, low, high), dtype=np.float64)


def _same(value: Any) -> Any:
    return value


class _Ordered:
    """A list of numbers, in the order of their values."""

    kind, width = "ordered", 1

    def __init__(self, distribution: CategoricalDistribution) -> None:
        self._distribution = distribution
        numbers = np.array(distribution.choices, dtype=np.float64)
        low, high = float(numbers.min()), float(numbers.max())
        if low > 0.0 and high / low >= LOG_RATIO:
            numbers, low, high = np.log(numbers), math.log(low), math.log(high)
        self._at = (numbers - low) / ((high - low) or 1.0)  # in the order of the choices

    def encode(self, value: Any) -> Sequence[float]:
        return [float(self._at[int(self._distribution.to_internal_repr(value))])]

    def decode(self, at: Floats) -> Any:
        return self._distribution.choices[int(np.abs(self._at - at[0]).argmin())]

    def column(self, at: Floats) -> NDArray[Any]:
        nearest = np.abs(self._at[None, :] - at).argmin(axis=1)
        return np.asarray(np.array(self._distribution.choices)[nearest])

    def snap(self, at: Floats) -> Floats:
        nearest = np.abs(self._at[None, :] - at).argmin(axis=1)
        return np.asarray(self._at[nearest][:, None])

    def spread(self, fractions: Floats) -> Floats:
        return np.asarray(self._at[_index_at(fractions, len(self._at))][:, None])


class _Choice:
    """A list of things without order."""

    kind = "choice"

    def __init__(self, distribution: CategoricalDistribution) -> None:
        self._distribution = distribution
        self.width = len(distribution.choices)

    def encode(self, value: Any) -> Sequence[float]:
        at = [0.0] * self.width
        at[int(self._distribution.to_internal_repr(value))] = CHOICE
        return at

    def decode(self, at: Floats) -> Any:
        return self._distribution.choices[int(at.argmax())]

    def column(self, at: Floats) -> NDArray[Any]:
        choices = np.empty(self.width, dtype=object)
        choices[:] = self._distribution.choices
        return np.asarray(choices[at.argmax(axis=1)])

    def snap(self, at: Floats) -> Floats:
        return self._one_hot(at.argmax(axis=1))

    def spread(self, fractions: Floats) -> Floats:
        return self._one_hot(_index_at(fractions, self.width))

    def _one_hot(self, taken: NDArray[np.intp]) -> Floats:
        at = np.zeros((len(taken), self.width))
        at[np.arange(len(taken)), taken] = CHOICE
        return at


def _index_at(fractions: Floats, count: int) -> NDArray[np.intp]:
    return np.minimum((fractions * count).astype(np.intp), count - 1)
