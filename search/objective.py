"""The bridge: makes the trial a claim allows, trains it, reports, prunes, records how it ended."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from optuna.trial import FrozenTrial, TrialState, create_trial

from makemore_core import checkpoint
from makemore_core.config import TrialConfig
from makemore_core.contexts import Data
from makemore_core.errors import Diverged
from makemore_core.snapshot import Snapshot
from makemore_core.trainer import Evaluation, TrainingRun, TrialResult, train
from search import budget, ledger, results, retention, space
from search.budget import Claim, Standing
from search.errors import SearchError, TrialEnded, TrialLost, TrialPruned
from search.paths import DataDir
from search.pruning import Pruner, resource_at
from search.quick_trials import QuickStorage
from search.rivals import Rivals
from search.samplers import derive_seed, sampler_for
from search.shelf import Shelf, insist
from search.snapshots import Snapshots
from search.storage import Storage, patient
from search.study import StoredStudy, shelf_of
from search.study_file import StudySpec
from search.surroundings import surroundings

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0


@dataclass(frozen=True)
class Bench:
    """What one worker works with: one study, its data, and how to be interrupted."""

    storage: Storage
    study: StoredStudy
    data_dir: DataDir
    data: Data
    worker_id: str
    threads: int
    device: str
    interrupted: Callable[[], bool]
    """Whether a signal came, or the launcher has gone."""
    trials: QuickStorage
    """What a sampler learns from; for as long as the worker lives it reads each trial once."""
    rivals: Rivals
    """What a pruner compares with; likewise."""

    @property
    def shelf(self) -> Shelf:
        """The study's model files."""
        return shelf_of(self.study, self.data_dir)

    def attempt_columns(self) -> dict[str, Any]:
        """What a claim records of this worker."""
        return {"threads": self.threads, "device": self.device, "versions": surroundings()}


@dataclass
class Attempt:
    """One attempt under way."""

    bench: Bench
    claim: Claim
    config: TrialConfig
    trial_id: int
    number: int
    snapshots: Snapshots
    resume: Snapshot | None
    started: float = field(default_factory=time.monotonic)
    beaten: float = field(default_factory=time.monotonic)
    curve: list[Evaluation] = field(default_factory=list)
    audited: bool = False
    """The pruner would have stopped it."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Stores the dev loss; then asks the pruner."""
        self.curve.append(evaluation)
        spec = self.bench.study.spec
        planned = _planned(spec, self.config, evaluation)
        resource = resource_at(spec.budget, planned)
        ledger.report(self.bench.storage, self.trial_id, resource, evaluation.dev_loss)
        losses = [each.dev_loss for each in self.curve]
        pruner = Pruner(spec.pruner, spec.budget)
        if pruner.stops(self.claim.ordinal, planned, losses, self._rivals_at):
            if not self._is_audited():
                raise TrialPruned("pruner")
            self.note_audit()

    def note_audit(self) -> None:
        """Notes, at once, that the pruner would have stopped it: its retry, if it comes to that,
        has to know."""
        if not self.audited:
            ledger.record_audit(self.bench.storage, self.claim.attempt_id)
            self.audited = True

    def on_block(self, run: TrainingRun) -> None:
        """Between two blocks of steps: signals, limits, signs of life, snapshots."""
        now = time.monotonic()
        if self.bench.interrupted() or self._out_of_time(now):
            self.snapshots.save(run)
            raise TrialLost(ledger.INTERRUPTED)
        self._check_limits(now)
        if now - self.beaten >= BEAT_SECONDS:
            self.beaten = now
            ledger.beat(self.bench.storage, self.bench.study, self.bench.worker_id)
        self.snapshots.save_if_due(run)

    def _out_of_time(self, now: float) -> bool:
        remaining = self.claim.remaining_seconds
        return remaining is not None and now - self.started >= remaining

    def _check_limits(self, now: float) -> None:
        limits = self.bench.study.spec.limits
        if limits.seconds is not None and now - self.started > limits.seconds:
            raise TrialPruned("over its time limit")
        if limits.memory is not None and _resident_bytes() > limits.memory:
            raise TrialPruned("over its memory limit")

    def _rivals_at(self, resource: int) -> list[float]:
        return self.bench.rivals.losses_at(self.bench.study, resource, self.trial_id)

    def _is_audited(self) -> bool:
        """A stated share of the trials to be pruned runs on, to see what pruning costs."""
        spec = self.bench.study.spec
        draw = derive_seed(spec.study.seed, self.claim.ordinal, "audit") / 2**31
        return draw < spec.pruner.audit


