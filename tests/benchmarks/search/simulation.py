"""A search over recorded curves on virtual time: an event queue in place of workers."""

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, field

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search.algorithms.forecast import chance_of_lowest
from search.algorithms.pruners import Pruner, resource_at
from tests.benchmarks.search.choosing import Chooser
from tests.benchmarks.search.events import Series
from tests.benchmarks.search.tables import SPACE, Table

NAME = "replay"


@dataclass(order=True)
class Trial:
    """A trial under way; it stands in the queue with its next evaluation."""

    at: float  # virtual seconds, when its next evaluation ends
    ordinal: int
    began: float = field(compare=False)
    place: int = field(compare=False)
    """Of its curve in the table."""
    evaluations: int = field(compare=False, default=0)


@dataclass(frozen=True)
class Ended:
    """A trial that has ended."""

    at: float
    ordinal: int
    place: int
    evaluations: int
    pruned: bool
    """Whether the pruner ended it."""
    lowest: float
    """The lowest loss of all trials by then."""


@dataclass
class Simulation:
    """So many workers search a table. Only training takes time.

    What a sampler may know is an Optuna study in memory: trials under way are RUNNING with their
    parameters and reports, trials that a pruner stopped or that diverged are PRUNED.
    """

    table: Table
    chooser: Chooser
    pruner: Pruner
    workers: int
    best: list[tuple[float, float]] = field(default_factory=list)
    """(virtual seconds, best dev loss so far), one pair for each improvement."""
    ends: list[Ended] = field(default_factory=list)
    """Every trial that has ended."""

    def __post_init__(self) -> None:
        self._storage = InMemoryStorage()
        self._study_id = self._storage.create_new_study([StudyDirection.MINIMIZE], NAME)
        self._queue: list[Trial] = []
        self._untried = list(range(len(self.table.curves)))
        self._trial_ids: list[int] = []  # by ordinal
        self._reported: dict[int, list[float]] = defaultdict(list)

    def run(self, until: float = math.inf) -> Series:
        """Searches until then, or all has been tried; returns the improvements."""
        for _ in range(self.workers):
            self._begin(0.0)
        while self._queue and self._queue[0].at <= until:
            self._evaluate(heapq.heappop(self._queue))
        return self.best

    def _begin(self, now: float) -> None:
        """A free worker takes a configuration, if there is one."""
        if not self._untried:
            return
        ordinal, trial_id = len(self._trial_ids), self._storage.create_new_trial(self._study_id)
        study = optuna.Study(NAME, self._storage)  # a new one, since it remembers trials
        trial = self._storage.get_trial(trial_id)
        place = self.chooser.choose(ordinal, study, trial, list(self._untried))
        self._untried.remove(place)
        self._trial_ids.append(trial_id)
        for name, value in self.table.curves[place].searched.items():
            internal = SPACE[name].to_internal_repr(value)
            self._storage.set_trial_param(trial_id, name, internal, SPACE[name])
        heapq.heappush(self._queue, Trial(now + self._spacing(place), ordinal, now, place))

    def _spacing(self, place: int) -> float:
        """The virtual seconds between two evaluations of a curve."""
        return self.table.seconds[place] / self.table.facts.evaluations

    def _evaluate(self, trial: Trial) -> None:
        """Reports an evaluation and asks the pruner, in the order in which a worker does."""
        trial.evaluations += 1
        curve = self.table.curves[trial.place].losses
        losses = curve[: trial.evaluations]
        if len(losses) < trial.evaluations:  # it diverged before it came to this evaluation
            self._end(trial, losses)
            return
        if not self.best or losses[-1] < self.best[-1][1]:
            self.best.append((trial.at, losses[-1]))
        resource = resource_at(self.table.facts, trial.evaluations)
        self._storage.set_trial_intermediate_value(
            self._trial_ids[trial.ordinal], resource, losses[-1]
        )
        stops = self.pruner.should_prune(
            trial.ordinal,
            trial.evaluations,
            losses,
            self._reported.__getitem__,
            lambda: self._chance_of_lowest(trial, losses),
        )
        self._reported[resource].append(min(losses))
        if stops or trial.evaluations == self.table.facts.evaluations:
            self._end(trial, losses, pruned=stops)
        else:
            trial.at = trial.began + (trial.evaluations + 1) * self._spacing(trial.place)
            heapq.heappush(self._queue, trial)

    def _chance_of_lowest(self, trial: Trial, losses: tuple[float, ...]) -> float | None:
        """What the predictive pruner asks for, as a worker computes it."""
        own = self._trial_ids[trial.ordinal]
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        others = [each for each in trials if each._trial_id != own]
        searched = self.table.curves[trial.place].searched
        reports = dict(enumerate(losses, start=1))
        return chance_of_lowest(searched, reports, others, SPACE, self.table.facts)

    def _end(self, trial: Trial, losses: tuple[float, ...], *, pruned: bool = False) -> None:
        complete = len(losses) == self.table.facts.evaluations
        self._storage.set_trial_state_values(
            self._trial_ids[trial.ordinal],
            TrialState.COMPLETE if complete else TrialState.PRUNED,
            [min(losses, default=math.inf)],
        )
        lowest = self.best[-1][1] if self.best else math.inf
        self.ends.append(
            Ended(trial.at, trial.ordinal, trial.place, trial.evaluations, pruned, lowest)
        )
        self._begin(trial.at)
