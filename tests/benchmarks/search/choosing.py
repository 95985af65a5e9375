"""Samplers for a replay: which of the recorded configurations a free worker tries next."""

import random
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from search.algorithms import samplers
from search.algorithms.pruners import resource_at
from search.algorithms.samplers import sampler_for
from search.spec import search_space
from tests.benchmarks.search.curves import Table

NAME = "replay"


class Chooser(Protocol):
    """Each recorded configuration is tried once at most."""

    def next(self, ordinal: int) -> int | None:
        """The index of the curve for the configuration with this ordinal; None: none is left."""

    def report(self, ordinal: int, evaluation: int, dev_loss: float) -> None:
        """An evaluation of a trial under way."""

    def end(self, ordinal: int, best: float, complete: bool) -> None:
        """A trial has ended, with the best of its evaluations."""


class Shuffled:
    """All configurations in random order, whatever was found: random search, exactly."""

    def __init__(self, table: Table, seed: int) -> None:
        self._left = list(range(len(table.curves)))
        random.Random(seed).shuffle(self._left)

    def next(self, ordinal: int) -> int | None:
        return self._left.pop() if self._left else None

    def report(self, ordinal: int, evaluation: int, dev_loss: float) -> None: ...

    def end(self, ordinal: int, best: float, complete: bool) -> None: ...


class Nearest:
    """One of the study's own samplers; what it asks for is replaced by the nearest untried curve.

    With a few hundred points in as many dimensions as a study searches, the nearest is not near: a
    model-based sampler does worse here than it would if it got what it asked for.
    """

    def __init__(self, table: Table, seed: int, kind: str) -> None:
        self._table, self._seed, self._kind = table, seed, kind
        self._distributions = search_space.distributions(table.spec.space)
        self._points = np.array([self._placed(curve.searched) for curve in table.curves])
        self._left = list(range(len(table.curves)))
        self._storage = InMemoryStorage()
        optuna.create_study(storage=self._storage, study_name=NAME)
        self._study_id = self._storage.get_study_id_from_name(NAME)
        self._trials: dict[int, int] = {}

    def next(self, ordinal: int) -> int | None:
        if not self._left:
            return None
        trial_id = self._trials[ordinal] = self._storage.create_new_trial(self._study_id)
        index = self._left.pop(self._nearest(self._asked(ordinal)))
        for name, value in self._table.curves[index].searched.items():
            among = self._distributions[name]
            internal = among.to_internal_repr(value)
            self._storage.set_trial_param(trial_id, name, internal, among)
        return index

    def report(self, ordinal: int, evaluation: int, dev_loss: float) -> None:
        step = resource_at(self._table.spec.budget, evaluation)
        self._storage.set_trial_intermediate_value(self._trials[ordinal], step, dev_loss)

    def end(self, ordinal: int, best: float, complete: bool) -> None:
        state = TrialState.COMPLETE if complete else TrialState.PRUNED
        self._storage.set_trial_state_values(self._trials[ordinal], state, [best])

    def _asked(self, ordinal: int) -> list[float]:
        sampler = sampler_for(self._kind, self._seed, ordinal)
        study = optuna.Study(NAME, self._storage, sampler=sampler)
        trial = self._storage.get_trial(self._trials[ordinal])
        return self._placed(samplers.ask(sampler, study, trial, self._distributions))

    def _placed(self, searched: Mapping[str, search_space.Value]) -> list[float]:
        """A configuration as a point: each dimension from 0 to 1, each choice its own axis."""
        return [
            place
            for name, among in self._distributions.items()
            for place in placed(among, searched[name])
        ]

    def _nearest(self, point: list[float]) -> int:
        distances = np.square(self._points[self._left] - point).sum(axis=1)
        return int(distances.argmin())


def placed(among: BaseDistribution, value: search_space.Value) -> list[float]:
    """A value as coordinates; two choices lie one apart."""
    if isinstance(among, CategoricalDistribution):
        return [0.5**0.5 * (value == choice) for choice in among.choices]
    assert isinstance(among, (IntDistribution, FloatDistribution))
    bend = np.log if among.log else float
    low, high, at = (float(bend(each)) for each in (among.low, among.high, value))
    return [(at - low) / (high - low)]


def chooser(kind: str, table: Table, seed: int) -> Chooser:
    """The sampler of this kind."""
    return Shuffled(table, seed) if kind == "random" else Nearest(table, seed, kind)
