"""Where good configurations are believed to lie, from those that a study begins with.

The configurations of an opening were good elsewhere, so each says of every hyperparameter by itself
where good values lie. The belief is a factor of the acquisition, whose weight falls with each trial
that has ended (Hvarfner et al., "piBO: Augmenting Acquisition Functions with User Beliefs for
Bayesian Optimization", ICLR 2022). Without it, a model of ten hyperparameters and few results asks
for what it knows least: values at the ends of their ranges.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.algorithms.coordinates import Coordinates

Floats = NDArray[np.float64]

WIDTH = 0.15
"""Standard deviation of a kernel around a known value, as a fraction of its range."""
ELSEWHERE = 0.1
"""The belief in a value far from all known ones, relative to the best."""
TRIALS = 20
"""After so many trials the belief counts half."""


class Belief:
    """The logarithm of a belief in points of a space.

    Args:
        known: configurations; one without a value for each hyperparameter says nothing.
    """

    def __init__(self, coordinates: Coordinates, known: Sequence[Mapping[str, Any]]) -> None:
        names = set(coordinates.names)
        points = coordinates.points([each for each in known if names <= each.keys()])
        groups = np.array(coordinates.groups, dtype=np.intp)
        self._of_each: list[tuple[NDArray[np.intp], Floats, float]] = []
        """Of each hyperparameter: its coordinates, the known values, the highest density."""
        for group in np.unique(groups) if len(points) else ():
            columns = np.flatnonzero(groups == group)
            values = points[:, columns]
            self._of_each.append((columns, values, float(_density(values, values).max())))

    def __call__(self, points: Floats, ended: int) -> Floats:
        """Returns the logarithms (n,), 0 or less, for points (n, d) after so many trials."""
        total = np.zeros(len(points))
        for columns, values, highest in self._of_each:
            likely = np.minimum(_density(points[:, columns], values) / highest, 1.0)
            total += np.log(ELSEWHERE + (1.0 - ELSEWHERE) * likely)
        return total * (TRIALS / (TRIALS + ended))


def _density(points: Floats, known: Floats) -> Floats:
    """The sum (n,) of kernels around known points (k, d), at points (n, d)."""
    distances = np.square(points[:, None, :] - known[None, :, :]).sum(axis=2)
    return np.asarray(np.exp(-distances / (2.0 * WIDTH**2)).sum(axis=1))
