"""All trials of a study and their learning curves as two tables: CSV, JSON lines or Parquet.

`trials` has a row for each trial, `curves` one for each evaluation of each trial that has ended.
Every format has the same two tables with the same columns, so that a program that reads one of
them reads all; a curve within a cell would need a parser of its own in CSV.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from makemore_core.config import CHOICES, INTEGERS, RANGES, TrialConfig
from search.errors import BadInput
from search.evaluation.output_directory import output_directory
from search.finite import finite
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.trials import history, results
from search.trials.history import AttemptView
from search.trials.results import TRIAL_COLUMNS

FORMATS = ("csv", "jsonl", "parquet")

Row = Mapping[str, Any]

DETAILS = (
    "dev_loss_unseen",
    "train_loss",
    "parameters",
    "training_seed",
    "threads",
    "device",
    "worked_seconds",
    "ended_at",
    "checkpoint_sha256",
)
"""The columns of a trial that has ended, beside those of `trials --format csv`."""

CURVE_COLUMNS = ("trial", "evaluation", "examples", "dev_loss", "seconds", "train_loss")

WHOLE = {*INTEGERS, "patience", "config_examples", "number", "retry_of", "parameters"}
WHOLE |= {"training_seed", "threads", "trial", "evaluation"}
TEXTS = {*CHOICES, "state", "reason", "device", "ended_at", "checkpoint_sha256"}
FLAGS = {name for name, kind in get_type_hints(TrialConfig).items() if kind is bool}
NUMBERS = {*RANGES, *DETAILS, *CURVE_COLUMNS, *TRIAL_COLUMNS} - WHOLE - TEXTS - FLAGS


@dataclass(frozen=True)
class Table:
    """A table: its columns, in order, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Row]


def export_tables(storage: Storage, study: StoredStudy, target: Path, format: str) -> list[Path]:
    """Writes the tables of a study into a new directory, both or none; returns their paths.

    Raises:
        BadInput: the format is unknown or needs a package that is missing; the directory exists
            and is not empty, or cannot be written.
    """
    write = _writer_of(format)
    paths = []
    with output_directory(target) as directory:
        for name, table in tables_of(storage, study).items():
            write(table, directory / f"{name}.{format}")
            paths.append(target.absolute() / f"{name}.{format}")
    return paths


def tables_of(storage: Storage, study: StoredStudy) -> dict[str, Table]:
    """The tables `trials` and `curves` of a study; a trial that runs has no curve yet."""
    views = results.trials(storage, study)
    ended = {each.trial: each for each in history.attempts(storage, study)}
    shown = [ended[view.number] for view in views if view.state != "running"]
    rows = [
        {**row, **_details(ended[row["number"]] if row["state"] != "running" else None)}
        for row in results.flat_rows(views)
    ]
    curve_rows = [row for attempt in shown for row in curve_of(attempt)]
    return {
        "trials": Table([*results.flat_columns(views), *DETAILS], rows),
        "curves": Table(CURVE_COLUMNS, curve_rows),
    }


def curve_of(attempt: AttemptView) -> Iterable[dict[str, Any]]:
    """A row for each evaluation of a trial, by the number of examples seen."""
    for number, point in enumerate(attempt.curve, 1):
        examples, dev_loss, seconds, train_loss = [*point, None][:4]  # old ones have no train loss
        values = (attempt.trial, number, examples, dev_loss, seconds, train_loss)
        yield dict(zip(CURVE_COLUMNS, values, strict=True))


def _details(attempt: AttemptView | None) -> dict[str, Any]:
    if attempt is None:
        return dict.fromkeys(DETAILS)
    ended_at = datetime.fromtimestamp(attempt.ended_at, UTC)
    values = {name: getattr(attempt, name) for name in DETAILS}
    return values | {"ended_at": ended_at.isoformat(timespec="milliseconds")}


def _writer_of(format: str) -> Callable[[Table, Path], None]:
    if format not in FORMATS:
        raise BadInput(f"--format {format}: give {', '.join(FORMATS)}")
    if format == "parquet":
        return _parquet_writer()
    return _write_csv if format == "csv" else _write_json_lines


def _write_csv(table: Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, table.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.rows)


def _write_json_lines(table: Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in table.rows:
            ordered = {column: finite(row[column]) for column in table.columns}
            file.write(json.dumps(ordered, ensure_ascii=False, allow_nan=False) + "\n")


def _parquet_writer() -> Callable[[Table, Path], None]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise BadInput(
            "--format parquet: pyarrow is not installed; "
            "`pip install 'makemore-search[parquet]'` adds it, or give csv or jsonl"
        ) from None

    def write(table: Table, path: Path) -> None:
        columns = {c: [row[c] for row in table.rows] for c in table.columns}
        arrays = [arrow.array(values, _arrow_type(arrow, c)) for c, values in columns.items()]
        parquet.write_table(arrow.table(arrays, names=[*columns]), path)

    return write


def _arrow_type(arrow: Any, column: str) -> Any:
    """The type of a column, whether it has values or not; None, to infer it, where it is unknown,
    as that of a hyperparameter of another version."""
    kinds = {
        arrow.int64(): WHOLE,
        arrow.string(): TEXTS,
        arrow.bool_(): FLAGS,
        arrow.float64(): NUMBERS,
    }
    return next((kind for kind, columns in kinds.items() if column in columns), None)
