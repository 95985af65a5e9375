"""Samplers that depend on nothing but the study's seed, the ordinal and the trials so far.

An Optuna sampler draws from one generator for the life of its process, so an interrupted study, or
one with two workers, samples other configurations than an uninterrupted one. Here each ask gets a
fresh sampler, seeded from the study's seed and the ordinal of the configuration (its trial number
if no attempt is lost).

Only samplers without `before_trial` and `after_trial` fit, since a trial is sampled before it
exists: CMA-ES and NSGA-II would not work.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from search.algorithms.bayes import Forecaster

N_STARTUP = 8
"""Configurations of the initial design; a power of two, for an even Sobol sequence."""

WIDTH = "hidden_width"
"""The hyperparameter that the cost of a trial depends on most."""
INITIAL_WIDTH_FRACTIONS = (0.12, 0.5, 0.7, 0.78, 0.86, 0.94)
"""Hidden widths of the first configurations, as fractions of their range: a small one for an early
result, then widths that finish when a random search would have its first good results."""
DROPOUT = "dropout"
DROPOUT_PER_WIDTH_FRACTION = 0.7
"""Dropout of those configurations, as a fraction of its range per fraction of width: a smaller
network overfits less."""
INITIAL_SPREAD = 0.25
"""The fraction of each other range that those configurations are spread over."""
SCHEDULE, EARLY_SCHEDULE = "schedule", "cosine"
"""Those configurations use the cosine schedule if the space has it: its losses are nearly final
some time before the end of a trial."""


def sampler_for(
    kind: str,
    study_seed: int,
    ordinal: int,
    *,
    fixed: Mapping[str, Any] | None = None,
    forecaster: "Forecaster | None" = None,
    known: Sequence[Mapping[str, Any]] = (),
) -> BaseSampler:
    """Returns the sampler for the configuration with this ordinal.

    Args:
        fixed: hyperparameters that are not searched; "bayes" estimates costs with them.
        forecaster: what "bayes" takes pruned and running trials for.
        known: configurations that "bayes" believes to be good.
    """
    seed = derive_seed(study_seed, ordinal, "ask")
    if kind == "random":
        return RandomSampler(seed=seed)
    if kind == "qmc":
        return _SobolSampler(derive_seed(study_seed, 0, "qmc"), ordinal)
    if kind == "bayes":
        from search.algorithms.bayes import BayesSampler  # here, since it loads SciPy

        return BayesSampler(seed, fixed=fixed, forecaster=forecaster, known=known)
    if ordinal < N_STARTUP:
        return _InitialDesign(derive_seed(study_seed, 0, "startup"), ordinal)
    if kind == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return GPSampler(seed=seed, n_startup_trials=N_STARTUP, deterministic_objective=False)
    return TPESampler(seed=seed, n_startup_trials=N_STARTUP)


def design_cost(values: Mapping[str, Any]) -> float:
    """The cost by which the initial design orders its points; anything else uses `costs.py`.

    It counts, for each example, the work on the hidden units and the example's part of the products
    that fold the embedding into the first layer (27 symbols) once a step. A better estimate here
    would change what studies that exist ask for.
    """
    folded = values.get("block_size", 1) * values.get("embedding_size", 1)
    per_unit = 300 + 27 * 6 * folded / values.get("batch_size", 32)
    return float(values.get("hidden_width", 1) * per_unit)


class _SobolSampler(BaseSampler):
    """Samples point `ordinal` of one scrambled Sobol sequence, the same for every worker.

    Optuna's QMCSampler counts its points in the study's attributes, where a lost attempt would skip
    one.
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
        points = _sobol_points(len(search_space), self._scramble_seed, self._ordinal + 1)
        return _values_at(search_space, points[-1])

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.sample_relative(study, trial, {param_name: param_distribution})[param_name]


class _InitialDesign(_SobolSampler):
    """Samples the first configurations of a model-based search.

    The first ones lie near the middle of the space, where its author expects good results, with
    growing widths, dropout to match, and a schedule that converges early, for early results. The
    rest are Sobol points, the cheapest first.
    """

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        widths = INITIAL_WIDTH_FRACTIONS if WIDTH in search_space else ()
        spread = _sobol_points(len(search_space), self._scramble_seed, N_STARTUP)
        if self._ordinal < len(widths):
            return _near_the_middle(search_space, widths[self._ordinal], spread[self._ordinal])
        points = [_values_at(search_space, fractions) for fractions in spread[len(widths) :]]
        return sorted(points, key=design_cost)[self._ordinal - len(widths)]


def _near_the_middle(
    search_space: Mapping[str, BaseDistribution], width: float, spread: Sequence[float]
) -> dict[str, Any]:
    """Returns the values of a width near the middle of the other ranges.

    Args:
        width: a fraction of the range of hidden widths.
        spread: a point of the unit cube, which is scaled to INITIAL_SPREAD.
    """
    fractions = []
    for name, coordinate in zip(search_space, spread, strict=True):
        middle = DROPOUT_PER_WIDTH_FRACTION * width if name == DROPOUT else 0.5
        near = min(max(middle + INITIAL_SPREAD * (coordinate - 0.5), 0.0), 1.0)
        fractions.append(width if name == WIDTH else near)
    values = _values_at(search_space, fractions)
    schedules = search_space.get(SCHEDULE)
    if isinstance(schedules, CategoricalDistribution) and EARLY_SCHEDULE in schedules.choices:
        values[SCHEDULE] = EARLY_SCHEDULE
    return values


def _sobol_points(dimensions: int, scramble_seed: int, count: int) -> list[list[float]]:
    """Returns the first points of a scrambled Sobol sequence in the unit cube."""
    import torch  # here, since a launcher never samples
    from torch.quasirandom import SobolEngine

    engine = SobolEngine(dimensions, scramble=True, seed=scramble_seed)  # type: ignore[no-untyped-call]
    points: list[list[float]] = engine.draw(count, dtype=torch.float64).tolist()
    return points


def _values_at(
    search_space: Mapping[str, BaseDistribution], fractions: Sequence[float]
) -> dict[str, Any]:
    """Returns the values at fractions (0 to 1) of a space's ranges."""
    return {
        name: _value_at(distribution, fraction)
        for (name, distribution), fraction in zip(search_space.items(), fractions, strict=True)
    }


def _value_at(distribution: BaseDistribution, fraction: float) -> Any:
    """Returns the value at a fraction (0 to 1) of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[min(int(fraction * count), count - 1)]
    if isinstance(distribution, IntDistribution):
        value = _interpolate(
            distribution.low - 0.5, distribution.high + 0.5, distribution.log, fraction
        )
        return min(max(round(value), distribution.low), distribution.high)
    assert isinstance(distribution, FloatDistribution)
    value = _interpolate(distribution.low, distribution.high, distribution.log, fraction)
    return min(max(value, distribution.low), distribution.high)


def _interpolate(low: float, high: float, log: bool, fraction: float) -> float:
    if log:
        return math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
    return low + fraction * (high - low)


def ask(
    sampler: BaseSampler,
    study: Study,
    trial: FrozenTrial,
    searched: Mapping[str, BaseDistribution],
) -> dict[str, Any]:
    """Samples every searched hyperparameter for a trial that need not exist."""
    values = dict(sampler.sample_relative(study, trial, dict(searched))) if searched else {}
    for name, distribution in searched.items():
        if name not in values:
            values[name] = sampler.sample_independent(study, trial, name, distribution)
    return {name: values[name] for name in searched}
