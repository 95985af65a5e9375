"""What is worth trying next: the expected improvement under a Gaussian process.

Trials under way count as if they had ended as predicted (Ginsbourger, Le Riche and Carraro,
"Kriging is well-suited to parallelize optimization", 2010): near them little is left to learn.
Losses far above the median say only "bad": they are clipped, so that divergence and outliers do no
harm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

from search.algorithms.gaussian_process import GaussianProcess, Priors, fit

Floats = NDArray[np.float64]

CLIP = 2.0
"""Losses are clipped where they are above the median by so many times its distance to the best."""
MAX_LOSS = 1e100
"""Losses beyond it count as infinite, so that their squares stay finite."""
MAX_FITTED = 64
"""The kernel's parameters are fitted to at most so many observations: a matter of milliseconds."""


@dataclass(frozen=True)
class Observations:
    """Losses at points of the unit cube.

    Attributes:
        points: (n, d).
        losses: (n,); one that is not finite is as bad as any.
        variances: (n,), of the losses, beside the noise that the model learns.
    """

    points: Floats
    losses: Floats
    variances: Floats


class Acquisition:
    """Scores points by the logarithm of the expected improvement on the lowest loss.

    Args:
        observed: at least one.
        lowest: the loss to improve on.
        pending: (m, d), the points of trials under way.
        groups: the hyperparameter that each coordinate belongs to.

    Raises:
        numpy.linalg.LinAlgError: the points' covariance is singular in spite of noise.
    """

    def __init__(
        self,
        observed: Observations,
        lowest: float,
        pending: Floats,
        groups: Sequence[int],
        priors: Priors | None = None,
    ) -> None:
        points = observed.points
        targets, mean, deviation = standardise(observed.losses)
        extra = observed.variances / deviation**2
        some = _fitted(targets)
        parameters = fit(points[some], targets[some], extra[some], groups, priors)
        process = GaussianProcess(points, targets, extra, groups, parameters)
        if len(pending):
            believed, _ = process.predict(pending)
            points = np.concatenate([points, pending])
            targets = np.concatenate([targets, believed])
            extra = np.concatenate([extra, np.zeros(len(pending))])
            process = GaussianProcess(points, targets, extra, groups, parameters)
        self._process, self._best = process, (lowest - mean) / deviation

    def __call__(self, points: Floats) -> Floats:
        """Returns the scores (m,) of points (m, d)."""
        mean, variance = self._process.predict(points)
        return log_expected_improvement(mean, variance, self._best)


def standardise(losses: Floats) -> tuple[Floats, float, float]:
    """Returns clipped losses with mean 0 and deviation 1, and their mean and deviation before.

    >>> targets, _, _ = standardise(np.array([2.0, 2.1, 2.2, 2.3, np.inf]))
    >>> round((targets[-1] - targets[0]) / (targets[1] - targets[0]))  # at 2.6
    6
    """
    usable = np.abs(losses) < MAX_LOSS  # false for NaN
    if not usable.any():
        return np.zeros(len(losses)), 0.0, 1.0
    known = np.where(usable, losses, np.inf)
    best, median = float(known.min()), float(np.median(known))
    if not math.isfinite(median):
        median = float(np.median(losses[usable]))
    clipped = np.minimum(known, median + CLIP * (median - best))
    mean, deviation = float(clipped.mean()), float(clipped.std()) or 1.0
    return (clipped - mean) / deviation, mean, deviation


def lowest_of(losses: Floats) -> float:
    """Returns the lowest usable loss; infinity without any."""
    return float(losses[np.abs(losses) < MAX_LOSS].min(initial=np.inf))


def _fitted(targets: Floats) -> NDArray[np.intp]:
    """Returns the indices of the observations to fit: the best ones, and some of all others."""
    order = np.lexsort((np.arange(len(targets)), targets))
    if len(targets) <= MAX_FITTED:
        return order
    half = MAX_FITTED // 2
    others = np.linspace(half, len(targets) - 1, half).round().astype(np.intp)
    return np.concatenate([order[:half], order[others]])


def log_expected_improvement(mean: Floats, variance: Floats, best: float) -> Floats:
    """Returns the logarithm of E[max(best - f, 0)] for f ~ N(mean, variance).

    It stays finite where the improvement underflows: Ament et al., "Unexpected Improvements to
    Expected Improvement for Bayesian Optimization" (NeurIPS 2023), equation 9.
    """
    deviation = np.sqrt(variance)
    z = (best - mean) / deviation
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near**2) / math.sqrt(2.0 * math.pi) + near * ndtr(near))
    far = np.clip(z, -1e3, -1.0)
    tail = np.log1p(far * math.sqrt(0.5 * math.pi) * erfcx(-far * math.sqrt(0.5)))
    tail -= 2.0 * np.log(np.minimum(z, far) / far)  # proportional to 1 / z^2 from there on
    log_density = -0.5 * z**2 - 0.5 * math.log(2.0 * math.pi)
    return np.asarray(np.where(z > -1.0, direct, log_density + tail) + np.log(deviation))
