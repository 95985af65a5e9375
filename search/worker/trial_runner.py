"""Runs one attempt at a claimed slot: configuration, training, reports, pruning, outcome."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.errors import Diverged
from makemore_core.model import checkpoint
from makemore_core.model.network import parameters_of
from makemore_core.model.snapshot import Snapshot
from makemore_core.training.trainer import Evaluation, TrainingRun, TrialResult, train
from search.algorithms import forecast, samplers
from search.algorithms.pruners import Pruner, resource_at
from search.algorithms.samplers import sampler_for
from search.errors import FilesUnusable, SearchError, TrialEnded, TrialLost, TrialPruned
from search.finite import finite
from search.paths import DataDir
from search.retry import retry_files, retry_storage
from search.seeds import derive_seed
from search.spec import search_space
from search.spec.study_spec import StudySpec
from search.storage import optuna_studies
from search.storage.database import Storage
from search.storage.optuna_reader import SamplingView
from search.storage.optuna_writer import TrialKey
from search.storage.study_files import StudyFiles
from search.study.study import StoredStudy, files_of
from search.system.environment import run_environment
from search.trials import attempts, audits, claims, leases, retention
from search.trials.claims import Claim
from search.trials.leases import NoClaim
from search.trials.reported_losses import ReportedLosses
from search.worker.memory_limit import is_out_of_memory, resident_bytes
from search.worker.snapshots import Snapshots

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
"""Between two renewals of a lease."""
REPORT_SECONDS = 0.5
"""Between two writes of reports; a rung's report is written at once."""


@dataclass(frozen=True)
class WorkerContext:
    """What a worker needs to train trials of one study."""

    storage: Storage
    study: StoredStudy
    data_dir: DataDir
    data: Dataset
    worker_id: str
    threads: int
    device: str
    interrupted: Callable[[], bool]
    """Whether a signal came, or the launcher has ended."""
    trials: SamplingView
    """What a sampler learns from; it reads each trial once in a worker's life."""
    reported_losses: ReportedLosses
    """What a pruner compares with; it reads each trial once in a worker's life."""

    @property
    def files(self) -> StudyFiles:
        """The study's model files."""
        return files_of(self.study, self.data_dir)

    def attempt_columns(self) -> dict[str, Any]:
        """The columns of an attempt that the worker knows."""
        return {"threads": self.threads, "device": self.device, "versions": run_environment()}


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
        planned = _planned_evaluation(spec, self.config, evaluation)
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
        losses = {_planned_evaluation(spec, self.config, e): e.dev_loss for e in self.curve}
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


def run_attempt(context: WorkerContext, claim: Claim) -> str:
    """Makes one attempt at a claimed slot and records how it ended; returns its outcome.

    Raises:
        SearchError: the storage is unavailable; recovery ends the attempt later.
    """
    attempt = None
    try:
        attempt = _start_attempt(context, claim)
    except SearchError:
        raise
    except TrialLost as lost:
        values = {"outcome": "failed", "reason": lost.reason}
    except Exception:  # a sampler may raise anything: the attempt is lost, the study goes on
        log.exception("slot %d: no trial could be made", claim.ordinal)
        values = {"outcome": "failed", "reason": attempts.ERROR}
    else:
        try:
            values = _train(attempt)
        except FilesUnusable:  # not the configuration's failure: it is tried again
            values = {"outcome": "failed", "reason": attempts.INTERRUPTED}
            _record_outcome(context, claim, attempt, _measured(attempt) | values)
            raise
    return _record_outcome(context, claim, attempt, values)


