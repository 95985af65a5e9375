"""How an attempt ended: what it measured, the model that is kept, the record of its outcome."""

import logging
from typing import Any

from makemore_core.model import checkpoint
from makemore_core.model.network import parameters_of
from makemore_core.training.trainer import TrialResult
from search.errors import TrialLost
from search.finite import finite
from search.retry import retry_files
from search.trials import attempts, leases, retention
from search.trials.claims import Claim
from search.worker.context import WorkerContext
from search.worker.running_attempt import RunningAttempt
from search.worker.snapshots import Snapshots

log = logging.getLogger(__name__)


def measured(attempt: RunningAttempt) -> dict[str, Any]:
    """Returns the columns that every trained attempt has, however it ended."""
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


def completed(attempt: RunningAttempt, result: TrialResult) -> dict[str, Any]:
    """Saves the model of an attempt that was trained to its end; returns its columns."""
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


def record_outcome(
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
