"""A Gaussian process for a few hundred noisy losses: Matern-5/2 and linear kernel, MAP estimates.

The prior mean is 0, so targets are to be standardised. The covariance of two points is

    s_m^2 * matern(r) + s_l^2 * <x - 1/2, x' - 1/2>,    r^2 = sum over g of |x_g - x'_g|^2 / l_g^2

where a group g is the coordinates of one hyperparameter, with one length scale (automatic relevance
determination). Targets have a learnt noise variance, and each may have more of it.

With few points in ten dimensions the likelihood alone overfits, so all parameters have log-normal
priors, and are set to the mode of their posterior by L-BFGS with the gradient of Rasmussen and
Williams, "Gaussian Processes for Machine Learning" (2006), equation 5.9. A length scale grows with
the square root of the dimensions, as in Hvarfner, Hellsten and Nardi, "Vanilla Bayesian
Optimization Performs Great in High Dimensions" (ICML 2024).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]

JITTER = 1e-8
"""Added to the variances of the targets, relative to those of the process."""
MAX_ITERATIONS = 20
BOUND = 4.0
"""A parameter's logarithm stays within so many standard deviations of its prior."""


@dataclass(frozen=True)
class Priors:
    """Mean and standard deviation of each parameter's logarithm.

    Attributes:
        length: a length scale, divided by the square root of the number of groups.
        matern, linear, noise: variances, of standardised targets.
    """

    length: tuple[float, float] = (math.log(0.6), 0.7)
    matern: tuple[float, float] = (0.0, 0.7)
    linear: tuple[float, float] = (math.log(0.3), 1.0)
    noise: tuple[float, float] = (math.log(1e-2), 1.5)

    def of(self, groups: int) -> tuple[Floats, Floats]:
        """Returns the means and standard deviations of all parameters, the length scales first."""
        mean = [self.length[0] + 0.5 * math.log(max(groups, 1))] * groups
        deviation = [self.length[1]] * groups
        for prior in (self.matern, self.linear, self.noise):
            mean.append(prior[0])
            deviation.append(prior[1])
        return np.array(mean), np.array(deviation)


