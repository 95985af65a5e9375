"""What the trials of a study are expected to cost, before they are asked for.

Costs are those of the analytic model (`search.algorithms.costs`): seconds on a reference machine.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from search.algorithms import samplers
from search.algorithms.bayes import COST_SCALE
from search.algorithms.coordinates import Coordinates
from search.algorithms.costs import SYMBOLS, relative_costs
from search.algorithms.pruners import SHARE_TRAINED, SHARE_TRAINED_AFTER_OPENING, Pruner
from search.spec import search_space
from search.spec.study_spec import StudySpec

DRAWS = 256
"""Random draws whose mean cost stands for a trial's: costs differ a hundredfold."""
DESIGNED = ("tpe", "gp")
"""Samplers whose first configurations are a design of ours."""
HORIZON = 1000
"""Trials whose costs are told apart; by then no sampler weighs costs any more."""


class ExpectedCosts:
    """The expected costs of a study's full trials, by their slots.

    The configurations that open a study are known, and so are their costs. Of each other trial the
    mean of random draws is taken, weighted as the sampler weighs costs.

    Args:
        symbols: of the alphabet, the end of a word included.
    """

    def __init__(self, spec: StudySpec, symbols: int = SYMBOLS) -> None:
        distributions = search_space.distributions(spec.space)
        coordinates = Coordinates(distributions)
        points = coordinates.sample(np.random.default_rng(0), DRAWS)
        fixed = search_space.fixed_values(spec.space) | {"examples": spec.budget.examples}
        drawn = {**fixed, **coordinates.columns(points)}
        self._draws = np.broadcast_to(relative_costs(drawn, symbols), DRAWS)
        known = [
            float(np.mean(relative_costs({**drawn, **values}, symbols)))
            for values in _known(spec)[: spec.budget.trials]
        ]
        count = min(spec.budget.trials, HORIZON) - len(known)
        self._costs = np.array(known + self._of_others(spec, sum(known), count))

    def of(self, ordinal: int) -> float:
        """Returns the cost of one trial."""
        return float(self._costs[min(ordinal, len(self._costs) - 1)])

    def total(self, first: int, last: int) -> float:
        """Returns the cost of the trials of these slots, the last one not included."""
        beyond = max(0, last - max(first, len(self._costs)))
        return float(self._costs[first:last].sum() + beyond * self._costs[-1])

    def _of_others(self, spec: StudySpec, spent: float, count: int) -> list[float]:
        """The sampler "bayes" divides its acquisition by a power of the cost that falls with what
        is spent; for others a draw is as good as another. So it is in a study with an opening, to
        whose dear configurations its belief draws "bayes" about as much as the costs keep it away.
        """
        typical, costs = float(self._draws.mean()), []
        prefers_cheap = spec.sampler.kind == "bayes" and not _believes(spec)
        for _ in range(count):
            exponent = math.exp(-spent / typical / COST_SCALE)
            weights = self._draws**-exponent if prefers_cheap else None
            costs.append(float(np.average(self._draws, weights=weights)))
            spent += costs[-1]
        return costs


def expected_share(spec: StudySpec) -> float:
    """Returns how much of a trial that the sampler asks for is expected to be trained.

    Assumes that one trial in `reduction_factor` passes each rung, and that `predictive`, once it
    has learned, stops about as many as it was seen to. Audited trials run to their end.
    """
    if spec.pruner.kind == "predictive":
        share = SHARE_TRAINED_AFTER_OPENING if _believes(spec) else SHARE_TRAINED
    elif spec.pruner.kind in ("asha", "hyperband"):
        share = _share_within_rungs(spec)
    else:
        share = 1.0
    return share + spec.pruner.audit * (1.0 - share)


def _believes(spec: StudySpec) -> bool:
    """Whether the sampler believes in what the study begins with."""
    return spec.sampler.kind == "bayes" and bool(spec.opening)


def _share_within_rungs(spec: StudySpec) -> float:
    pruner = Pruner(spec.pruner, spec.budget)
    shares = []
    for ordinal in range(len(pruner.rungs(0)) + 1 if spec.pruner.kind == "hyperband" else 1):
        bounds = [0, *pruner.rungs(ordinal), spec.budget.evaluations]
        spans = [b - a for a, b in itertools.pairwise(bounds)]
        alive = [spec.pruner.reduction_factor**-level for level in range(len(spans))]
        trained = sum(span * running for span, running in zip(spans, alive, strict=True))
        shares.append(trained / spec.budget.evaluations)
    return statistics.fmean(shares)


def _known(spec: StudySpec) -> list[Mapping[str, Any]]:
    """The values that are known of the first configurations; some may be missing."""
    opening = _designed(spec) if spec.sampler.kind in DESIGNED else spec.opening
    rest = opening[len(spec.enqueue) :] if spec.sampler.kind in DESIGNED else opening
    return [*spec.enqueue, *rest]


def _designed(spec: StudySpec) -> Sequence[Mapping[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    template = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    space = search_space.distributions(spec.space)
    return [
        samplers.ask(
            samplers.sampler_for(spec.sampler.kind, spec.study.seed, ordinal),
            study,
            template,
            space,
        )
        for ordinal in range(samplers.N_STARTUP)
    ]
