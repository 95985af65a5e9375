"""Candidates: the points of a space that an acquisition is asked about.

All lie on configurations that the space holds, so that none is scored better than it is. Some lie
anywhere, some near the best results, and then, round by round, some near the best scores.
"""

from collections.abc import Callable, Iterable, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.algorithms.coordinates import Coordinates
from search.algorithms.trial_records import SearchedSpace

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]

N_ANYWHERE, N_NEAR, N_REFINED, N_ROUNDS = 256, 128, 48, 3
"""Points: anywhere, near the best results, and in each round near the best scores."""
N_CENTERS = 4
"""The best results, or scores, that points are drawn near."""
CHANGED, FRESH = 0.3, 0.2
"""The probability that a point differs from its center in a hyperparameter, and that the value is
drawn from the whole range then."""
STEPS = (0.02, 0.4)
"""Standard deviations of other differences, log-uniform, as fractions of a range."""


def ranked(space: SearchedSpace, score: Score, best: Floats, rng: np.random.Generator) -> Floats:
    """Returns points (n, d) of configurations, by their scores, the highest first.

    Args:
        best: (m, d), the points of the trials so far, the best first.
    """
    coordinates = space.coordinates
    if space.grid is not None:
        return space.grid[np.argsort(-score(space.grid), kind="stable")]
    points = coordinates.sample(rng, N_ANYWHERE)
    points = np.concatenate([points, near(coordinates, best[:N_CENTERS], N_NEAR, rng)])
    scores = score(points)
    for _ in range(N_ROUNDS):
        centers = points[np.argsort(-scores, kind="stable")[:N_CENTERS]]
        more = near(coordinates, centers, N_REFINED, rng)
        points = np.concatenate([points, more])
        scores = np.concatenate([scores, score(more)])
    return points[np.argsort(-scores, kind="stable")]


def near(coordinates: Coordinates, centers: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draws points (count, d) of configurations that differ from one of the centers (m, d)."""
    groups = np.array(coordinates.groups, dtype=np.intp)
    n_groups = max(groups, default=-1) + 1
    center = centers[rng.integers(len(centers), size=count)]
    anywhere = coordinates.sample(rng, count)
    changed = rng.random((count, n_groups)) < CHANGED
    if n_groups:
        changed[np.arange(count), rng.integers(n_groups, size=count)] = True
    fresh = rng.random((count, n_groups))[:, groups] < FRESH
    fresh |= np.array([kind == "choice" for kind in coordinates.kinds], dtype=bool)
    smallest, largest = STEPS
    steps = smallest * (largest / smallest) ** rng.random((count, 1))
    moved = center + steps * rng.standard_normal(center.shape)
    points = np.where(changed[:, groups], np.where(fresh, anywhere, moved), center)
    return coordinates.snap(points)


def cheapest_first(space: SearchedSpace, count: int, rng: np.random.Generator) -> Floats:
    """Draws the points (count, d) of configurations, and orders them by their costs."""
    points = space.coordinates.sample(rng, count)
    return points[np.argsort(space.costs(points), kind="stable")]


def first_untried(
    space: SearchedSpace,
    points: Iterable[Floats],
    tried: Set[str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Returns the first of the configurations at `points` that was not tried before.

    If all were, it is any other one; if there is no other, a random one.
    """
    for point in points:
        values = space.coordinates.values(point)
        if space.key_of(values) not in tried:
            return values
    for values in space.configurations():
        if space.key_of(values) not in tried:
            return values
    return space.coordinates.values(space.coordinates.sample(rng, 1)[0])
