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
from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
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
    studies, trials = optuna_tables.optuna_studies, optuna_tables.optuna_trials
    connection.execute(  # as Optuna does: of two at once, the second counts the first
        select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update()
    )
    number = connection.execute(
        select(func.coalesce(func.max(trials.c.number) + 1, 0)).where(trials.c.study_id == study_id)
    ).scalar_one()
    number = max(number, at_least)
    trial_id = connection.execute(
        insert(trials)
        .values(
            study_id=study_id,
            number=number,
            state=TrialState.RUNNING,
            datetime_start=utc_now(),
        )
        .returning(trials.c.trial_id)
    ).scalar_one()
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
    trials = optuna_tables.optuna_trials
    ended = connection.execute(
        update(trials)
        .where(trials.c.trial_id == trial_id, trials.c.state == TrialState.RUNNING)
        .values(state=state, datetime_complete=utc_now())
    )
    if not ended.rowcount:
        return
    if value is not None:
        connection.execute(
            insert(optuna_tables.optuna_values).values(
                trial_id=trial_id, objective=0, value=value, value_type=optuna_tables.FINITE_VALUE
            )
        )
    set_attributes(storage, connection, trial_id, attributes)


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
