"""A study in MLflow: a run for the study, one below it for each trial that has ended, the model.

The destination is MLflow's own setting, `MLFLOW_TRACKING_URI`. A second export adds what is new:
runs are found again by the study's uid and the trial's number, which they bear as tags. What the
names of MLflow mean here:

    experiment            the study's name
    parent run            the study: its definition as parameters, its best dev loss by trial, the
                          winner's files as the artifact `winner`
    child runs            a trial: its configuration as parameters, its dev and train loss by step
    step                  training examples seen
    FINISHED, KILLED, FAILED   complete, pruned, failed
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from search.errors import BadInput
from search.evaluation import final_test
from search.evaluation.export import export_winner
from search.evaluation.export_tables import curve_of
from search.finite import is_finite
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.trials import history, results
from search.trials.history import AttemptView
from search.trials.status import status

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

STUDY_TAG, TRIAL_TAG = "makemore_search.study", "makemore_search.trial"
PARENT_TAG, NOTE_TAG = "mlflow.parentRunId", "mlflow.note.content"
MAX_METRICS, MAX_PARAMS, MAX_LENGTH = 1000, 100, 500
"""What MLflow takes in one request, and of one parameter in any of its versions."""

OUTCOMES = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class MlflowExport:
    """Where a study was exported to."""

    path: str
    """The address of the tracking server or store, without a password."""
    experiment: str
    run: str
    """The id of the study's run."""
    trials: int
    """How many trials were added; the others had been exported before."""
    files: list[str]
    """The artifacts of the study's run."""


def export_to_mlflow(storage: Storage, study: StoredStudy, data_dir: DataDir) -> MlflowExport:
    """Writes a study, its trials that have ended and its winning model to MLflow.

    Raises:
        BadInput: MLflow is not installed, or its store cannot be reached or refuses.
        CheckpointError: the winner's model is missing, or not what was recorded.
    """
    with tempfile.TemporaryDirectory() as place, _mlflow_client() as client:
        winner = Path(place) / "winner"
        has_winner = results.best(storage, study) is not None
        if has_winner:  # first: where its file is missing, nothing is exported
            export_winner(storage, study, data_dir, winner)
        run = _study_run(client, study)
        trials = _export_trials(client, run, history.attempts(storage, study))
        _record_study(client, run.info.run_id, storage, study)
        if has_winner:
            client.log_artifacts(run.info.run_id, str(winner), "winner")
        return MlflowExport(
            path=_without_password(client.tracking_uri),
            experiment=study.name,
            run=run.info.run_id,
            trials=trials,
            files=sorted(f"winner/{p.name}" for p in winner.iterdir()) if has_winner else [],
        )


@contextmanager
def _mlflow_client() -> "Iterator[MlflowClient]":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody asked for a message home
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise BadInput(
            "--to mlflow: MLflow is not installed; `pip install 'makemore-search[mlflow]'` adds it"
        ) from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        yield MlflowClient()
    except MlflowException as error:
        raise BadInput(f"--to mlflow: {_first_sentence(error)}") from None


def _first_sentence(error: Exception) -> str:
    """MLflow's messages are paragraphs, and may hold its address with a password."""
    line = " ".join(str(error).split())
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    line = line.replace(address, _without_password(address)) if address else line
    return f"{line[:300]}; MLFLOW_TRACKING_URI says where MLflow stores runs"


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _study_run(client: "MlflowClient", study: StoredStudy) -> "Run":
    """The run of the study, made at the first export."""
    experiment = client.get_experiment_by_name(study.name)
    number = experiment.experiment_id if experiment else client.create_experiment(study.name)
    found = client.search_runs([number], f"tags.`{STUDY_TAG}` = '{study.uid}'", max_results=1)
    if found:
        return found[0]
    tags = {STUDY_TAG: study.uid, NOTE_TAG: "a hyperparameter search by makemore-search"}
    run = client.create_run(number, run_name=study.name, tags=tags)
    definition = {"corpus": study.corpus_name, "corpus_sha256": study.fingerprint}
    _log(client, run.info.run_id, [], definition | study.spec.definition())
    return run


