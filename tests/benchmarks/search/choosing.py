"""Samplers for a replay: which of the recorded configurations a free worker tries next.

No sampler is asked for a point that the table then replaces by its nearest: each scores the
configurations that are still untried, by its own model.

- `random`: all in random order.
- `tpe`: Optuna's TPESampler with its defaults. Its candidates are the untried configurations, drawn
  as it draws its own, in proportion to the density of the good; the best of 24 by its acquisition.
- `tpe-greedy`: the same, the best of all the untried.
- `gp`: Optuna's GPSampler with its defaults, its acquisition evaluated on the untried; the batch
  size is a number to it, not a category.
- `bayes`: our sampler; `bayes-plain`: the same without predictions of the ends of running and
  pruned trials; `bayes-believing`: as in a new study, whose opening it believes to be good.

TPESampler takes candidates by its `_parzen_estimator_cls`, GPSampler by `_optimize_acqf`: names
that its authors leave to be overridden, but private, so this file goes with Optuna's version.

An opening comes before a sampler, `SAMPLER+OPENING`; its configurations are in no table, so the
nearest untried ones stand for them, by distance in our coordinates:

- `initial-design`: the hand-made opening of studies with TPE and GP;
- `experience`: what new studies begin with, learned on the other recorded corpora.
"""

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._gp.acqf import BaseAcquisitionFunc
from optuna._gp.search_space import SearchSpace
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import GPSampler, TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial

from search.algorithms import experience, samplers
from search.algorithms.bayes import BayesSampler
from search.algorithms.coordinates import Coordinates
from search.algorithms.forecast import predicted_ends
from search.algorithms.samplers import sampler_for
from search.seeds import derive_seed
from search.spec.search_space import Value
from tests.benchmarks.search.tables import FIXED, SPACE, Table

Configuration = Mapping[str, Value]
Floats = NDArray[np.float64]


