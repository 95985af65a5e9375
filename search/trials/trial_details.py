"""One trial with all that is known of it: its curve, its worker, and what that logged meanwhile."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from makemore_core.data.printable import printable
from search.formatting import iso_time
from search.paths import DataDir
from search.retry import retry_storage
from search.storage import optuna_queries, tables
from search.storage.database import Storage
from search.storage.rows import TrialRow
from search.study.study import StoredStudy
from search.system.processes import HOST
from search.trials.results import attempt_of_trial

MAX_LINES = 30
MAX_BYTES = 262_144
MAX_LOGS = 4
"""How many workers' logs are read for the latest lines of a study."""
TIME_LENGTH = len("2026-01-01 00:00:00,000")
SLACK_SECONDS = 2.0
"""A worker logs the end of a trial a moment after it has recorded it."""
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ")


@dataclass(frozen=True)
class TrialDetails:
    """One trial; `curve` has [examples, dev loss, training seconds, train loss] of each evaluation,
    of a running trial the first two."""

    number: int
    state: str
    dev_loss: float | None
    dev_loss_unseen: float | None
    train_loss: float | None
    config: Mapping[str, Any]
    seconds: float | None
    examples: int | None
    parameters: int | None
    reason: str | None
    retry_of: int | None
    training_seed: int
    threads: int
    device: str
    versions: Mapping[str, str]
    checkpoint_sha256: str | None
    started_at: str
    ended_at: str | None
    curve: Sequence[Sequence[Any]]
    worker: Mapping[str, Any] | None
    log: Sequence[str] | None
    """The last lines that its worker logged during it; None where the log is on another host."""


def trial_details(
    storage: Storage, study: StoredStudy, number: int, data_dir: DataDir
) -> TrialDetails:
    """Everything about a trial.

    Raises:
        NotFound: the study has no such trial.
    """
    row = attempt_of_trial(storage, study, number)
    worker, reports = _worker_and_reports(storage, study, row)
    fields = TrialDetails.__dataclass_fields__
    own = {name: getattr(row, name) for name in fields if hasattr(row, name)}
    return TrialDetails(
        **own
        | {
            "number": row.trial,
            "state": row.outcome or "running",
            "config": row.config or {},
            "started_at": iso_time(row.started_at),
            "ended_at": None if row.ended_at is None else iso_time(row.ended_at),
            "curve": row.curve or reports,
            "worker": worker and {"host": worker["host"], "pid": worker["pid"]},
            "log": _log(worker, row, data_dir),
        }
    )


@retry_storage
def _worker_and_reports(
    storage: Storage, study: StoredStudy, row: TrialRow
) -> tuple[Mapping[str, Any] | None, list[tuple[int, float]]]:
    w = tables.workers
    with storage.read() as connection:
        query = select(w.c.host, w.c.pid, w.c.log).where(w.c.id == row.worker_id)
        worker = connection.execute(query).mappings().first()
        trial_id = optuna_queries.trial_id_of(connection, study.optuna_id, row.trial)
        reports = [] if row.curve else optuna_queries.reports_of(connection, trial_id)
    return None if worker is None else dict(worker), reports


def _log(worker: Mapping[str, Any] | None, row: TrialRow, data_dir: DataDir) -> list[str] | None:
    if worker is None or worker["log"] is None or worker["host"] != HOST:
        return None
    path = data_dir.logs / Path(worker["log"]).name
    try:
        lines = _last_lines(path)
    except OSError:
        return None
    ended = float("inf") if row.ended_at is None else row.ended_at + SLACK_SECONDS
    during = _between(lines, row.started_at - SLACK_SECONDS, ended)
    return [printable(line) for line in during][-MAX_LINES:]


@retry_storage
def latest_log_lines(storage: Storage, study: StoredStudy, data_dir: DataDir) -> list[str]:
    """The last lines that the latest workers of a study logged, by time; only those of this host,
    since the others' logs are elsewhere."""
    w = tables.workers
    query = (
        select(w.c.log, w.c.started_at, w.c.ended_at)
        .where(w.c.study_uid == study.uid, w.c.log.is_not(None), w.c.host == HOST)
        .order_by(w.c.seen_at.desc(), w.c.id)
        .limit(MAX_LOGS)
    )
    with storage.read() as connection:
        workers = connection.execute(query).all()
    found: list[tuple[str, str]] = []
    for worker in workers:
        with contextlib.suppress(OSError):
            lines = _last_lines(data_dir.logs / Path(worker.log).name)[-MAX_LINES:]
            ended = float("inf") if worker.ended_at is None else worker.ended_at + SLACK_SECONDS
            found += _with_times(_between(lines, worker.started_at - SLACK_SECONDS, ended))
    return [printable(line) for _, line in sorted(found, key=lambda each: each[0])][-MAX_LINES:]


def _with_times(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each line with the time that it was logged at; one without belongs to the one before it."""
    time = ""
    for line in lines:
        if TIMESTAMP.match(line):
            time = line[:TIME_LENGTH]
        yield time, line


def _last_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_BYTES))
        return file.read().decode(errors="replace").splitlines()


def _between(lines: Iterable[str], start: float, end: float) -> Iterator[str]:
    """The lines that were logged within a time; one without a time belongs to the one before it."""
    is_within = False
    for line in lines:
        stamp = TIMESTAMP.match(line)
        if stamp is not None:
            moment = datetime.strptime(stamp[1], "%Y-%m-%d %H:%M:%S").timestamp()
            is_within = start <= moment <= end
        if is_within:
            yield line