def _export_trials(client: "MlflowClient", parent: "Run", attempts: Sequence[AttemptView]) -> int:
    """Adds a run for each trial that has none; one that was left half written is replaced."""
    known = _trial_runs(client, parent)
    added = 0
    for attempt in attempts:
        before = known.get(str(attempt.trial))
        if before is not None and before.info.status in OUTCOMES.values():
            continue
        if before is not None:
            client.delete_run(before.info.run_id)
        _export_trial(client, parent, attempt)
        added += 1
    return added


def _trial_runs(client: "MlflowClient", parent: "Run") -> dict[str, "Run"]:
    runs: dict[str, Run] = {}
    token, query = None, f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'"
    while True:
        page = client.search_runs([parent.info.experiment_id], query, page_token=token)
        runs |= {run.data.tags[TRIAL_TAG]: run for run in page if TRIAL_TAG in run.data.tags}
        token = page.token
        if not token:
            return runs


def _export_trial(client: "MlflowClient", parent: "Run", attempt: AttemptView) -> None:
    start = attempt.ended_at - (attempt.seconds or 0.0)
    tags = {PARENT_TAG: parent.info.run_id, TRIAL_TAG: str(attempt.trial)}
    tags |= {"outcome": attempt.outcome, "device": attempt.device}
    tags |= {} if attempt.reason is None else {"reason": attempt.reason}
    run = client.create_run(
        parent.info.experiment_id,
        start_time=round(1000 * start),
        tags=tags,
        run_name=f"trial {attempt.trial}",
    )
    own = {"training_seed": attempt.training_seed, "threads": attempt.threads}
    _log(client, run.info.run_id, _metrics_of(attempt, start), {**attempt.config, **own})
    end = round(1000 * attempt.ended_at)
    client.set_terminated(run.info.run_id, OUTCOMES[attempt.outcome], end)


def _metrics_of(attempt: AttemptView, start: float) -> list["Metric"]:
    """The curve by examples seen, and what the trial came to at its end."""
    metrics = [
        _metric(name, row[name], start + row["seconds"], row["examples"])
        for row in curve_of(attempt)
        for name in ("dev_loss", "train_loss")
        if is_finite(row[name])
    ]
    totals = {
        "best_dev_loss": attempt.dev_loss,
        "best_dev_loss_unseen": attempt.dev_loss_unseen,
        "parameters": attempt.parameters,
        "seconds": attempt.seconds,
    }
    metrics += [
        _metric(name, value, attempt.ended_at, attempt.examples or 0)
        for name, value in totals.items()
        if value is not None and is_finite(value)
    ]
    return metrics


def _record_study(
    client: "MlflowClient", run_id: str, storage: Storage, study: StoredStudy
) -> None:
    """What is known of the study so far: metrics that MLflow has are not sent again."""
    view, best = status(storage, study), results.best(storage, study)
    wanted = [
        ("best_dev_loss", each.dev_loss, each.trial) for each in history.incumbents(storage, study)
    ]
    if best is not None and best.dev_loss_mean is not None:
        wanted.append(("confirmed_dev_loss", best.dev_loss_mean, best.trial))
    if (result := final_test.recorded_result(storage, study)) is not None:
        wanted.append(("test_loss", result.test_loss, result.trial))
    known = {
        (name, metric.value, metric.step)
        for name in {name for name, *_ in wanted}
        for metric in client.get_metric_history(run_id, name)
    }
    metrics = [_metric(name, value, 0.0, step) for name, value, step in wanted]
    _log(client, run_id, [m for m in metrics if (m.key, m.value, m.step) not in known], {})
    client.update_run(run_id, "RUNNING" if view.state == "open" else "FINISHED")


def _metric(name: str, value: float, seconds: float, step: int) -> "Metric":
    from mlflow.entities import Metric

    return Metric(name, float(value), round(1000 * seconds), step)


def _log(
    client: "MlflowClient", run_id: str, metrics: Sequence["Metric"], values: Mapping[str, Any]
) -> None:
    """Sends metrics and parameters in parts that MLflow takes."""
    from mlflow.entities import Param

    params = [Param(key, str(value)[:MAX_LENGTH]) for key, value in values.items()]
    for begin in range(0, len(metrics), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[begin : begin + MAX_METRICS])
    for begin in range(0, len(params), MAX_PARAMS):
        client.log_batch(run_id, params=params[begin : begin + MAX_PARAMS])
