"""Short queries of Optuna's tables: which trial, whose, and what it reported.

`optuna_reader` reads whole trials, `optuna_writer` writes them.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from optuna.trial import TrialState
from sqlalchemy import Connection, and_, func, select
from sqlalchemy.sql import ColumnElement

from search.storage import optuna_studies, tables
from search.storage.optuna_tables import optuna_intermediate_values as reports
from search.storage.optuna_tables import optuna_trials as trials
from search.storage.optuna_tables import optuna_user_attributes as user_attributes


class Report(NamedTuple):
    """A trial and one of its reports; `resource` and `loss` are None where it has none."""

    trial_id: int
    state: TrialState
    resource: int | None
    loss: float | None


def trial_id_of(connection: Connection, study_id: int, number: int) -> int | None:
    """Optuna's id of a trial; None if it does not exist, or another program deleted it."""
    query = select(trials.c.trial_id).where(
        trials.c.study_id == study_id, trials.c.number == number
    )
    return connection.execute(query).scalar()


def study_of_trial(connection: Connection, trial_id: int) -> int | None:
    """Optuna's id of the study that a trial belongs to."""
    query = select(trials.c.study_id).where(trials.c.trial_id == trial_id)
    return connection.execute(query).scalar()


def reports_of(connection: Connection, trial_id: int | None) -> list[tuple[int, float]]:
    """What a trial reported so far: (resource, loss), in this order."""
    query = (
        select(reports.c.step, reports.c.intermediate_value)
        .where(reports.c.trial_id == trial_id)
        .order_by(reports.c.step)
    )
    return [(step, loss) for step, loss in connection.execute(query)]


def losses_of(connection: Connection, trial_id: int | None) -> Sequence[float]:
    """The losses that a trial reported."""
    query = select(reports.c.intermediate_value).where(reports.c.trial_id == trial_id)
    return connection.execute(query).scalars().all()


def reports_after(
    connection: Connection, study_id: int, study_uid: str, trial_id: int
) -> list[Report]:
    """The reports of every later trial of a study of ours, in the order of the trials."""
    query = (
        select(trials.c.trial_id, trials.c.state, reports.c.step, reports.c.intermediate_value)
        .join_from(trials, reports, reports.c.trial_id == trials.c.trial_id, isouter=True)
        .where(
            trials.c.study_id == study_id,
            trials.c.trial_id > trial_id,
            is_of_study(study_uid),
        )
        .order_by(trials.c.trial_id)
    )
    return [Report(*row) for row in connection.execute(query)]


def last_reports_of_running(connection: Connection, study_id: int) -> dict[int, tuple[int, float]]:
    """The last report of each running trial of a study, by its number: (resource, loss)."""
    reported = reports_of_running(connection, study_id)
    return {number: curve[-1] for number, curve in reported.items()}


def reports_of_running(connection: Connection, study_id: int) -> dict[int, list[tuple[int, float]]]:
    """What each running trial of a study has reported, by its number: (resource, loss)."""
    query = (
        select(trials.c.number, reports.c.step, reports.c.intermediate_value)
        .join_from(trials, reports, reports.c.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING)
        .order_by(reports.c.step)
    )
    found: dict[int, list[tuple[int, float]]] = {}
    for number, step, loss in connection.execute(query):
        found.setdefault(number, []).append((step, loss))
    return found


def count_reports(connection: Connection, study_uid: str, host: str | None) -> int:
    """The number of reports of a study's trials that workers of a host, or of any, made."""
    attempts, workers, studies = tables.attempts, tables.workers, tables.studies
    query = (
        select(func.count())
        .select_from(studies)
        .join(attempts, attempts.c.study_uid == studies.c.uid)
        .join(workers, workers.c.id == attempts.c.worker_id)
        .join(
            trials,
            and_(
                trials.c.study_id == optuna_studies.bound_id(),
                trials.c.number == attempts.c.trial,
            ),
        )
        .join(reports, reports.c.trial_id == trials.c.trial_id)
        .where(studies.c.uid == study_uid)
    )
    if host is not None:
        query = query.where(workers.c.host == host)
    return connection.execute(query).scalar_one()


def count_foreign_trials(connection: Connection, study_id: int, study_uid: str) -> int:
    """The number of trials that other programs added to a study of ours."""
    query = select(func.count()).where(trials.c.study_id == study_id, ~is_of_study(study_uid))
    return connection.execute(query).scalar_one()


def attributes(connection: Connection, study_id: int, key: str) -> dict[int, Any]:
    """A user attribute of a study's trials, by number, of those that have it."""
    query = (
        select(trials.c.number, user_attributes.c.value_json)
        .join_from(user_attributes, trials, user_attributes.c.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study_id, user_attributes.c.key == key)
    )
    return {number: json.loads(text) for number, text in connection.execute(query)}


def is_of_study(study_uid: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a trial is an attempt of a study of ours, by its number."""
    attempts = tables.attempts
    return (
        select(attempts.c.id)
        .where(attempts.c.study_uid == study_uid, attempts.c.trial == trials.c.number)
        .exists()
    )