def attempt(bench: Bench, claim: Claim) -> str:
    """Makes one attempt at a claimed slot and records how it ended; returns its outcome.

    Raises:
        SearchError: the storage is lost; whoever finds the attempt goes on from there.
    """
    trial_id: int | None = None
    try:
        made = _make_trial(bench, claim)
        trial_id = made.trial_id
    except SearchError:
        raise
    except TrialLost as lost:
        values = {"outcome": "failed", "reason": lost.reason}
    except Exception:  # whatever a sampler raises: the attempt is lost, the study goes on
        log.exception("slot %d: no trial could be made", claim.ordinal)
        values = {"outcome": "failed", "reason": ledger.ERROR}
    else:
        values = _train(made)
    return _finish(bench, claim, trial_id, values)


def _make_trial(bench: Bench, claim: Claim) -> Attempt:
    """Asks for a configuration, or takes the lost attempt's, and stores the trial."""
    spec = bench.study.spec
    searched, config = _configuration(bench, claim)
    snapshots = Snapshots(bench.storage, bench.study, bench.data_dir, claim)
    resume = snapshots.newest()
    curve = [] if resume is None else [Evaluation(*values) for values in resume.state["curve"]]
    template = create_trial(
        state=TrialState.RUNNING,
        params=searched,
        distributions=space.distributions(spec.search),
        system_attrs={ledger.ATTEMPT_ATTRIBUTE: claim.attempt_id},
        intermediate_values={_resource(spec, config, e): e.dev_loss for e in curve},
    )
    failures = bench.storage.failures
    trial_id, number = _create_in_storage(bench, template)
    ledger.attach_trial(bench.storage, claim.attempt_id, number, asdict(config))
    if bench.storage.failures != failures:  # Optuna tries again when it hears no answer
        ledger.disown_twins(bench.storage, bench.study, claim.attempt_id, trial_id)
    log.info("trial %d (from step %d): %s", number, resume.state["step"] if resume else 0, config)
    made = Attempt(bench, claim, config, trial_id, number, snapshots, resume, curve=curve)
    if claim.lost_attempt is not None and claim.lost_attempt.audited:
        made.note_audit()
    return made


def _planned(spec: StudySpec, config: TrialConfig, evaluation: Evaluation) -> int:
    """Which of the planned evaluations this is; some fall together where steps are few."""
    return max(1, round(evaluation.step * spec.budget.evaluations / config.steps))


def _resource(spec: StudySpec, config: TrialConfig, evaluation: Evaluation) -> int:
    return resource_at(spec.budget, _planned(spec, config, evaluation))


@patient
def _create_in_storage(bench: Bench, template: FrozenTrial) -> tuple[int, int]:
    trial_id = bench.storage.optuna.create_new_trial(bench.study.optuna_id, template)
    return trial_id, bench.storage.optuna.get_trial_number_from_id(trial_id)


@patient
def _configuration(bench: Bench, claim: Claim) -> tuple[dict[str, Any], TrialConfig]:
    """The searched values, and the whole configuration."""
    spec, lost = bench.study.spec, claim.lost_attempt
    names = space.distributions(spec.search)
    if lost is not None and lost.config is not None:
        return {name: lost.config[name] for name in names}, TrialConfig(**lost.config)
    known = dict(spec.enqueue[claim.ordinal]) if claim.ordinal < len(spec.enqueue) else {}
    searched = {name: known.pop(name) for name in names if name in known}
    if lost is not None and lost.trial is not None:  # it died before it noted its configuration
        searched = results.parameters(bench.storage, bench.study, lost.trial)
    if len(searched) < len(names):
        sampler = sampler_for(spec.sampler.kind, spec.study.seed, claim.ordinal)
        study = bench.storage.optuna_study(bench.study.name, sampler, bench.trials)
        searched = space.ask(sampler, study, _unborn(), spec.search) | searched
    config = space.configuration(
        spec.search,
        searched,
        known,
        examples=spec.budget.examples,
        evaluations=spec.budget.evaluations,
        patience=spec.early_stopping.patience,
    )
    return {name: searched[name] for name in names}, config


