"""Samplers whose every ask is a function of the study's seed, the ordinal and the trials so far.

An Optuna sampler draws from one generator for as long as its process lives, so a study that was
interrupted, or has two workers, asks for other configurations than one that was not. Here a fresh
sampler is made for each ask, its seed derived from the study's seed and the ordinal of the
configuration (its trial number, were no attempt ever lost).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from search.seeds import derive_seed

N_STARTUP = 8
"""Configurations before a model of the losses is asked; a power of two, for an even spread."""

WIDTH = "hidden_width"
"""What the cost of a trial hangs on most."""
INITIAL_WIDTH_FRACTIONS = (0.12, 0.5, 0.7, 0.78, 0.86, 0.94)
"""Of the first configurations, as shares of the range of hidden widths: a small one for a result
soon, then such as end when a random search would have its first good ones."""
DROPOUT = "dropout"
DROPOUT_PER_WIDTH_FRACTION = 0.7
"""Where in the range of dropouts those configurations lie, for each unit of size: the smaller a
network, the less it overfits."""
INITIAL_SPREAD = 0.25
"""How much of each other range those configurations are spread over."""
SCHEDULE, EARLY_SCHEDULE = "schedule", "cosine"
"""Where it may be had, they take the schedule that is nearly as good some time before its end."""


def sampler_for(kind: str, study_seed: int, ordinal: int) -> BaseSampler:
    """The sampler that asks for the configuration with this ordinal."""
    seed = derive_seed(study_seed, ordinal, "ask")
    if kind == "random":
        return RandomSampler(seed=seed)
    if kind == "qmc":
        return _SobolSampler(derive_seed(study_seed, 0, "qmc"), ordinal)
    if ordinal < N_STARTUP:
        return _InitialDesign(derive_seed(study_seed, 0, "startup"), ordinal)
    if kind == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return GPSampler(seed=seed, n_startup_trials=N_STARTUP, deterministic_objective=False)
    return TPESampler(seed=seed, n_startup_trials=N_STARTUP)


def relative_cost(values: Mapping[str, Any]) -> float:
    """Roughly how long a configuration trains, beside others of the same space.

    For each example: work on the hidden units, and for each step the products that fold the
    embedding into the first layer (27 symbols), spread over the batch.
    """
    folded = values.get("block_size", 1) * values.get("embedding_size", 1)
    per_unit = 300 + 27 * 6 * folded / values.get("batch_size", 32)
    return float(values.get("hidden_width", 1) * per_unit)


class _SobolSampler(BaseSampler):
    """Point `ordinal` of one scrambled Sobol sequence: the same sequence for every worker.

    Optuna's own quasi-random sampler counts its points in the study's attributes, where a lost
    attempt would use one up.
    """

    def __init__(self, scramble_seed: int, ordinal: int) -> None:
        self._scramble_seed = scramble_seed
        self._ordinal = ordinal

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        shares = _sobol_points(len(search_space), self._scramble_seed, self._ordinal + 1)
        return _values_at(search_space, shares[-1])

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.sample_relative(study, trial, {param_name: param_distribution})[param_name]


class _InitialDesign(_SobolSampler):
    """The first configurations of a model-based search.

    First the middle of the space, where whoever drew it up expects the best, in several sizes, the
    small ones first, with dropout to match and on a schedule that ends early: a result soon, and
    better ones as soon as they can be had. Then points that are well spread, the cheaper first.
    """

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        sizes = INITIAL_WIDTH_FRACTIONS if WIDTH in search_space else ()
        spread = _sobol_points(len(search_space), self._scramble_seed, N_STARTUP)
        if self._ordinal < len(sizes):
            size = sizes[self._ordinal]
            middle = [
                DROPOUT_PER_WIDTH_FRACTION * size if name == DROPOUT else 0.5
                for name in search_space
            ]
            off = [INITIAL_SPREAD * (share - 0.5) for share in spread[self._ordinal]]
            shares = [min(max(at + by, 0.0), 1.0) for at, by in zip(middle, off, strict=True)]
            shares[list(search_space).index(WIDTH)] = size
            point = _values_at(search_space, shares)
            schedules = search_space.get(SCHEDULE)
            if (
                isinstance(schedules, CategoricalDistribution)
                and EARLY_SCHEDULE in schedules.choices
            ):
                point[SCHEDULE] = EARLY_SCHEDULE
            return point
        points = [_values_at(search_space, shares) for shares in spread[len(sizes) :]]
        return sorted(points, key=relative_cost)[self._ordinal - len(sizes)]


def _sobol_points(dimensions: int, scramble_seed: int, count: int) -> list[list[float]]:
    """The first points of a scrambled Sobol sequence, each coordinate from 0 to 1."""
    import torch  # a launcher, which never asks, does without
    from torch.quasirandom import SobolEngine

    engine = SobolEngine(dimensions, scramble=True, seed=scramble_seed)  # type: ignore[no-untyped-call]
    points: list[list[float]] = engine.draw(count, dtype=torch.float64).tolist()
    return points


def _values_at(
    search_space: Mapping[str, BaseDistribution], shares: Sequence[float]
) -> dict[str, Any]:
    """The values at these shares of a space's ranges."""
    return {
        name: _value_at(distribution, share)
        for (name, distribution), share in zip(search_space.items(), shares, strict=True)
    }


def _value_at(distribution: BaseDistribution, share: float) -> Any:
    """The value at a share (0 to 1) of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[min(int(share * count), count - 1)]
    if isinstance(distribution, IntDistribution):
        value = _interpolate(
            distribution.low - 0.5, distribution.high + 0.5, distribution.log, share
        )
        return min(max(round(value), distribution.low), distribution.high)
    assert isinstance(distribution, FloatDistribution)
    value = _interpolate(distribution.low, distribution.high, distribution.log, share)
    return min(max(value, distribution.low), distribution.high)


def _interpolate(low: float, high: float, log: bool, share: float) -> float:
    if log:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)


def ask(
    sampler: BaseSampler,
    study: Study,
    trial: FrozenTrial,
    searched: Mapping[str, BaseDistribution],
) -> dict[str, Any]:
    """Samples every searched hyperparameter for a trial that need not exist yet."""
    values = dict(sampler.sample_relative(study, trial, dict(searched))) if searched else {}
    for name, distribution in searched.items():
        if name not in values:
            values[name] = sampler.sample_independent(study, trial, name, distribution)
    return {name: values[name] for name in searched}