def _start_attempt(context: WorkerContext, claim: Claim) -> RunningAttempt:
    """Samples a configuration, or takes the lost attempt's, and stores the trial."""
    spec = context.study.spec
    searched, config = _configuration(context, claim)
    snapshots = Snapshots(context.storage, context.study, context.data_dir, claim)
    resume = snapshots.newest()
    curve = [] if resume is None else [Evaluation(*values) for values in resume.state["curve"]]
    trial = attempts.record_trial(
        context.storage,
        context.study,
        claim.attempt_id,
        asdict(config),
        searched,
        search_space.distributions(spec.space),
        {resource_at(spec.budget, _planned_evaluation(spec, config, e)): e.dev_loss for e in curve},
    )
    step = resume.state["step"] if resume else 0
    log.info("trial %d (from step %d): %s", trial.number, step, config)
    attempt = RunningAttempt(
        context, claim, searched, config, trial, snapshots, resume, curve=curve
    )
    lost = claim.lost_attempt
    if lost is not None and lost.audited:
        audits.inherit(context.storage, context.study, claim.attempt_id, trial.trial_id, lost.trial)
        attempt.audited = True
    return attempt


def _planned_evaluation(spec: StudySpec, config: TrialConfig, evaluation: Evaluation) -> int:
    """The number of the planned evaluation; several coincide where steps are few."""
    return max(1, round(evaluation.step * spec.budget.evaluations / config.steps))


@retry_storage
def _configuration(context: WorkerContext, claim: Claim) -> tuple[dict[str, Any], TrialConfig]:
    """The searched values, and the complete configuration."""
    spec, lost = context.study.spec, claim.lost_attempt
    if lost is not None and lost.config is not None:
        return search_space.searched_values(spec.space, lost.config), TrialConfig(**lost.config)
    searched, overrides = _known_values(spec, claim.ordinal)
    config = search_space.configuration(
        spec.space,
        {**_sampled_values(context, claim, {*searched, *overrides}), **searched},
        overrides,
        examples=spec.budget.examples,
        evaluations=spec.budget.evaluations,
        patience=spec.early_stopping.patience,
    )
    return search_space.searched_values(spec.space, asdict(config)), config


