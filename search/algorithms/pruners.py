"""Pruners as pure functions of the dev losses that the study's trials have reported.

A trial's value is the lowest dev loss of its curve, so a rung compares a trial's lowest loss so far
with that of each other trial up to the same resource; `predictive` looks at where the trial will
end (`forecast.py`). No rule stops the trial with the lowest loss of all.

They are not Optuna's, for three reasons. Optuna's successive halving compares with lost attempts
too, so that an interrupted study prunes differently from an uninterrupted one; its Hyperband draws
a bracket from the trial number, which a lost attempt shifts; and both re-read every unfinished
trial at each report. Resources are examples seen, as integers: the same fraction of a trial at any
batch size.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

LossesAt = Callable[[int], Sequence[float]]
"""Returns, for a resource, the lowest dev loss so far of each other trial that reported there,
without lost attempts."""


Chance = Callable[[], float | None]
"""Returns the probability that the trial ends with the study's lowest dev loss; None: unknown."""

LOOKS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The fractions of a trial after which `predictive` predicts its end."""
SHARE_TRAINED = 0.3
"""Of a full trial, of the average one that `predictive` looks at; measured on recorded curves, with
the default probability."""
SHARE_TRAINED_AFTER_OPENING = 0.65
"""The same where "bayes" asks for trials like those of an opening, which come further; measured
in studies of two corpora (tests/benchmarks/LOG.md)."""


class PruningRule(Protocol):
    """The rule that stops trials, as in the study file's `[pruner]`."""

    @property
    def kind(self) -> str: ...
    @property
    def reduction_factor(self) -> int: ...
    @property
    def probability(self) -> float: ...


class TrialLength(Protocol):
    """The length of a full trial and its number of evaluations, as in `[budget]`."""

    @property
    def examples(self) -> int: ...
    @property
    def evaluations(self) -> int: ...


def resource_at(budget: TrialLength, evaluation: int) -> int:
    """Returns the planned examples at the k-th evaluation, which is the step of its report."""
    return budget.examples * evaluation // budget.evaluations


def lowest_so_far(reports: Mapping[int, float]) -> dict[int, float]:
    """Returns a trial's lowest dev loss up to each resource at which it reported.

    >>> lowest_so_far({20: 2.5, 10: 2.25, 30: 2.0})
    {10: 2.25, 20: 2.25, 30: 2.0}
    """
    lowest_at: dict[int, float] = {}
    lowest = float("inf")
    for resource, loss in sorted(reports.items()):
        lowest = lowest_at[resource] = min(lowest, loss)
    return lowest_at


@dataclass(frozen=True)
class Pruner:
    """Decides at each evaluation whether a trial is stopped."""

    section: PruningRule
    budget: TrialLength

    def should_prune(
        self,
        ordinal: int,
        evaluation: int,
        losses: Sequence[float],
        at: LossesAt,
        chance: Chance = lambda: None,
    ) -> bool:
        """Whether the trial with `losses`, one for each evaluation so far, is to be stopped.

        Args:
            chance: asked by `predictive` alone.
        """
        if not self.is_rung(ordinal, evaluation):
            return False
        if self.section.kind == "predictive":
            probability = chance()
            return probability is not None and probability < self.section.probability
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
        """Returns the evaluations at which a trial of this ordinal's bracket is compared."""
        factor, last = self.section.reduction_factor, self.budget.evaluations
        if self.section.kind == "predictive":
            looks = {math.ceil(round(fraction * last, 6)) for fraction in LOOKS}
            return tuple(sorted(looks - {last}))
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
    """Whether a loss is above the median of at least MIN_FOR_MEDIAN others.

    Optuna's MedianPruner, with its defaults, does the same over complete trials alone; here running
    and pruned trials count as well, at the resources that they reached.
    """
    return len(others) >= MIN_FOR_MEDIAN and own > statistics.median(others)


MIN_FOR_MEDIAN = 5
