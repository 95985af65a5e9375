"""A trial's life in Optuna's tables: it is made, it reports, it ends. Each is a few statements.

Optuna's own storage makes an object of every row and a transaction of every step; here a step is
part of whatever transaction it belongs to, so that a trial and its attempt are made together, and
end together. A test holds each row against the one that Optuna writes.
"""

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import TrialState
from sqlalchemy import (
    Connection,
    Select,
    Update,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.expression import Executable

from search.storage import optuna_tables
from search.storage.database import Storage


@dataclass(frozen=True)
class TrialKey:
    """A trial: Optuna's id, unique in the storage, and its number within the study."""

    trial_id: int
    number: int


def utc_now() -> datetime:
    """The time as Optuna 5 stores it: UTC, without saying so; it converts on reading."""
    return datetime.now(UTC).replace(tzinfo=None)


def insert_trial(
    connection: Connection,
    study_id: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    at_least: int = 0,
) -> TrialKey:
    """Adds a running trial; its number is the next one of the study.

    Args:
        at_least: the lowest number that it may have; those below are taken, although another
            program may have deleted their trials.
    """
    of_study = {"study": study_id}
    connection.execute(_locked_study(), of_study)  # as Optuna does: of two, one counts the other
    number = max(connection.execute(_next_number(), of_study).scalar_one(), at_least)
    values = {"study_id": study_id, "number": number, "datetime_start": utc_now()}
    trial_id = connection.execute(_insertion(), values).scalar_one()
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(distributions[name]),
        }
        for name, value in params.items()
    ]
    if rows:
        connection.execute(insert(optuna_tables.optuna_params), rows)
    return TrialKey(trial_id, number)


@functools.cache
def _locked_study() -> Select[Any]:
    studies = optuna_tables.optuna_studies
    query = select(studies.c.study_id).where(studies.c.study_id == bindparam("study"))
    return query.with_for_update()


@functools.cache
def _next_number() -> Select[Any]:
    """It reads every trial, since Optuna has no index of numbers: 1 ms for ten thousand."""
    trials = optuna_tables.optuna_trials
    number = func.coalesce(func.max(trials.c.number) + 1, 0)
    return select(number).where(trials.c.study_id == bindparam("study"))


@functools.cache
def _insertion() -> ReturningInsert[Any]:
    trials = optuna_tables.optuna_trials
    return insert(trials).values(state=TrialState.RUNNING).returning(trials.c.trial_id)


def upsert_reports(
    storage: Storage, connection: Connection, trial_id: int, losses: Mapping[int, float]
) -> bool:
    """Adds dev losses (finite) by resource, or replaces them; False if the trial has ended."""
    if not losses:
        return True
    rows = [{"id": trial_id, "at": at, "loss": loss} for at, loss in losses.items()]
    return bool(connection.execute(_report(storage.engine.dialect.name), rows).rowcount)


@functools.cache
def _report(dialect: str) -> Executable:
    """One report of a running trial; built once, since building it takes as long as running it."""
    reports, trials = optuna_tables.optuna_intermediate_values, optuna_tables.optuna_trials
    kind = literal(optuna_tables.FINITE_REPORT, reports.c.intermediate_value_type.type)
    row = select(trials.c.trial_id, bindparam("at"), bindparam("loss"), kind).where(
        trials.c.trial_id == bindparam("id"), trials.c.state == TrialState.RUNNING
    )
    upsert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    columns = ["trial_id", "step", "intermediate_value", "intermediate_value_type"]
    statement = upsert(reports).from_select(columns, row)
    return statement.on_conflict_do_update(
        index_elements=["trial_id", "step"],
        set_={name: statement.excluded[name] for name in columns[2:]},
    ).execution_options(preserve_rowcount=True)  # which psycopg would have forgotten of an insert


def finish_trial(
    storage: Storage,
    connection: Connection,
    trial_id: int,
    state: TrialState,
    value: float | None,
    attributes: Mapping[str, Any],
) -> None:
    """Ends a trial that is still running, with its value if it has one, and user attributes."""
    ended = {"id": trial_id, "state": state, "datetime_complete": utc_now()}
    if not connection.execute(_end(), ended).rowcount:
        return
    if value is not None:
        connection.execute(
            insert(optuna_tables.optuna_values).values(
                trial_id=trial_id, objective=0, value=value, value_type=optuna_tables.FINITE_VALUE
            )
        )
    set_attributes(storage, connection, trial_id, attributes)


@functools.cache
def _end() -> Update:
    trials = optuna_tables.optuna_trials
    is_running = (trials.c.trial_id == bindparam("id")) & (trials.c.state == TrialState.RUNNING)
    return update(trials).where(is_running)


def set_attributes(
    storage: Storage, connection: Connection, trial_id: int, attributes: Mapping[str, Any]
) -> None:
    """Adds user attributes to a trial, or replaces them, whether it has ended or not."""
    rows = [{"id": trial_id, "name": k, "json": json.dumps(v)} for k, v in attributes.items()]
    if rows:
        connection.execute(_set_attribute(storage.engine.dialect.name), rows)


@functools.cache
def _set_attribute(dialect: str) -> Executable:
    """One user attribute of a trial; built once."""
    upsert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement = upsert(optuna_tables.optuna_user_attributes).values(
        trial_id=bindparam("id"), key=bindparam("name"), value_json=bindparam("json")
    )
    return statement.on_conflict_do_update(
        index_elements=["trial_id", "key"], set_={"value_json": statement.excluded.value_json}
    )


def drop_attributes(connection: Connection, trial_id: int, names: Collection[str]) -> None:
    """Removes user attributes of a trial, where it has them."""
    attributes = optuna_tables.optuna_user_attributes
    connection.execute(
        delete(attributes).where(attributes.c.trial_id == trial_id, attributes.c.key.in_(names))
    )
