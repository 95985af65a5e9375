"""Pruners: pure functions of the dev losses that the study's trials reported so far.

A trial is judged by the lowest dev loss of its curve, so that is what is compared: at each rung, a
trial's lowest so far with the lowest of each other trial up to there. No rule here stops the trial
that has reported the lowest loss of all.

Written here, not taken from Optuna, for three reasons. Optuna's successive halving also compares
with attempts that were lost, so that an interrupted study prunes otherwise than one that was not;
its Hyperband draws a bracket from the trial number, which a lost attempt shifts; and both re-read
every unfinished trial at each report. Resources are examples seen, as whole numbers: the same share
of a trial whatever its batch size.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

LossesAt = Callable[[int], Sequence[float]]
"""The lowest dev loss up to a resource, of each other trial of the study that reported there; lost
attempts left out."""


class PruningRule(Protocol):
    """Which rule stops trials, as a study file names it."""

    @property
    def kind(self) -> str: ...
    @property
    def reduction_factor(self) -> int: ...


class TrialLength(Protocol):
    """How long a full trial is, and how often it is evaluated."""

    @property
    def examples(self) -> int: ...
    @property
    def evaluations(self) -> int: ...


def resource_at(budget: TrialLength, evaluation: int) -> int:
    """Examples seen at the k-th evaluation, by plan: what a report is filed under."""
    return budget.examples * evaluation // budget.evaluations


def lowest_so_far(reports: Mapping[int, float]) -> dict[int, float]:
    """A trial's lowest dev loss up to each resource at which it reported.

    >>> lowest_so_far({20: 2.5, 10: 2.25, 30: 2.0})
    {10: 2.25, 20: 2.25, 30: 2.0}
    """
    found: dict[int, float] = {}
    lowest = float("inf")
    for resource, loss in sorted(reports.items()):
        lowest = found[resource] = min(lowest, loss)
    return found


@dataclass(frozen=True)
class Pruner:
    """Decides at each evaluation whether a trial goes on."""

    section: PruningRule
    budget: TrialLength

    def should_prune(
        self, ordinal: int, evaluation: int, losses: Sequence[float], at: LossesAt
    ) -> bool:
        """Whether the trial that has reported `losses` (one for each evaluation) should end now."""
        if not self.is_rung(ordinal, evaluation):
            return False
        own, others = min(losses), at(resource_at(self.budget, evaluation))
        if self.section.kind == "median":
            return _is_worse_than_median(own, others)
        promoted = max(1, (len(others) + 1) // self.section.reduction_factor)
        return own > sorted([*others, own])[promoted - 1]

    def is_rung(self, ordinal: int, evaluation: int) -> bool:
        """Whether a trial is compared with others at this evaluation."""
        if evaluation >= self.budget.evaluations or self.section.kind == "none":
            return False
        return self.section.kind == "median" or evaluation in self.rungs(ordinal)

    def rungs(self, ordinal: int) -> tuple[int, ...]:
        """The evaluations at which a trial is compared, for its bracket."""
        factor, last = self.section.reduction_factor, self.budget.evaluations
        rungs = []
        rung = last
        while rung // factor >= 1:
            rung //= factor
            rungs.append(rung)
        rungs.reverse()
        if self.section.kind == "asha":
            return tuple(rungs)
        bracket = ordinal % (len(rungs) + 1)  # Hyperband: bracket b skips the first b rungs
        return tuple(rungs[bracket:])


def _is_worse_than_median(own: float, others: Sequence[float]) -> bool:
    """Whether a loss is above the median of the others, once there are enough of those.

    Optuna's MedianPruner, with its defaults, does the same over complete trials alone; here running
    and pruned trials count as well, at the resources that they reached.
    """
    return len(others) >= MIN_FOR_MEDIAN and own > statistics.median(others)


MIN_FOR_MEDIAN = 5
