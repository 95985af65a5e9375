"""Rows of our tables as frozen dataclasses: what crosses the borders of modules is typed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from sqlalchemy import Row


@dataclass(frozen=True)
class TableRow:
    """A row of a table; the fields are its columns."""

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """From a row that has at least these columns."""
        return cls(**{field.name: row._mapping[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class AttemptRow(TableRow):
    """A row of `makemore_attempts`; `tables.attempts` describes the columns."""

    id: int
    study_uid: str
    ordinal: int
    worker_id: str
    trial: int | None
    retry_of: int | None
    training_seed: int
    threads: int
    device: str
    versions: Mapping[str, str]
    config: Mapping[str, Any] | None
    started_at: float
    ended_at: float | None
    outcome: str | None
    reason: str | None
    dev_loss: float | None
    dev_loss_unseen: float | None
    final_dev_loss: float | None
    train_loss: float | None
    seconds: float | None
    worked_seconds: float | None
    examples: int | None
    parameters: int | None
    curve: list[list[Any]] | None
    audited: bool | None
    checkpoint_sha256: str | None
    inherited: int | None


@dataclass(frozen=True)
class TrialRow(AttemptRow):
    """An attempt that became a trial."""

    trial: int
    config: Mapping[str, Any]


@dataclass(frozen=True)
class SlotRow(TableRow):
    """A row of `makemore_slots`; `tables.slots` describes the columns."""

    study_uid: str
    ordinal: int
    state: str
    worker_id: str | None
    attempt_id: int
    losses: int
    expirations: int
    snapshots: list[dict[str, Any]]


@dataclass(frozen=True)
class OpeningRow(TableRow):
    """A row of `makemore_openings`; `tables.openings` describes the columns."""

    study_uid: str
    study_name: str
    fingerprint: str
    split_seed: int
    trial: int
    config: Mapping[str, Any]
    dev_loss: float
    models: list[dict[str, Any]]
    claimed_by: str
    host: str
    pid: int
    claimed_at: float
    seen_at: float
    evaluated_at: float | None
    result: dict[str, Any] | None