def _known_values(spec: StudySpec, ordinal: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the study says of a slot's configuration: searched values of its opening, and values of
    its file by their names there."""
    if ordinal < len(spec.enqueue):
        return {}, spec.enqueue[ordinal]
    position = ordinal - len(spec.enqueue)
    return (spec.opening[position] if position < len(spec.opening) else {}), {}


def _sampled_values(context: WorkerContext, claim: Claim, known: set[str]) -> dict[str, Any]:
    """A value for each searched parameter, by the sampler; none if all of them are known."""
    spec = context.study.spec
    names = search_space.distributions(spec.space)
    if known.issuperset(names) or known.issuperset(search_space.searched_names(spec.space)):
        return {}
    fixed = search_space.fixed_values(spec.space) | {"examples": spec.budget.examples}
    forecaster = partial(forecast.predicted_ends, distributions=names, length=spec.budget)
    sampler = sampler_for(
        spec.sampler.kind, spec.study.seed, claim.ordinal, fixed=fixed, forecaster=forecaster
    )
    name = optuna_studies.name(context.storage, context.study.optuna_id)
    study = optuna.load_study(study_name=name, storage=context.trials, sampler=sampler)
    return samplers.ask(sampler, study, _placeholder_trial(), names)


def _placeholder_trial() -> FrozenTrial:
    """A trial to sample for before it is stored.

    Its number belongs to no trial: TPE excludes the trial of that number from what it learns, and
    after a lost attempt the trial with the slot's ordinal as its number is another one.
    """
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def _train(attempt: RunningAttempt) -> dict[str, Any]:
    """Trains an attempt; returns the columns of its outcome."""
    context = attempt.context
    try:
        result = train(
            attempt.config,
            context.data,
            attempt.claim.training_seed,
            threads=context.threads,
            device=context.device,
            on_evaluation=attempt.on_evaluation,
            on_block=attempt.on_block,
            resume=attempt.resume,
        )
    except TrialEnded as ended:
        outcome = "pruned" if isinstance(ended, TrialPruned) else "failed"
        return _measured(attempt) | {"outcome": outcome, "reason": ended.reason}
    except Diverged:
        return _measured(attempt) | {"outcome": "pruned", "reason": "diverged"}
    except SearchError:
        raise
    except Exception as error:  # one trial's error must not end the study
        if is_out_of_memory(error):
            return _measured(attempt) | {"outcome": "pruned", "reason": "out of memory"}
        log.exception("trial %d: lost by an error", attempt.trial.number)
        return _measured(attempt) | {"outcome": "failed", "reason": attempts.ERROR}
    try:
        return _measured(attempt) | _completed(attempt, result)
    except TrialLost as lost:
        return _measured(attempt) | {"outcome": "failed", "reason": lost.reason}


def _measured(attempt: RunningAttempt) -> dict[str, Any]:
    best = min(attempt.curve, key=lambda each: each.dev_loss, default=None)
    return {
        "dev_loss": best.dev_loss if best else None,
        "dev_loss_unseen": best.dev_loss_unseen if best else None,
        "seconds": attempt.curve[-1].seconds if attempt.curve else None,
        "examples": attempt.curve[-1].examples if attempt.curve else 0,
        "parameters": parameters_of(attempt.config, len(attempt.context.data.vocabulary)),
        "curve": finite([[e.examples, e.dev_loss, e.seconds, e.train_loss] for e in attempt.curve]),
        "audited": attempt.audited,
    }


def _completed(attempt: RunningAttempt, result: TrialResult) -> dict[str, Any]:
    return {
        "outcome": "complete",
        "reason": "patience" if result.stopped_early else None,
        "final_dev_loss": result.final_dev_loss,
        "train_loss": finite(result.train_loss),
        "seconds": result.train_seconds,
        "examples": result.examples,
        "checkpoint_sha256": _save_checkpoint(attempt, result),
    }


def _save_checkpoint(attempt: RunningAttempt, result: TrialResult) -> str | None:
    """Saves the model if it is among the best; returns its hash, for the database."""
    context = attempt.context
    if not retention.is_worth_keeping(context.storage, context.study, result.dev_loss):
        return None
    path = context.data_dir.checkpoint(context.study.uid, attempt.trial.number)
    number = attempt.trial.number
    about = {"study": context.study.name, "trial": number, "dev_loss": result.dev_loss}

    def save() -> str:
        sha256 = checkpoint.save(path, result.model, about)
        context.files.upload(path)
        return sha256

    def meanwhile() -> None:
        if context.interrupted():
            raise TrialLost(attempts.INTERRUPTED)
        leases.heartbeat(context.storage, context.study, context.worker_id)

    return retry_files(save, meanwhile)


def _record_outcome(
    context: WorkerContext, claim: Claim, attempt: RunningAttempt | None, values: dict[str, Any]
) -> str:
    """Records the outcome, and deletes files that are no longer needed; returns the outcome."""
    outcome, reason = values["outcome"], values["reason"]
    trial_id, losses = (attempt.trial.trial_id, attempt.unreported) if attempt else (None, {})
    try:
        attempts.finish_attempt(
            context.storage, context.study, claim.attempt_id, trial_id, losses, **values
        )
    except TrialLost as lost:
        log.warning("slot %d: its outcome came too late (%s)", claim.ordinal, lost.reason)
        outcome, reason = "failed", lost.reason
        if lost.reason == attempts.INTERRUPTED:  # the study was closed: it is still to be ended
            ended = {"outcome": outcome, "reason": reason}
            attempts.finish_attempt(
                context.storage, context.study, claim.attempt_id, trial_id, losses, **ended
            )
    log.info("slot %d: %s%s", claim.ordinal, outcome, f" ({reason})" if reason else "")
    if outcome != "failed":
        Snapshots(context.storage, context.study, context.data_dir, claim).delete()
    if outcome == "complete":
        retention.delete_unneeded(context.storage, context.study, context.files)
        retention.delete_stale_temporaries(context.data_dir.checkpoints(context.study.uid))
    return outcome if reason != attempts.ERROR else attempts.ERROR


def claim_slot(context: WorkerContext) -> Claim | NoClaim:
    """Claims the next slot for this worker, or returns why there is none."""
    return claims.claim(
        context.storage, context.study, context.worker_id, context.attempt_columns()
    )
