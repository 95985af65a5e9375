"""Predicts the end of a trial, its lowest dev loss, from its configuration and its curve so far.

At each evaluation the end of a complete trial is a linear function of what was known at that
evaluation: of the level and the form of the curve, and of the configuration. A Bayesian regression
learns it from the complete trials of the same study. What it believes before the first of them
comes from curves recorded on other corpora (`forecast.json`), so that a handful is enough.

Everything here is a function of its arguments: the same trials, in whatever order, give the same
predictions.
"""

import functools
import importlib.resources
import json
import math
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.special import stdtr

from search.algorithms import curve_features
from search.algorithms.curve_features import CURVE, INTERCEPT, ConfigurationFeatures, Ranges
from search.algorithms.pruners import TrialLength, resource_at
from search.algorithms.regression import Posterior, Prior

Floats = NDArray[np.float64]
Distributions = Mapping[str, BaseDistribution]

MIN_COMPLETE = 4
"""Complete trials that a prediction needs."""
MAX_BEST, MAX_RECENT = 60, 40
"""A prediction learns from at most so many complete trials: the best, and the last of the rest."""
LOSS_SCALE = 0.1
"""Nats: the model is linear in losses within so much of the lowest, logarithmic beyond."""
SPREADS = {INTERCEPT: 2.0} | dict.fromkeys(CURVE, 0.5)
SPREAD, SPREAD_OF_PRODUCTS = 0.4, 0.2
"""Prior standard deviations of coefficients, in units of the noise; about what the coefficients of
one corpus differ by from those of others."""
DEGREES, MAX_DEGREES = 12.0, 4.0
"""Degrees of freedom of the prior's noise, and the most that the tails of a prediction have: errors
have heavier tails than a normal distribution however many trials there are."""
MIN_NOISE = 0.02
"""Prior standard deviation of an end, in units of LOSS_SCALE, that the last evaluation has."""


@dataclass(frozen=True)
class RecordedEnds:
    """What curves that were recorded on other corpora say, at evenly spaced evaluations.

    Attributes:
        ranges: of the recorded numbers.
        features: the names of D features.
        coefficients: (evaluations, D).
        noise: (evaluations,), standard deviations of the ends around the predictions.
    """

    ranges: Ranges
    features: tuple[str, ...]
    coefficients: Floats
    noise: Floats

    def prior(self, names: Sequence[str], fraction: float) -> Prior:
        """Returns the prior for the named features after a fraction of a trial."""
        at = np.arange(1, len(self.noise) + 1) / len(self.noise)
        means = dict.fromkeys(names, 0.0) | {
            name: float(np.interp(fraction, at, column))
            for name, column in zip(self.features, self.coefficients.T, strict=True)
        }
        return Prior(
            mean=np.array([means[name] for name in names]),
            variances=np.array([_spread(name) ** 2 for name in names]),
            noise=max(float(np.interp(fraction, at, self.noise)), MIN_NOISE),
            degrees=DEGREES,
        )


def _spread(name: str) -> float:
    return SPREADS.get(name, SPREAD_OF_PRODUCTS if "*" in name else SPREAD)


@functools.cache
def recorded() -> RecordedEnds:
    """Returns what comes with the program."""
    text = importlib.resources.files(__package__).joinpath("forecast.json").read_text("utf-8")
    return recorded_from(json.loads(text))


def recorded_from(document: Mapping[str, Any]) -> RecordedEnds:
    """Returns the content of a file such as `forecast.json`."""
    return RecordedEnds(
        ranges={name: (low, high, log) for name, (low, high, log) in document["ranges"].items()},
        features=tuple(document["features"]),
        coefficients=np.array(document["coefficients"], dtype=np.float64),
        noise=np.array(document["noise"], dtype=np.float64),
    )


@dataclass(frozen=True)
class Curve:
    """A configuration and its dev losses (k,) at the evaluations so far, filled."""

    values: Mapping[str, Any]
    losses: Floats


