"""Bayesian linear regression with a conjugate prior (Gelman et al., "Bayesian Data Analysis", 14).

    y = F w + e,   e ~ N(0, s^2),   w ~ N(mean, s^2 diag(variances)),
    s^2 ~ scaled inverse chi^2 with `degrees` degrees of freedom and the prior's noise

The prediction is a Student t distribution, wide while there are few observations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What is believed of coefficients and noise before any observation.

    Attributes:
        mean: (D,), of the coefficients.
        variances: (D,), of the coefficients, in units of the variance of the noise.
        noise: standard deviation of the observations.
        degrees: how many observations the belief about the noise is worth.
    """

    mean: Floats
    variances: Floats
    noise: float
    degrees: float


class Posterior:
    """The coefficients after n observations.

    Attributes:
        degrees: of freedom of the predictions.
    """

    def __init__(self, prior: Prior, features: Floats, observed: Floats) -> None:
        """`features`: (n, D); `observed`: (n,)."""
        precision = features.T @ features + np.diag(1.0 / prior.variances)
        self._factor = cho_factor(precision)
        residuals = observed - features @ prior.mean
        change = cho_solve(self._factor, features.T @ residuals)
        self._coefficients = prior.mean + change
        self.degrees = prior.degrees + len(observed)
        squares = prior.degrees * prior.noise**2 + residuals @ (residuals - features @ change)
        self._variance = float(squares) / self.degrees

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Returns location and scale (m,) of the t distributions at features (m, D)."""
        leverage = np.einsum("ij,ji->i", features, cho_solve(self._factor, features.T))
        return features @ self._coefficients, np.sqrt(self._variance * (1.0 + leverage))
