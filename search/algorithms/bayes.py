"""Bayesian optimization for few cores, tens to hundreds of trials, and costs that differ tenfold.

The next configuration has the highest expected improvement for its cost, at first among those that
are like the ones that the study began with (`belief.py`). The cost is that of the analytic model,
not measured seconds, so that the same trials always lead to the same question; its weight falls as
trials are spent, since first a result is to come soon and later the best is to be found (CArBO:
Lee, Perrone, Archambeau and Seeger, "Cost-aware Bayesian Optimization", 2020).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from search.algorithms import candidates
from search.algorithms.acquisition import MAX_LOSS, Acquisition, Observations, lowest_of
from search.algorithms.belief import Belief
from search.algorithms.trial_records import Records, SearchedSpace, space_of

Floats = NDArray[np.float64]

N_RANDOM = 4
"""Results that a model needs; before, a configuration is the cheapest of as many random ones."""
MAX_POINTS = 128
"""The model holds at most so many results: the best half, and some of the others."""
COST_SCALE = 40.0
"""The cost's exponent falls by e whenever as much as so many typical full trials is spent."""
MAX_PENDING = 64
"""Running trials that the model knows of."""

Forecaster = Callable[[Sequence[FrozenTrial]], Mapping[int, tuple[float, float]]]
"""Predicts from a study's trials, complete ones among them, the lowest losses at the ends of pruned
and running ones: mean and standard deviation, by trial number, of those that it can tell."""


@dataclass(frozen=True)
class History:
    """The trials so far, as points of a space; of many, some.

    Attributes:
        observed: trials that have ended, and running ones with a forecast, the best first.
        lowest: the lowest loss of all; infinite without any.
        pending: (m, d), running trials without a forecast.
        spent: the cost of all trials that have ended, in typical full trials.
        ended: how many these are.
    """

    observed: Observations
    lowest: float
    pending: Floats
    spent: float
    ended: int


def scorer(
    space: SearchedSpace, history: History, known: Sequence[Mapping[str, Any]] = ()
) -> candidates.Score | None:
    """Returns what scores points, the next configuration highest; None: there is too little to
    learn from.

    Args:
        known: configurations that are believed to be good.
    """
    if (np.abs(history.observed.losses) < MAX_LOSS).sum() < N_RANDOM:
        return None
    groups = space.coordinates.groups
    try:
        acquisition = Acquisition(history.observed, history.lowest, history.pending, groups)
    except np.linalg.LinAlgError:
        return None
    exponent = math.exp(-history.spent / COST_SCALE)
    belief = Belief(space.coordinates, known)

    def score(points: Floats) -> Floats:
        worth = acquisition(points) + belief(points, history.ended)
        return np.asarray(worth - exponent * np.log(space.costs(points)))

    return score


def model_subset(losses: Floats, lots: Floats) -> NDArray[np.intp]:
    """Returns the indices of the results that a model holds, the best first.

    Beside the best half it holds those of the others with the smallest lots, which hardly change
    from one ask to the next.
    """
    if len(losses) <= MAX_POINTS:
        return np.lexsort((lots, losses))
    half = MAX_POINTS // 2
    good = np.flatnonzero(losses <= np.partition(losses, half)[half])
    best = good[np.lexsort((lots[good], losses[good]))[:half]]
    is_other = np.ones(len(losses), dtype=bool)
    is_other[best] = False
    others = np.flatnonzero(is_other)
    drawn = others[np.argpartition(lots[others], half)[:half]]
    return np.concatenate([best, drawn[np.lexsort((lots[drawn], losses[drawn]))]])


class BayesSampler(BaseSampler):
    """Asks for what the trials of a study suggest; see the module.

    Args:
        seed: of the draws, a new one for each configuration.
        fixed: hyperparameters that are not searched; the costs depend on them.
        forecaster: what pruned and running trials would reach. Without it a pruned trial counts
            with its lowest loss, and a running one as if it ended as the model predicts.
        known: configurations that are believed to be good, as those that a study begins with.
    """

    def __init__(
        self,
        seed: int,
        *,
        fixed: Mapping[str, Any] | None = None,
        forecaster: Forecaster | None = None,
        known: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._fixed = dict(fixed or {})
        self._forecaster = forecaster
        self._known = tuple(known)
        self._common = IntersectionSearchSpace()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._common.calculate(study)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        space, history, tried = self._read(study, trial, search_space)
        score = scorer(space, history, self._known)
        if score is None:
            points = candidates.cheapest_first(space, N_RANDOM, self._rng)
        else:
            points = candidates.ranked(space, score, history.observed.points, self._rng)
        return candidates.first_untried(space, points, tried, self._rng)

    def choose(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
        among: Sequence[Mapping[str, Any]],
    ) -> int:
        """Returns the index of the recorded configuration to try next, by the same rule."""
        space, history, _ = self._read(study, trial, search_space)
        points = space.coordinates.points(among)
        score = scorer(space, history, self._known)
        if score is not None:
            return int(score(points).argmax())
        drawn = self._rng.choice(len(points), min(N_RANDOM, len(points)), replace=False)
        return int(drawn[space.costs(points[drawn]).argmin()])

    def _read(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> tuple[SearchedSpace, History, set[str]]:
        """Returns the space, the history, and what was tried."""
        space = space_of(search_space, self._fixed, study.study_name)
        ended, running = space.records_of(study.get_trials(deepcopy=False), trial.number)
        return space, self._history(space, ended, running), {*ended.keys, *running.keys}

    def _history(self, space: SearchedSpace, ended: Records, running: Records) -> History:
        losses = np.array(ended.losses, dtype=np.float64)
        kept = model_subset(losses, np.array(ended.lots)).tolist()
        known = sorted(range(len(running.trials)), key=running.lots.__getitem__)[:MAX_PENDING]
        trials = [*(ended.trials[k] for k in kept), *(running.trials[k] for k in known)]
        points = [*(ended.points[k] for k in kept), *(running.points[k] for k in known)]
        lowest = [*(ended.losses[k] for k in kept), *(None for _ in known)]
        forecasts = self._forecaster(trials) if self._forecaster else {}
        observed, pending = [], []
        for trial, point, loss in zip(trials, points, lowest, strict=True):
            if trial.number in forecasts and trial.state is not TrialState.COMPLETE:
                mean, deviation = forecasts[trial.number]
                observed.append((mean, deviation**2, point))
            elif loss is not None:
                observed.append((loss, 0.0, point))
            else:
                pending.append(point)
        observed.sort(key=lambda each: each[0])
        return History(
            Observations(
                _stacked(space, [point for _, _, point in observed]),
                np.array([loss for loss, _, _ in observed], dtype=np.float64),
                np.array([variance for _, variance, _ in observed], dtype=np.float64),
            ),
            lowest=lowest_of(losses),
            pending=_stacked(space, pending),
            spent=ended.total_cost(),
            ended=len(ended.trials),
        )

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        coordinates = space_of({param_name: param_distribution}, {}).coordinates
        return coordinates.values(coordinates.sample(self._rng, 1)[0])[param_name]


def _stacked(space: SearchedSpace, points: Sequence[Floats]) -> Floats:
    return np.array(points, dtype=np.float64).reshape(len(points), len(space.coordinates.names))
