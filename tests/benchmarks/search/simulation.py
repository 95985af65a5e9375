"""A search over recorded curves on virtual time: an event queue in place of workers."""

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, field

from search.algorithms.pruners import Pruner, resource_at
from tests.benchmarks.search.choosing import Chooser
from tests.benchmarks.search.curves import Curve, Table
from tests.benchmarks.search.events import Series


@dataclass(order=True)
class Trial:
    """A trial under way; it stands in the queue with its next evaluation."""

    at: float  # virtual seconds, when its next evaluation ends
    ordinal: int
    began: float = field(compare=False)
    curve: Curve = field(compare=False)
    evaluations: int = field(compare=False, default=0)


@dataclass
class Simulation:
    """So many workers search a table. Only computing takes time."""

    table: Table
    chooser: Chooser
    pruner: Pruner
    workers: int
    best: list[tuple[float, float]] = field(default_factory=list)
    """(virtual seconds, best dev loss so far), one pair for each improvement."""
    ends: list[tuple[float, int, int]] = field(default_factory=list)
    """(virtual seconds, ordinal, evaluations) of every trial that has ended."""

    def __post_init__(self) -> None:
        self._queue: list[Trial] = []
        self._begun = 0
        self._reported: dict[int, list[float]] = defaultdict(list)

    def run(self, until: float = math.inf, enough: float = -math.inf) -> Series:
        """Searches until then, or a loss as low as `enough`, or all has been tried; returns the
        improvements."""
        for _ in range(self.workers):
            self._begin(0.0)
        while self._queue and self._queue[0].at <= until:
            self._evaluate(heapq.heappop(self._queue))
            if self.best[-1][1] <= enough:
                break
        return self.best

    def _begin(self, now: float) -> None:
        """A free worker takes the next configuration, if there is one."""
        index = self.chooser.next(self._begun)
        if index is not None:
            curve = self.table.curves[index]
            heapq.heappush(self._queue, Trial(now + curve.seconds[0], self._begun, now, curve))
            self._begun += 1

    def _evaluate(self, trial: Trial) -> None:
        """Reports an evaluation and asks the pruner, in the order in which a worker does."""
        trial.evaluations += 1
        losses = trial.curve.losses[: trial.evaluations]
        if not self.best or losses[-1] < self.best[-1][1]:
            self.best.append((trial.at, losses[-1]))
        self.chooser.report(trial.ordinal, trial.evaluations, losses[-1])
        rivals = self._reported[resource_at(self.table.spec.budget, trial.evaluations)]
        stops = self.pruner.should_prune(
            trial.ordinal, trial.evaluations, losses, self._reported.__getitem__
        )
        rivals.append(min(losses))
        if stops or trial.evaluations == len(trial.curve.losses):
            self._end(trial, min(losses))
        else:
            trial.at = trial.began + trial.curve.seconds[trial.evaluations]
            heapq.heappush(self._queue, trial)

    def _end(self, trial: Trial, best: float) -> None:
        complete = trial.evaluations == self.table.spec.budget.evaluations
        self.chooser.end(trial.ordinal, best, complete)
        self.ends.append((trial.at, trial.ordinal, trial.evaluations))
        self._begin(trial.at)
