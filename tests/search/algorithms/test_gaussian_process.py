"""The Gaussian process: its gradient, its posterior, and the expected improvement."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from search.algorithms.acquisition import (
    Acquisition,
    Observations,
    log_expected_improvement,
    standardise,
)
from search.algorithms.gaussian_process import GaussianProcess, NegativeLogPosterior, Priors, fit

GROUPS = (0, 1, 1, 2)
"""Four coordinates of three hyperparameters."""
SEEDS = st.integers(0, 2**32 - 1)


def data(seed: int, count: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, targets and extra variances."""
    rng = np.random.default_rng(seed)
    return rng.random((count, 4)), rng.standard_normal(count), rng.random(count) * 0.1


def covariance(left: np.ndarray, right: np.ndarray, parameters: np.ndarray) -> float:
    """The covariance of two points, as the module's docstring writes it."""
    lengths, (matern, linear, _) = np.exp(parameters[:-3]), np.exp(parameters[-3:])
    r = math.sqrt(sum(((left[k] - right[k]) / lengths[g]) ** 2 for k, g in enumerate(GROUPS)))
    shape = (1 + math.sqrt(5) * r + 5 / 3 * r**2) * math.exp(-math.sqrt(5) * r)
    return float(matern * shape + linear * (left - 0.5) @ (right - 0.5))


@given(SEEDS)
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    """Each parameter moved a little changes the log posterior as its derivative says."""
    points, targets, extra = data(seed)
    objective = NegativeLogPosterior(points, targets, extra, GROUPS, Priors())
    at = objective.mean + 0.5 * np.random.default_rng(seed).standard_normal(6)
    step = 1e-5 * np.eye(6)
    expected = [(objective(at + h)[0] - objective(at - h)[0]) / 2e-5 for h in step]
    np.testing.assert_allclose(expected, objective(at)[1], rtol=1e-4, atol=1e-5)


@given(SEEDS)
def test_the_posterior_is_that_of_the_dense_formula(seed: int) -> None:
    """Mean and variance, from the covariances of all points and a matrix inverse."""
    points, targets, extra = data(seed)
    parameters = Priors().of(3)[0] + 0.3 * np.random.default_rng(seed).standard_normal(6)
    dense = np.array([[covariance(a, b, parameters) for b in points] for a in points])
    inverse = np.linalg.inv(dense + np.diag(extra) + np.exp(parameters[-1]) * np.eye(7))
    anywhere = np.random.default_rng(seed + 1).random(4)
    cross = np.array([covariance(anywhere, point, parameters) for point in points])
    process = GaussianProcess(points, targets, extra, GROUPS, parameters)
    mean, variance = process.predict(anywhere[None])
    np.testing.assert_allclose(cross @ inverse @ targets, mean[0], rtol=1e-5, atol=1e-6)
    left = covariance(anywhere, anywhere, parameters) - cross @ inverse @ cross
    np.testing.assert_allclose(left, variance[0], rtol=1e-4, atol=1e-6)


def test_a_fit_finds_what_matters_and_how_noisy_it_is() -> None:
    """Of three hyperparameters only the first changes the loss: its length scale is the shortest by
    far. The noise is found within a factor of 3."""
    rng = np.random.default_rng(1)
    points = rng.random((60, 4))
    losses = np.sin(6 * points[:, 0]) + 0.2 * rng.standard_normal(60)
    targets, _, deviation = standardise(losses)
    parameters = np.exp(fit(points, targets, np.zeros(60), GROUPS))
    assert 3 * parameters[0] < parameters[1:3].min()
    assert 0.04 / 3 < parameters[-1] * deviation**2 < 0.04 * 3


@given(st.floats(-6, 6), st.floats(0.05, 3), st.floats(-3, 3))
@settings(max_examples=30)
def test_the_log_of_the_expected_improvement_is_that_of_the_integral(
    mean: float, deviation: float, best: float
) -> None:
    """Numerical integration of the improvement over the density, where that does not underflow."""
    z = (best - mean) / deviation
    if z < -6:
        return
    expected, _ = quad(
        lambda u: (z - u) * norm.pdf(u), z - 40 if z < 0 else -40, z, points=[min(z, 0) - 1]
    )
    found = log_expected_improvement(np.array([mean]), np.array([deviation**2]), best)
    assert math.log(expected * deviation) == pytest.approx(found[0], rel=1e-5, abs=1e-5)


def test_the_log_of_the_expected_improvement_never_ends() -> None:
    """It is finite and falls steadily, far beyond where the improvement itself is 0."""
    means = np.concatenate([np.linspace(-5, 60, 500), np.geomspace(61, 1e8, 200)])
    found = log_expected_improvement(means, np.ones(len(means)), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


def test_outliers_change_nothing() -> None:
    """A loss of 1e6, infinity or NaN counts as the worst within reach: the scores are the same."""
    points, losses, _ = data(3, 20)
    anywhere = np.random.default_rng(4).random((30, 4))
    scores = []
    for outlier in (1e6, 1e200, math.inf, math.nan):
        spoiled = losses.copy()
        spoiled[losses.argmax()] = outlier
        observed = Observations(points, spoiled, np.zeros(20))
        acquisition = Acquisition(observed, float(losses.min()), np.empty((0, 4)), GROUPS)
        scores.append(acquisition(anywhere))
    for other in scores[1:]:
        np.testing.assert_allclose(scores[0], other, rtol=1e-6)


def test_a_running_trial_is_not_tried_again() -> None:
    """Where a trial is under way the score falls, since less is left to learn there."""
    points, losses, _ = data(5, 12)
    observed = Observations(points, losses, np.zeros(12))
    anywhere = np.random.default_rng(6).random((200, 4))
    free = Acquisition(observed, float(losses.min()), np.empty((0, 4)), GROUPS)
    best = anywhere[[free(anywhere).argmax()]]
    taken = Acquisition(observed, float(losses.min()), best, GROUPS)
    assert taken(best)[0] < free(best)[0] - 0.1


def test_a_doubtful_loss_weighs_less() -> None:
    """A forecast with a large variance moves the prediction at its point less than a sure loss."""
    points, targets, _ = data(8, 10)
    parameters = Priors().of(3)[0]
    sure = GaussianProcess(points, targets, np.zeros(10), GROUPS, parameters)
    extra = np.eye(10)[0] * 4.0
    doubtful = GaussianProcess(points, targets, extra, GROUPS, parameters)
    at = points[:1]
    assert abs(sure.predict(at)[0][0] - targets[0]) < abs(doubtful.predict(at)[0][0] - targets[0])
    assert sure.predict(at)[1][0] < doubtful.predict(at)[1][0]
