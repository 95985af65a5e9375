"""All trials of a study as tables, and the study in MLflow."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from workspace import Workspace, tree

from search.evaluation import mlflow_export
from search.study import study
from search.trials import history


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a table in any of the formats."""
    match path.suffix:
        case ".csv":
            with path.open(newline="") as file:
                return list(csv.DictReader(file))
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
    return list(parquet.read_table(path).to_pylist())


def test_every_format_has_the_same_two_tables(finished: Workspace) -> None:
    """The columns and values of CSV, JSON lines and Parquet agree, and so do the two tables."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"trials": {}, "curves": {}}
    for format in ("csv", "jsonl", "parquet"):
        target = finished.root / format
        answer = finished.json("export", "tiny", "-o", target, "--format", format)
        assert {f"{name}.{format}" for name in found} == tree(target)
        assert [str(target / f"{name}.{format}") for name in found] == answer["files"]
        for name, by_format in found.items():
            by_format[format] = rows_of(target / f"{name}.{format}")
    for by_format in found.values():
        assert by_format["jsonl"] == by_format["parquet"]
        texts = [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in by_format["jsonl"]
        ]
        assert texts == by_format["csv"]
        assert [*texts[0]] == [*by_format["csv"][0]]
    trials, curves = found["trials"]["jsonl"], found["curves"]["jsonl"]
    assert [*range(len(trials))] == [trial["number"] for trial in trials]
    for trial in trials:
        own = [row for row in curves if row["trial"] == trial["number"]]
        assert [*range(1, len(own) + 1)] == [row["evaluation"] for row in own]
        assert trial["dev_loss"] == min(row["dev_loss"] for row in own)
        assert trial["examples"] == own[-1]["examples"]


def test_a_trial_that_was_not_measured_has_empty_cells(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is not finite is null in JSON, nan in Parquet; the types do not depend on it."""
    stored = study.resolve(finished.storage, "tiny")
    curve = [[100, 2.5, 0.1, None], [200, math.inf, 0.2, math.nan]]
    view = history.attempts(finished.storage, stored)[0]
    changed = [type(view)(**{**view.__dict__, "curve": curve, "train_loss": None})]
    everything = history.attempts
    monkeypatch.setattr(
        history, "attempts", lambda *of: [*changed, *everything(*of)[1:]], raising=True
    )
    for format, inf in (("jsonl", None), ("parquet", math.inf)):
        finished.json("export", "tiny", "-o", finished.root / format, "--format", format)
        rows = rows_of(finished.root / format / f"curves.{format}")
        own = [row for row in rows if row["trial"] == view.trial]
        assert [2.5, inf] == [row["dev_loss"] for row in own]
        assert own[0]["train_loss"] is None
    schema = parquet.read_schema(finished.root / "parquet" / "trials.parquet")
    assert "int64" == str(schema.field("retry_of").type)  # which has no value here


def test_a_study_without_trials_exports_empty_tables(bed: Workspace) -> None:
    """The columns are there, and no winner is needed."""
    bed.create()
    bed.json("export", "tiny", "-o", bed.root / "none", "--format", "parquet")
    table = parquet.read_table(bed.root / "none" / "trials.parquet")
    assert 0 == table.num_rows and "learning_rate" in table.column_names


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "give -o DIR"),
        (("--format", "csv"), "give -o DIR"),
        (("-o", "out", "--format", "xlsx"), "--format xlsx: give csv, jsonl, parquet"),
        (("--to", "wandb"), "--to wandb: give mlflow"),
        (("--to", "mlflow", "-o", "out"), "takes neither"),
    ],
)
def test_a_wrong_destination_writes_nothing(
    finished: Workspace, options: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 2, one line that says what would be right."""
    monkeypatch.chdir(finished.root)
    before = tree(finished.root)
    answer = finished.cli("export", "tiny", *options)
    assert (2, before) == (answer.status, tree(finished.root))
    assert expected in answer.complaint


@pytest.mark.parametrize(
    ("package", "options"),
    [("pyarrow", ("-o", "out", "--format", "parquet")), ("mlflow", ("--to", "mlflow"))],
)
def test_a_missing_extra_is_one_line(
    finished: Workspace,
    package: str,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit status 2, with the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(finished.root)
    answer = finished.cli("export", "tiny", *options)
    assert 2 == answer.status
    assert f"{package} is not installed".lower() in answer.complaint.lower()
    assert "pip install 'makemore-search[" in answer.complaint


# MLflow


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a file store of its own, which MLflow has only when it is asked to."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    mlflow = pytest.importorskip("mlflow")
    yield mlflow.MlflowClient()


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # what MLflow uses is not our affair
def test_a_study_becomes_runs_of_mlflow(finished: Workspace, mlflow_store: Any) -> None:
    """A parent with the model, a child for each trial with its configuration and its curve; a
    second export adds nothing, and after more trials only those."""
    answer = finished.json("export", "tiny", "--to", "mlflow")
    assert (12, 4) == (answer["trials"], len(answer["files"]))
    parent = mlflow_store.get_run(answer["run"])
    assert ("FINISHED", "1") == (parent.info.status, parent.data.params["study.seed"])
    listed = [each.path for each in mlflow_store.list_artifacts(answer["run"], "winner")]
    assert answer["files"] == sorted(listed)
    runs = mlflow_store.search_runs(
        [parent.info.experiment_id], f"tags.`{mlflow_export.PARENT_TAG}` = '{answer['run']}'"
    )
    children = {int(run.data.tags[mlflow_export.TRIAL_TAG]): run for run in runs}
    stored = study.resolve(finished.storage, "tiny")
    for attempt in history.attempts(finished.storage, stored):
        run = children.pop(attempt.trial)
        assert mlflow_export.OUTCOMES[attempt.outcome] == run.info.status
        assert str(attempt.config["learning_rate"]) == run.data.params["learning_rate"]
        curve = mlflow_store.get_metric_history(run.info.run_id, "dev_loss")
        assert [(p[0], p[1]) for p in attempt.curve] == [(m.step, m.value) for m in curve]
    assert {} == children
    assert 0 == finished.json("export", "tiny", "--to", "mlflow")["trials"]
    best = mlflow_store.get_metric_history(answer["run"], "best_dev_loss")
    assert len(history.incumbents(finished.storage, stored)) == len(best)
    finished.work(finished.create(budget={"trials": 14}))
    again = finished.json("export", "tiny", "--to", "mlflow")
    assert (2, answer["run"]) == (again["trials"], again["run"])


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_a_store_that_refuses_is_one_line(
    finished: Workspace, mlflow_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 2, without the password of the address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://me:s3cr3t@example.invalid/x")
    answer = finished.cli("export", "tiny", "--to", "mlflow")
    assert 2 == answer.status
    assert "MLFLOW_TRACKING_URI" in answer.complaint and "s3cr3t" not in answer.complaint