class Forecaster:
    """Predicts ends from complete trials of a study.

    Args:
        distributions: the search space.
        complete: curves of all evaluations, one at least.
    """

    def __init__(
        self,
        distributions: Distributions,
        complete: Sequence[Curve],
        experience: RecordedEnds | None = None,
    ) -> None:
        self._experience = experience or recorded()
        self._features = ConfigurationFeatures(distributions, self._experience.ranges)
        self._configurations = self._features.of([curve.values for curve in complete])
        self._losses = np.array([curve.losses for curve in complete])
        ends = self._losses.min(axis=1)
        self._lowest = float(ends.min())
        self._ends = self._scaled(ends)
        self._fitted: dict[int, Posterior] = {}

    def ends(self, curves: Sequence[Curve]) -> list["End"]:
        """Returns the predictions for trials under way, which have as many losses each."""
        losses = np.array([curve.losses for curve in curves])
        _, features = self._joined(self._features.of([curve.values for curve in curves]), losses)
        posterior = self._posterior(losses.shape[1])
        degrees = min(posterior.degrees, MAX_DEGREES)
        return [
            End(self._lowest, float(location), float(scale), degrees)
            for location, scale in zip(*posterior.predict(features), strict=True)
        ]

    def _posterior(self, evaluation: int) -> Posterior:
        """What was learned about trials at an evaluation."""
        if evaluation not in self._fitted:
            names, features = self._joined(self._configurations, self._losses[:, :evaluation])
            prior = self._experience.prior(names, evaluation / self._losses.shape[1])
            self._fitted[evaluation] = Posterior(prior, features, self._ends)
        return self._fitted[evaluation]

    def _joined(self, configurations: Floats, losses: Floats) -> tuple[list[str], Floats]:
        curves = curve_features.of_curves(self._scaled(losses))
        return curve_features.joined(self._features.names, configurations, curves)

    def _scaled(self, losses: Floats) -> Floats:
        return np.asarray(np.arcsinh((losses - self._lowest) / LOSS_SCALE))


@dataclass(frozen=True)
class End:
    """A predicted end: a t distribution of asinh((loss - lowest) / LOSS_SCALE).

    Attributes:
        lowest: the lowest end of a complete trial, in nats.
    """

    lowest: float
    location: float
    scale: float
    degrees: float

    def probability_below(self, loss: float) -> float:
        """Returns the probability that the end is below a dev loss."""
        at = math.asinh((loss - self.lowest) / LOSS_SCALE)
        return float(stdtr(self.degrees, (at - self.location) / self.scale))

    @property
    def mean(self) -> float:
        """The median of the end, in nats."""
        return self.lowest + LOSS_SCALE * math.sinh(self.location)

    @property
    def sd(self) -> float:
        """Its standard deviation in nats, to first order."""
        of_t = math.sqrt(self.degrees / (self.degrees - 2.0))
        return LOSS_SCALE * math.cosh(self.location) * self.scale * of_t


def chance_of_lowest(
    values: Mapping[str, Any],
    losses: Mapping[int, float],
    others: Sequence[FrozenTrial],
    distributions: Distributions,
    length: TrialLength,
) -> float | None:
    """Returns the probability that a trial under way ends with the lowest dev loss of its study.

    It is 1 for a trial that holds the lowest loss already, and None while fewer than MIN_COMPLETE
    trials are complete.

    Args:
        values: its searched hyperparameters.
        losses: its dev losses so far, by the number of the evaluation from 1.
        others: the study's other trials; lost attempts do not count.
    """
    lows = _lows(others)
    lowest = float(lows.min(initial=math.inf))
    own = [loss for loss in losses.values() if math.isfinite(loss)]
    if own and min(own) <= lowest:
        return 1.0
    complete = _learned_from(others, lows)
    if not own or len(complete) < MIN_COMPLETE:
        return None
    curve = Curve(values, _losses_so_far(losses, range(1, length.evaluations + 1)))
    (end,) = _forecaster(complete, distributions, length).ends([curve])
    return end.probability_below(lowest)