class GaussianProcess:
    """The posterior given points and targets.

    Args:
        points: (n, d), in the unit cube.
        targets: (n,), with mean 0 and standard deviation 1 or so.
        extra: (n,), variances of the targets beside the learnt one.
        groups: the group of each coordinate, ascending from 0.
        parameters: logarithms of the length scales, of s_m^2, of s_l^2 and of the noise variance;
            see `fit`.
    """

    def __init__(
        self,
        points: Floats,
        targets: Floats,
        extra: Floats,
        groups: Sequence[int],
        parameters: Floats,
    ) -> None:
        self.parameters = parameters
        self._points, self._groups = points, np.array(groups, dtype=np.intp)
        self._matern, self._linear, self._noise = np.exp(parameters[-3:])
        self._scale = np.exp(-parameters[:-3])[self._groups]  # (d,)
        covariance = self._covariance(points, points)
        covariance[np.diag_indices_from(covariance)] += self._noise + extra + JITTER
        self._factor = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._factor, True), targets)

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Returns mean and variance (m,) of the process, without noise, at points (m, d)."""
        cross = self._covariance(points, self._points)
        solved = solve_triangular(self._factor, cross.T, lower=True)
        prior = self._matern + self._linear * np.square(points - 0.5).sum(axis=1)
        variance = prior - np.square(solved).sum(axis=0)
        return cross @ self._weights, np.maximum(variance, JITTER * prior)

    def _covariance(self, left: Floats, right: Floats) -> Floats:
        a, b = left * self._scale, right * self._scale
        squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None, :] - 2.0 * a @ b.T
        radius = np.sqrt(5.0 * np.maximum(squared, 0.0))
        matern = (1.0 + radius * (1.0 + radius / 3.0)) * np.exp(-radius)
        linear = (left - 0.5) @ (right - 0.5).T
        return np.asarray(self._matern * matern + self._linear * linear)


def fit(
    points: Floats,
    targets: Floats,
    extra: Floats,
    groups: Sequence[int],
    priors: Priors | None = None,
) -> Floats:
    """Returns the parameters at the mode of their posterior; arguments as of `GaussianProcess`."""
    objective = NegativeLogPosterior(points, targets, extra, groups, priors or Priors())
    found = minimize(
        objective,
        objective.mean,
        jac=True,
        method="L-BFGS-B",
        bounds=[
            (mean - BOUND * deviation, mean + BOUND * deviation)
            for mean, deviation in zip(objective.mean, objective.deviation, strict=True)
        ],
        options={"maxiter": MAX_ITERATIONS, "ftol": 1e-5, "gtol": 1e-2},
    )
    return np.asarray(found.x, dtype=np.float64)


class NegativeLogPosterior:
    """The parameters' negative log posterior density, without constants, and its gradient.

    A symmetric matrix (n, n) is held as its lower triangle, a vector (m,) with m = n (n + 1) / 2:
    that is half of the work for the whole matrix.
    """

    def __init__(
        self,
        points: Floats,
        targets: Floats,
        extra: Floats,
        groups: Sequence[int],
        priors: Priors,
    ) -> None:
        self._targets, self._extra = targets, extra
        count = len(targets)
        self._rows, self._columns = np.tril_indices(count)
        self._places = self._columns * count + self._rows  # in a matrix of LAPACK, by columns
        self._diagonal = np.flatnonzero(self._rows == self._columns)
        self._times = np.where(self._rows == self._columns, 1.0, 2.0)  # that each occurs
        self._squares = self._squared_distances(points, groups)  # (g, m)
        self._linear = self._lower((points - 0.5) @ (points - 0.5).T)
        self.mean, self.deviation = priors.of(len(self._squares))

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        """Returns the value and its gradient by the parameters (groups + 3,)."""
        inverse = np.exp(-2.0 * parameters[:-3])
        matern_variance, linear_variance, noise = np.exp(parameters[-3:])
        radius = np.sqrt(5.0 * inverse @ self._squares)
        decay = matern_variance * np.exp(-radius)
        slope = decay * (1.0 + radius)
        matern = slope + decay * np.square(radius) / 3.0
        linear = linear_variance * self._linear
        covariance = matern + linear
        covariance[self._diagonal] += noise + self._extra + JITTER
        matrix = self._matrix(covariance)
        factor = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve((factor, True), self._targets, check_finite=False)
        value = 0.5 * self._targets @ weights + np.log(np.diag(factor)).sum()
        # minus the derivative of the log likelihood by each covariance, doubled
        outer = self._inverse(factor) - weights[self._rows] * weights[self._columns]
        trace = outer[self._diagonal].sum()
        outer *= self._times
        gradient = np.empty_like(parameters)
        gradient[:-3] = 5.0 / 6.0 * inverse * (self._squares @ (outer * slope))
        gradient[-3] = 0.5 * outer @ matern
        gradient[-2] = 0.5 * outer @ linear
        gradient[-1] = 0.5 * noise * trace
        deviations = (parameters - self.mean) / self.deviation
        return float(value + 0.5 * deviations @ deviations), gradient + deviations / self.deviation

    def _squared_distances(self, points: Floats, groups: Sequence[int]) -> Floats:
        """Returns the squared distances (groups, m) between points, for each group."""
        squares = np.zeros((max(groups, default=-1) + 1, len(self._rows)))
        differences = points[self._rows] - points[self._columns]
        for difference, group in zip(differences.T, groups, strict=True):
            squares[group] += np.square(difference)
        return squares

    def _inverse(self, factor: Floats) -> Floats:
        """Returns the inverse of a matrix from its lower Cholesky factor (n, n), overwriting it."""
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        return self._lower(inverse)

    def _lower(self, matrix: Floats) -> Floats:
        return np.asarray(matrix.ravel(order="F")[self._places])

    def _matrix(self, lower: Floats) -> Floats:
        """Returns a matrix (n, n) with this lower triangle, and zeros above it."""
        count = len(self._targets)
        matrix = np.zeros(count * count)
        matrix[self._places] = lower
        return matrix.reshape((count, count), order="F")
