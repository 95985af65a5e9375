"""An attempt while it is trained: it reports, is pruned or audited, and saves snapshots."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from makemore_core.config import TrialConfig
from makemore_core.model.snapshot import Snapshot
from makemore_core.training.trainer import Evaluation, TrainingRun
from search.algorithms import forecast
from search.algorithms.pruners import Pruner, resource_at
from search.errors import TrialLost, TrialPruned
from search.seeds import derive_seed
from search.spec import search_space
from search.spec.study_spec import StudySpec
from search.storage.optuna_writer import TrialKey
from search.trials import attempts, audits, leases
from search.trials.claims import Claim
from search.worker.context import WorkerContext
from search.worker.memory_limit import resident_bytes
from search.worker.snapshots import Snapshots

HEARTBEAT_SECONDS = 2.0
"""Between two renewals of a lease."""
REPORT_SECONDS = 0.5
"""Between two writes of reports; a rung's report is written at once."""


@dataclass
class RunningAttempt:
    """One attempt that is being trained, with the trainer's callbacks."""

    context: WorkerContext
    claim: Claim
    searched: Mapping[str, Any]
    config: TrialConfig
    trial: TrialKey
    snapshots: Snapshots
    resume: Snapshot | None
    started: float = field(default_factory=time.monotonic)
    last_heartbeat: float = field(default_factory=time.monotonic)
    last_report: float = field(default_factory=time.monotonic)
    unreported: dict[int, float] = field(default_factory=dict)
    """Dev losses that are not in the database yet, by resource."""
    curve: list[Evaluation] = field(default_factory=list)
    chance: float | None = None
    """The probability that it ends with the study's lowest dev loss, as last predicted."""
    audited: bool = False
    """Whether the pruner would have stopped it."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Reports the dev loss, at a rung at once; then asks the pruner."""
        self.curve.append(evaluation)
        spec = self.context.study.spec
        planned = planned_evaluation(spec, self.config, evaluation)
        self.unreported[resource_at(spec.budget, planned)] = evaluation.dev_loss
        pruner = Pruner(spec.pruner, spec.budget)
        self.report_if_due(at_once=pruner.is_rung(self.claim.ordinal, planned))
        losses = [each.dev_loss for each in self.curve]
        if pruner.should_prune(
            self.claim.ordinal, planned, losses, self._competing_losses, self._chance_of_lowest
        ):
            if not self._is_drawn_for_audit():
                raise TrialPruned("pruner")
            self.record_audit()

    def report_if_due(self, *, at_once: bool = False) -> None:
        """Stores the unreported dev losses, at most once in REPORT_SECONDS unless `at_once`."""
        now = time.monotonic()
        if self.unreported and (at_once or now - self.last_report >= REPORT_SECONDS):
            attempts.record_reports(
                self.context.storage, self.context.study, self.trial.trial_id, self.unreported
            )
            self.unreported = {}
            self.last_report = now

    def record_audit(self) -> None:
        """Records that the pruner would have stopped it; at once, since a retry has to know."""
        if not self.audited:
            storage, attempt_id = self.context.storage, self.claim.attempt_id
            lowest = forecast.lowest_loss(self._other_trials())
            audits.record(storage, attempt_id, self.trial.trial_id, lowest, self.chance)
            self.audited = True

    def on_block(self, run: TrainingRun) -> None:
        """Handles signals, limits, the heartbeat and snapshots between two blocks of steps."""
        now = time.monotonic()
        if self.context.interrupted() or self._out_of_time(now):
            self.snapshots.save(run)
            raise TrialLost(attempts.INTERRUPTED)
        self._check_limits(now)
        if now - self.last_heartbeat >= HEARTBEAT_SECONDS:
            self.last_heartbeat = now
            leases.heartbeat(self.context.storage, self.context.study, self.context.worker_id)
        self.report_if_due()
        self.snapshots.save_if_due(run)

    def _out_of_time(self, now: float) -> bool:
        remaining = self.claim.remaining_seconds
        return remaining is not None and now - self.started >= remaining

    def _check_limits(self, now: float) -> None:
        limits = self.context.study.spec.limits
        if limits.seconds is not None and now - self.started > limits.seconds:
            raise TrialPruned("over its time limit")
        if limits.memory is not None and resident_bytes() > limits.memory:
            raise TrialPruned("over its memory limit")

    def _competing_losses(self, resource: int) -> list[float]:
        return self.context.reported_losses.losses_at(
            self.context.study, resource, self.trial.trial_id
        )

    def _chance_of_lowest(self) -> float | None:
        """The probability that it ends with the study's lowest dev loss, if that can be told."""
        spec, others = self.context.study.spec, self._other_trials()
        losses = {planned_evaluation(spec, self.config, e): e.dev_loss for e in self.curve}
        space = search_space.distributions(spec.space)
        self.chance = forecast.chance_of_lowest(self.searched, losses, others, space, spec.budget)
        return self.chance

    def _other_trials(self) -> list[FrozenTrial]:
        trials = self.context.trials.get_all_trials(self.context.study.optuna_id, deepcopy=False)
        return [trial for trial in trials if trial.number != self.trial.number]

    def _is_drawn_for_audit(self) -> bool:
        """Whether it runs on although pruned, as a random fraction does to measure pruning."""
        spec = self.context.study.spec
        draw = derive_seed(spec.study.seed, self.claim.ordinal, "audit") / 2**31
        return draw < spec.pruner.audit


def planned_evaluation(spec: StudySpec, config: TrialConfig, evaluation: Evaluation) -> int:
    """The number of the planned evaluation; several coincide where steps are few."""
    return max(1, round(evaluation.step * spec.budget.evaluations / config.steps))