def lowest_loss(trials: Sequence[FrozenTrial]) -> float | None:
    """Returns the lowest dev loss that any of some trials has reported; lost attempts do not
    count."""
    lowest = float(_lows(trials).min(initial=math.inf))
    return lowest if math.isfinite(lowest) else None


def predicted_ends(
    trials: Sequence[FrozenTrial],
    distributions: Distributions,
    length: TrialLength,
    numbers: Container[int] | None = None,
) -> dict[int, tuple[float, float]]:
    """Returns (mean, standard deviation) of the ends of pruned and running trials, by number.

    Trials without a report are left out; there are none while fewer than MIN_COMPLETE trials are
    complete.

    Args:
        numbers: of the trials whose ends are wanted; None: of all.
    """
    complete = _learned_from(trials, _lows(trials))
    if len(complete) < MIN_COMPLETE:
        return {}
    steps = _steps(length)
    curves: dict[int, list[tuple[int, Curve]]] = defaultdict(list)
    for trial in trials:
        is_wanted = numbers is None or trial.number in numbers
        if is_wanted and trial.state in (TrialState.RUNNING, TrialState.PRUNED):
            losses = _losses_so_far(trial.intermediate_values, steps)
            curves[len(losses)].append((trial.number, Curve(trial.params, losses)))
    curves.pop(0, None)
    forecaster = _forecaster(complete, distributions, length)
    return {
        number: (min(end.mean, float(curve.losses.min())), end.sd)
        for those in curves.values()
        for (number, curve), end in zip(
            those, forecaster.ends([curve for _, curve in those]), strict=True
        )
    }


def _forecaster(
    complete: Sequence[FrozenTrial], distributions: Distributions, length: TrialLength
) -> Forecaster:
    steps = _steps(length)
    curves = [
        Curve(trial.params, curve_features.filled(trial.intermediate_values, steps))
        for trial in complete
    ]
    return Forecaster(distributions, curves)


COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""The states of the trials that count; the retry of a lost attempt reports the same again."""


def _lows(trials: Sequence[FrozenTrial]) -> Floats:
    """The lowest loss of each trial; infinite where it has none, or does not count."""
    return np.array([_lowest_of(trial) for trial in trials], dtype=np.float64)


def _lowest_of(trial: FrozenTrial) -> float:
    state = trial.state
    if state not in COUNTED:
        return math.inf
    if state is not TrialState.RUNNING and (values := trial.values):
        return values[0] if math.isfinite(values[0]) else math.inf
    return min(filter(math.isfinite, trial.intermediate_values.values()), default=math.inf)


def _learned_from(trials: Sequence[FrozenTrial], lows: Floats) -> list[FrozenTrial]:
    """The complete trials that a prediction learns from: the best and the most recent, the best
    first; of equals, the earlier."""
    complete = [
        trial
        for low, trial in zip(lows.tolist(), trials, strict=True)
        if low < math.inf and trial.state is TrialState.COMPLETE and trial.intermediate_values
    ]
    numbers = np.array([trial.number for trial in complete], dtype=np.int64)
    ends = np.array([_lowest_of(trial) for trial in complete], dtype=np.float64)
    ranked = np.lexsort((numbers, ends))
    rest = ranked[MAX_BEST:]
    recent = np.sort(numbers[rest])[-MAX_RECENT:]
    learned = [*ranked[:MAX_BEST], *rest[np.isin(numbers[rest], recent)]]
    return [complete[index] for index in learned]


def _steps(length: TrialLength) -> list[int]:
    """The resource of each evaluation, under which its loss is reported."""
    return [resource_at(length, k) for k in range(1, length.evaluations + 1)]


def _losses_so_far(reports: Mapping[int, float], steps: Sequence[int]) -> Floats:
    """The losses of a trial up to its last report; empty without any."""
    last = max((k for k, step in enumerate(steps, 1) if step in reports), default=0)
    return curve_features.filled(reports, steps)[:last]
