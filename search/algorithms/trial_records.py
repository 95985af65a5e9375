"""What a model needs of a study's trials, kept from one ask to the next.

A trial that has ended never changes, so what follows from it is computed once in a process: with
ten thousand of them stored an ask would take most of a second otherwise. Whether it is kept or
computed again makes no difference to an answer.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from search.algorithms.coordinates import Coordinates
from search.algorithms.costs import relative_costs

Floats = NDArray[np.float64]

N_TYPICAL = 256
"""Random configurations whose mean cost is that of a typical full trial."""
MAX_GRID = 1000
"""A space with no more configurations than this is scored as a whole."""


@dataclass
class Records:
    """Trials whose configurations lie in the space, as columns.

    Attributes:
        trials: they themselves.
        points: their configurations in the space's coordinates, (d,) each.
        keys: their configurations as text, which tells one from another.
        lots: numbers in [0, 1) that follow from the points, to draw a sample that hardly changes.
        losses: the lowest that each reported; infinite without any.
        costs: of the full trials, in typical ones.
        last_steps: of their reports; 0 without any.
        complete: whether each ran to its end.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    points: list[Floats] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    lots: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    last_steps: list[int] = field(default_factory=list)
    complete: list[bool] = field(default_factory=list)

    def __add__(self, other: "Records") -> "Records":
        if not other.trials:
            return self
        return Records(
            self.trials + other.trials,
            self.points + other.points,
            self.keys + other.keys,
            self.lots + other.lots,
            self.losses + other.losses,
            self.costs + other.costs,
            self.last_steps + other.last_steps,
            self.complete + other.complete,
        )

    def total_cost(self) -> float:
        """Returns the cost of all in typical full trials: of a pruned one up to its last report."""
        steps = np.array(self.last_steps, dtype=np.float64)
        shares = np.where(self.complete, 1.0, steps / max(steps.max(initial=0.0), 1.0))
        return float(np.sort(np.array(self.costs) * shares).sum())  # whatever their order


class SearchedSpace:
    """A search space, the costs of its configurations, and the records of its trials.

    Args:
        distributions: of the hyperparameters that are searched.
        fixed: the others, for the costs.
    """

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], fixed: Mapping[str, Any]
    ) -> None:
        self.coordinates = Coordinates(distributions)
        self._fixed = dict(fixed)
        self._typical = 1.0
        typical = self.coordinates.sample(np.random.default_rng(0), N_TYPICAL)
        self._typical = float(self.costs(typical).mean())
        self._first: list[FrozenTrial] = []  # trials of a study up to the first one under way
        self._ended = Records()  # what is to be known of them

    def costs(self, points: Floats) -> Floats:
        """Returns the costs (n,) of full trials at points (n, d), in typical ones."""
        try:
            costs = relative_costs({**self._fixed, **self.coordinates.columns(points)})
        except (TypeError, ValueError):
            return np.ones(len(points))  # a space of other things under these names
        usable = np.where(np.isfinite(costs) & (costs > 0.0), costs, 1.0)
        return np.broadcast_to(usable, len(points)) / self._typical

    def key_of(self, values: Mapping[str, Any]) -> str:
        """Returns a configuration as text."""
        return repr([values[name] for name in self.coordinates.distributions])

    @functools.cached_property
    def grid(self) -> Floats | None:
        """The points (n, d) of all configurations; None: there are more than MAX_GRID."""
        some = list(itertools.islice(self.configurations(), MAX_GRID + 1))
        return self.coordinates.points(some) if 1 <= len(some) <= MAX_GRID else None

    def configurations(self) -> Iterator[dict[str, Any]]:
        """Yields every configuration; none at all if there is a continuous range."""
        distributions = self.coordinates.distributions
        lists = [_values_of(distribution) for distribution in distributions.values()]
        if not any(values is None for values in lists):
            for values in itertools.product(*(values or () for values in lists)):
                yield dict(zip(distributions, values, strict=True))

    def records_of(self, trials: Sequence[FrozenTrial], asking: int) -> tuple[Records, Records]:
        """Returns the records of a study's complete and pruned trials, and of its running ones.

        Args:
            asking: the number of the trial that is asked for, which is left out.
        """
        if self._first != trials[: len(self._first)]:  # quick: most are the same objects
            self._first, self._ended = [], Records()
        rest = trials[len(self._first) :]
        ended = list(itertools.takewhile(lambda trial: trial.state.is_finished(), rest))
        self._ended += self._computed(ended, COUNTED)
        self._first += ended
        rest = [trial for trial in rest[len(ended) :] if trial.number != asking]
        running = self._computed(rest, (TrialState.RUNNING,))
        return self._ended + self._computed(rest, COUNTED), running

    def _computed(self, trials: Sequence[FrozenTrial], states: tuple[TrialState, ...]) -> Records:
        records = Records()
        for trial in trials:
            if trial.state in states:
                try:
                    point = self.coordinates.point(trial.params)
                    key = self.key_of(trial.params)
                except (KeyError, TypeError, ValueError):
                    continue  # another space's
                records.trials.append(trial)
                records.points.append(point)
                records.keys.append(key)
                records.losses.append(_lowest_loss(trial))
                records.last_steps.append(max(trial.intermediate_values, default=0))
                records.complete.append(trial.state is TrialState.COMPLETE)
        if records.trials:
            points = np.array(records.points)
            records.lots.extend(lots_of(points).tolist())
            records.costs.extend(self.costs(points).tolist())
        return records


COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


def lots_of(points: Floats) -> Floats:
    """Returns the lots (n,) of trials at points (n, d)."""
    irrational = np.sqrt(np.arange(2.0, 2.0 + points.shape[1]))
    return np.asarray(np.modf((1e3 * points * irrational).sum(axis=1))[0])


def _lowest_loss(trial: FrozenTrial) -> float:
    losses = [*(trial.values or ()), *trial.intermediate_values.values()]
    if trial.state is TrialState.COMPLETE and trial.values:
        losses = trial.values
    return float(min((loss for loss in losses if math.isfinite(loss)), default=math.inf))


def _values_of(distribution: BaseDistribution) -> Sequence[Any] | None:
    """Returns all values of a distribution; None: they are a continuum."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    if distribution.single():
        return [distribution.low]
    if distribution.step is None:
        return None
    count = round((distribution.high - distribution.low) / distribution.step)
    return [distribution.low + distribution.step * k for k in range(count + 1)]


class _Definition:
    """The arguments of a space, equal if they read alike: distributions of 1 and True are equal."""

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], fixed: Mapping[str, Any], study: str
    ) -> None:
        self.arguments = (dict(distributions), dict(fixed))
        self._text = repr((self.arguments, study))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Definition) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@functools.lru_cache(16)
def _space_of(definition: _Definition) -> SearchedSpace:
    return SearchedSpace(*definition.arguments)


def space_of(
    distributions: Mapping[str, BaseDistribution], fixed: Mapping[str, Any], study: str = ""
) -> SearchedSpace:
    """Returns the same space for the same arguments, so that the records outlive an ask.

    Args:
        study: its name; for each the records of one are kept.
    """
    return _space_of(_Definition(distributions, fixed, study))
