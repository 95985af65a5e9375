"""Pruners: pure functions of the dev losses that the study's trials reported so far.

Written here, not taken from Optuna, for three reasons. Optuna's successive halving also compares
with attempts that were lost, so that an interrupted study prunes otherwise than one that was not;
its Hyperband draws a bracket from the trial number, which a lost attempt shifts; and both re-read
every unfinished trial at each report. Resources are examples seen, as whole numbers: the same share
of a trial whatever its batch size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.study_file import BudgetSection, PrunerSection

LossesAt = Callable[[int], Sequence[float]]
"""The dev losses that other trials of the study reported at a resource, lost attempts left out."""


def resource_at(budget: BudgetSection, evaluation: int) -> int:
    """Examples seen at the k-th evaluation, by plan: what a report is filed under."""
    return budget.examples * evaluation // budget.evaluations


@dataclass(frozen=True)
class Pruner:
    """Decides at each evaluation whether a trial goes on."""

    section: PrunerSection
    budget: BudgetSection

    def stops(self, ordinal: int, evaluation: int, losses: Sequence[float], at: LossesAt) -> bool:
        """Whether the trial that has reported `losses` (one for each evaluation) should end now."""
        if not self.compares(ordinal, evaluation):
            return False
        if self.section.kind == "median":
            return self._worse_than_median(evaluation, losses, at)
        rivals = [*at(resource_at(self.budget, evaluation)), losses[-1]]
        promoted = max(1, len(rivals) // self.section.reduction_factor)
        return losses[-1] > sorted(rivals)[promoted - 1]

    def compares(self, ordinal: int, evaluation: int) -> bool:
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

    def _worse_than_median(self, evaluation: int, losses: Sequence[float], at: LossesAt) -> bool:
        """Optuna's median rule, with its defaults: five trials first."""
        rivals = sorted(at(resource_at(self.budget, evaluation)))
        if len(rivals) < FEWEST_FOR_MEDIAN:
            return False
        return min(losses) > rivals[len(rivals) // 2]


FEWEST_FOR_MEDIAN = 5
