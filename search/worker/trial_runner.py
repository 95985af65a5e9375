"""Runs one attempt at a slot: claim, configuration, training, outcome."""

import logging
from dataclasses import asdict
from typing import Any

from makemore_core.errors import Diverged
from makemore_core.training.trainer import Evaluation, train
from search.algorithms.pruners import resource_at
from search.errors import FilesUnusable, SearchError, TrialEnded, TrialLost, TrialPruned
from search.spec import search_space
from search.trials import attempts, audits, claims
from search.trials.claims import Claim
from search.trials.leases import NoClaim
from search.worker.configurations import configuration
from search.worker.context import WorkerContext
from search.worker.memory_limit import is_out_of_memory
from search.worker.outcomes import completed, measured, record_outcome
from search.worker.running_attempt import RunningAttempt, planned_evaluation
from search.worker.snapshots import Snapshots

log = logging.getLogger(__name__)


def claim_slot(context: WorkerContext) -> Claim | NoClaim:
    """Claims the next slot for this worker, or returns why there is none."""
    return claims.claim(
        context.storage, context.study, context.worker_id, context.attempt_columns()
    )


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
            record_outcome(context, claim, attempt, measured(attempt) | values)
            raise
    return record_outcome(context, claim, attempt, values)


def _start_attempt(context: WorkerContext, claim: Claim) -> RunningAttempt:
    """Samples a configuration, or takes the lost attempt's, and stores the trial."""
    spec = context.study.spec
    searched, config = configuration(context, claim)
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
        {resource_at(spec.budget, planned_evaluation(spec, config, e)): e.dev_loss for e in curve},
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
        return measured(attempt) | {"outcome": outcome, "reason": ended.reason}
    except Diverged:
        return measured(attempt) | {"outcome": "pruned", "reason": "diverged"}
    except SearchError:
        raise
    except Exception as error:  # one trial's error must not end the study
        if is_out_of_memory(error):
            return measured(attempt) | {"outcome": "pruned", "reason": "out of memory"}
        log.exception("trial %d: lost by an error", attempt.trial.number)
        return measured(attempt) | {"outcome": "failed", "reason": attempts.ERROR}
    try:
        return measured(attempt) | completed(attempt, result)
    except TrialLost as lost:
        return measured(attempt) | {"outcome": "failed", "reason": lost.reason}