class Chooser(Protocol):
    """Picks among untried curves, whose places in the table are given."""

    def choose(
        self, ordinal: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int:
        """Returns the place of the curve for the trial of this ordinal, which has no parameters.

        All others, running, complete and pruned, are in the study.
        """


class InRandomOrder:
    """Random search, exactly."""

    def __init__(self, table: Table, seed: int) -> None:
        self._order = list(range(len(table.curves)))
        random.Random(seed).shuffle(self._order)

    def choose(
        self, ordinal: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int:
        left = set(untried)
        return next(place for place in self._order if place in left)


class _FromTable:
    """What samplers that score the untried have in common: at random until they have a model."""

    def __init__(self, table: Table, seed: int) -> None:
        self._configurations = [dict(curve.searched) for curve in table.curves]
        self._seed = seed
        self._at_random = InRandomOrder(table, seed)

    def choose(
        self, ordinal: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int:
        seed = derive_seed(self._seed, ordinal, "ask")
        chosen = self._best(seed, study, trial, untried)
        return self._at_random.choose(ordinal, study, trial, untried) if chosen is None else chosen

    def _best(
        self, seed: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int | None:
        """The place that the sampler prefers; None as long as it would draw at random."""
        raise NotImplementedError


class Tpe(_FromTable):
    """Optuna's TPE on the untried configurations."""

    def __init__(self, table: Table, seed: int, *, greedy: bool = False) -> None:
        super().__init__(table, seed)
        self._greedy = greedy
        self._internal = {
            name: np.array([among.to_internal_repr(each[name]) for each in self._configurations])
            for name, among in SPACE.items()
        }
        self._log_base = _log_base_density(self._internal)
        self._places = {tuple(each.values()): k for k, each in enumerate(self._configurations)}

    def _best(
        self, seed: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int | None:
        internal = {name: column[untried] for name, column in self._internal.items()}
        log_base = None if self._greedy else self._log_base[untried]
        sampler = TPESampler(seed=seed)
        sampler._parzen_estimator_cls = _estimator_on(internal, log_base)
        params = sampler.sample_relative(study, trial, dict(SPACE))
        return self._places[tuple(params[name] for name in SPACE)] if params else None


def _estimator_on(internal: Mapping[str, Floats], log_base: Floats | None) -> Any:
    """A Parzen estimator whose candidates are these; with a base density it draws among them."""

    class OnTable(_ParzenEstimator):
        def sample(self, rng: np.random.RandomState, size: int) -> dict[str, Floats]:
            if log_base is None:
                return dict(internal)
            weights = self.log_pdf(dict(internal)) - log_base
            weights = np.exp(weights - weights.max())
            drawn = rng.choice(len(weights), size, p=weights / weights.sum())
            return {name: column[drawn] for name, column in internal.items()}

    return OnTable


def _log_base_density(internal: Mapping[str, Floats]) -> Floats:
    """The density of the table's draws where a Parzen estimator's is another than constant: whole
    numbers of a logarithmic range are the rarer the larger."""
    total = np.zeros(len(next(iter(internal.values()))))
    for name, among in SPACE.items():
        if isinstance(among, IntDistribution) and among.log:
            total += np.log(np.log((internal[name] + 0.5) / (internal[name] - 0.5)))
    return total


class _GpOnTable(GPSampler):
    """Evaluates its acquisition on given points instead of looking for the best of all."""

    points: Floats
    chosen: int | None = None

    def _optimize_acqf(
        self, acqf: BaseAcquisitionFunc, best_params: np.ndarray | None
    ) -> np.ndarray:
        self.chosen = int(acqf.eval_acqf_no_grad(self.points).argmax())
        return self.points[self.chosen]


class Gp(_FromTable):
    """Optuna's Gaussian process on the untried configurations."""

    SPACE: Mapping[str, BaseDistribution] = {
        **SPACE,
        "batch_size": IntDistribution(32, 1024, log=True),
    }

    def __init__(self, table: Table, seed: int) -> None:
        super().__init__(table, seed)
        space = SearchSpace(dict(self.SPACE))
        every: Any = self._configurations  # only their number is read of the first argument
        self._points = space.get_normalized_params(every, self._configurations)
        self._sampler = _GpOnTable(seed=seed)  # each fit begins with the parameters of the last

    def _best(
        self, seed: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int | None:
        self._sampler.points, self._sampler.chosen = self._points[untried], None
        self._sampler.sample_relative(study, trial, dict(self.SPACE))
        return None if self._sampler.chosen is None else untried[self._sampler.chosen]


class Bayes:
    """Our sampler on the untried configurations, as a worker asks it.

    Args:
        forecasts: whether running and pruned trials count with their predicted ends.
        believes: whether it believes in what new studies begin with.
    """

    def __init__(
        self, table: Table, seed: int, *, forecasts: bool = True, believes: bool = False
    ) -> None:
        self._configurations = [curve.searched for curve in table.curves]
        self._seed = seed
        self._fixed = {**FIXED, "examples": table.facts.examples}
        predict = partial(predicted_ends, distributions=SPACE, length=table.facts)
        self._forecaster = predict if forecasts else None
        self._known = listed_for(table) if believes else []

    def choose(
        self, ordinal: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int:
        sampler = sampler_for(
            "bayes",
            self._seed,
            ordinal,
            fixed=self._fixed,
            forecaster=self._forecaster,
            known=self._known,
        )
        assert isinstance(sampler, BayesSampler)
        among = [self._configurations[place] for place in untried]
        return untried[sampler.choose(study, trial, SPACE, among)]


class Opening:
    """An opening before a sampler: the nearest untried configurations stand for it."""

    def __init__(
        self,
        table: Table,
        then: Chooser,
        opening: "FirstConfigurations",
    ) -> None:
        self._coordinates = Coordinates(SPACE)
        self._points = self._coordinates.points([curve.searched for curve in table.curves])
        self._then, self._opening = then, opening

    def choose(
        self, ordinal: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int:
        configuration = self._opening(ordinal, study, trial)
        if configuration is None:
            return self._then.choose(ordinal, study, trial, untried)
        point = self._coordinates.point(configuration)
        distances = np.square(self._points[untried] - point).sum(axis=1)
        return untried[int(distances.argmin())]


FirstConfigurations = Callable[[int, optuna.Study, FrozenTrial], Configuration | None]
"""Returns an opening's configuration of an ordinal; None: it is at its end."""


def initial_design(table: Table, seed: int) -> FirstConfigurations:
    """The hand-made opening of studies with Optuna's samplers."""

    def opening(ordinal: int, study: optuna.Study, trial: FrozenTrial) -> Configuration | None:
        if ordinal >= samplers.N_STARTUP:
            return None
        return samplers.ask(sampler_for("tpe", seed, ordinal), study, trial, SPACE)

    return opening


def listed_for(table: Table) -> list[dict[str, Any]]:
    """What the other corpora say to begin with on a corpus of the table's size."""
    return experience.configurations(table.facts.train_examples, without=table.facts.corpus)


def from_experience(table: Table, seed: int) -> FirstConfigurations:
    """What a new study begins with on a corpus of the table's size."""
    listed = listed_for(table)

    def opening(ordinal: int, study: optuna.Study, trial: FrozenTrial) -> Configuration | None:
        return listed[ordinal] if ordinal < len(listed) else None

    return opening


SAMPLERS: Mapping[str, Callable[[Table, int], Chooser]] = {
    "random": InRandomOrder,
    "tpe": Tpe,
    "tpe-greedy": lambda table, seed: Tpe(table, seed, greedy=True),
    "gp": Gp,
    "bayes": Bayes,
    "bayes-plain": lambda table, seed: Bayes(table, seed, forecasts=False),
    "bayes-believing": lambda table, seed: Bayes(table, seed, believes=True),
}
OPENINGS = {"initial-design": initial_design, "experience": from_experience}


def chooser(name: str, table: Table, seed: int) -> Chooser:
    """Returns SAMPLER or SAMPLER+OPENING."""
    sampler, _, opening = name.partition("+")
    then = SAMPLERS[sampler](table, seed)
    return Opening(table, then, OPENINGS[opening](table, seed)) if opening else then