def _unborn() -> FrozenTrial:
    """A trial for a sampler to sample for, before it stands in the storage.

    Its number is no trial's: TPE leaves the trial of that number out of what it learns from, and
    after a lost attempt the trial with the ordinal's number is another one.
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


def _train(made: Attempt) -> dict[str, Any]:
    """Trains; returns the columns of the outcome, whatever it is."""
    bench = made.bench
    try:
        result = train(
            made.config,
            bench.data,
            made.claim.training_seed,
            threads=bench.threads,
            device=bench.device,
            on_evaluation=made.on_evaluation,
            on_block=made.on_block,
            resume=made.resume,
        )
    except TrialEnded as ended:
        outcome = "pruned" if isinstance(ended, TrialPruned) else "failed"
        return _measured(made) | {"outcome": outcome, "reason": ended.reason}
    except Diverged:
        return _measured(made) | {"outcome": "pruned", "reason": "diverged"}
    except SearchError:
        raise
    except Exception as error:  # an error of ours must not take the study down
        if _is_out_of_memory(error):
            return _measured(made) | {"outcome": "pruned", "reason": "out of memory"}
        log.exception("trial %d: lost by an error", made.number)
        return _measured(made) | {"outcome": "failed", "reason": ledger.ERROR}
    try:
        return _measured(made) | _completed(made, result)
    except TrialLost as lost:
        return _measured(made) | {"outcome": "failed", "reason": lost.reason}


def _measured(made: Attempt) -> dict[str, Any]:
    best = min(made.curve, key=lambda each: each.dev_loss, default=None)
    return {
        "dev_loss": best.dev_loss if best else None,
        "dev_loss_unseen": best.dev_loss_unseen if best else None,
        "seconds": made.curve[-1].seconds if made.curve else None,
        "examples": made.curve[-1].examples if made.curve else 0,
        "curve": [[e.examples, e.dev_loss, e.seconds, e.train_loss] for e in made.curve],
        "audited": made.audited,
    }


def _completed(made: Attempt, result: TrialResult) -> dict[str, Any]:
    return {
        "outcome": "complete",
        "reason": "patience" if result.stopped_early else None,
        "final_dev_loss": result.final_dev_loss,
        "train_loss": result.train_loss,
        "seconds": result.train_seconds,
        "examples": result.examples,
        "parameters": result.parameters,
        "checkpoint_sha256": _keep_checkpoint(made, result),
    }


def _keep_checkpoint(made: Attempt, result: TrialResult) -> str | None:
    """Saves the model if it is among the best; its hash goes into the database with the outcome."""
    bench = made.bench
    if not retention.is_worth_keeping(bench.storage, bench.study, result.dev_loss):
        return None
    path = bench.data_dir.checkpoint(bench.study.uid, made.number)
    about = {"study": bench.study.name, "trial": made.number, "dev_loss": result.dev_loss}

    def keep() -> str:
        sha256 = checkpoint.save(path, result.model, about)
        bench.shelf.put(path)
        return sha256

    def meanwhile() -> None:
        if bench.interrupted():
            raise TrialLost(ledger.INTERRUPTED)
        ledger.beat(bench.storage, bench.study, bench.worker_id)

    return insist(keep, meanwhile)


def _finish(bench: Bench, claim: Claim, trial_id: int | None, values: dict[str, Any]) -> str:
    """Records the outcome, tells Optuna, settles the slot, and tidies up."""
    outcome, reason = values["outcome"], values["reason"]
    try:
        ledger.record_outcome(bench.storage, claim.attempt_id, **values)
    except TrialLost as lost:
        log.warning("slot %d: its outcome came too late (%s)", claim.ordinal, lost.reason)
        outcome, reason = "failed", lost.reason
        if lost.reason == ledger.INTERRUPTED:  # the study was closed: the attempt is ours to end
            ledger.record_outcome(bench.storage, claim.attempt_id, outcome=outcome, reason=reason)
    ledger.settle(bench.storage, bench.study, claim.attempt_id, trial_id)
    log.info("slot %d: %s%s", claim.ordinal, outcome, f" ({reason})" if reason else "")
    if outcome != "failed":
        Snapshots(bench.storage, bench.study, bench.data_dir, claim).drop()
    if outcome == "complete":
        retention.drop_the_rest(bench.storage, bench.study, bench.shelf)
        retention.sweep(bench.data_dir.checkpoints(bench.study.uid))
    return outcome if reason != ledger.ERROR else ledger.ERROR


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def _resident_bytes() -> int:
    """What this process holds in memory now."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  read many times a second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def claim_slot(bench: Bench) -> Claim | Standing:
    """The next slot for this worker, or why there is none."""
    return budget.claim(bench.storage, bench.study, bench.worker_id, bench.attempt_columns())
