"""Which planned evaluation a report stands for: the same resources at any batch size."""

from collections.abc import Sequence

from makemore_core.config import TrialConfig
from makemore_core.training.trainer import Evaluation
from search.algorithms.pruners import resource_at
from search.spec.study_file import StudySpec


def reports_of(
    spec: StudySpec, config: TrialConfig, curve: Sequence[Evaluation]
) -> dict[int, float]:
    """The dev losses of a curve, by resource."""
    return {
        resource_at(spec.budget, planned_evaluation(spec, config, e)): e.dev_loss for e in curve
    }


def planned_evaluation(spec: StudySpec, config: TrialConfig, evaluation: Evaluation) -> int:
    """The number of the planned evaluation; several coincide where steps are few."""
    return max(1, round(evaluation.step * spec.budget.evaluations / config.steps))
