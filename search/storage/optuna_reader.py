"""Optuna's trials, read by SQL in bulk: for a dashboard over ten thousand of them.

Optuna builds an object for each parameter and each report of each trial before it builds the
trial, which takes it many seconds. Here a study is read in a handful of short queries, and a trial
that has ended is read once. A test holds the outcome against what Optuna itself reads.
"""

import copy
import functools
import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Container
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Select, bindparam, select
from sqlalchemy.sql import ColumnElement

from search.retry import retry_storage
from search.storage import optuna_queries, optuna_studies, optuna_tables
from search.storage.database import Storage

TRIALS = optuna_tables.optuna_trials
TrialWithId = tuple[int, FrozenTrial]
"""A trial, and Optuna's id of it."""

MAX_CURVES = 400
MARKS = WINNER, CONFIRMED, SEEDS = ("winner", "confirmed_dev_loss", "confirmed_seeds")
"""User attributes that are set and moved after a trial's end; see `illustration.marks`."""

distribution_of: Callable[[str], BaseDistribution] = functools.lru_cache(4096)(json_to_distribution)


def read_trials(
    connection: Connection, study_id: int, first_id: int, *, only_ours: bool = False
) -> list[TrialWithId]:
    """A study's trials from an id on, by number, as Optuna's own storage gives them."""
    wanted: _Wanted = {"study": study_id, "first": first_id}
    if only_ours:
        wanted["uid"] = optuna_studies.uid_of(connection, study_id) or ""
    trials = connection.execute(_trials_query(only_ours), wanted).all()
    if not trials:
        return []
    numbers = _numbers(connection, "values", wanted, optuna_tables.value_of)
    curves = _numbers(connection, "reports", wanted, optuna_tables.report_of)
    params = _rows(connection, "params", wanted)
    user = _documents(connection, "user attributes", wanted)
    system = _documents(connection, "system attributes", wanted)
    found = []
    for row in trials:
        own = sorted(params[row.trial_id], key=lambda each: each[3])
        kinds = {name: distribution_of(text) for name, _, text, _ in own}
        trial = FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=[value for _, value in sorted(numbers[row.trial_id].items())] or None,
            datetime_start=_local_time(row.datetime_start),
            datetime_complete=_local_time(row.datetime_complete),
            params={name: kinds[name].to_external_repr(value) for name, value, _, _ in own},
            distributions=kinds,
            user_attrs=user[row.trial_id],
            system_attrs=system[row.trial_id],
            intermediate_values=curves[row.trial_id],
            trial_id=row.trial_id,
        )
        found.append((row.trial_id, trial))
    return found


_Wanted = dict[str, int | str]
"""Which trials are wanted: of a `study`, from the id `first` on; with `uid`, ours alone."""

_COLUMNS: dict[str, Any] = {
    "values": optuna_tables.optuna_values.c["objective", "value", "value_type"],
    "reports": optuna_tables.optuna_intermediate_values.c[
        "step", "intermediate_value", "intermediate_value_type"
    ],
    "params": optuna_tables.optuna_params.c[
        "param_name", "param_value", "distribution_json", "param_id"
    ],
    "user attributes": optuna_tables.optuna_user_attributes.c["key", "value_json"],
    "system attributes": optuna_tables.optuna_system_attributes.c["key", "value_json"],
}
"""What is read of each table of parts of trials."""


def _is_wanted(only_ours: bool) -> ColumnElement[bool]:
    wanted = (TRIALS.c.study_id == bindparam("study")) & (TRIALS.c.trial_id >= bindparam("first"))
    return wanted & optuna_queries.is_of_study(bindparam("uid")) if only_ours else wanted


@functools.cache
def _trials_query(only_ours: bool) -> Select[Any]:
    return select(TRIALS).where(_is_wanted(only_ours)).order_by(TRIALS.c.number)


@functools.cache
def _parts_query(part: str, only_ours: bool) -> Select[Any]:
    """A part of each wanted trial, after the trial's id."""
    source = next(iter(_COLUMNS[part])).table
    return (
        select(source.c.trial_id, *_COLUMNS[part])
        .join_from(source, TRIALS, source.c.trial_id == TRIALS.c.trial_id)
        .where(_is_wanted(only_ours))
    )


def _local_time(stored: datetime | None) -> datetime | None:
    """A stored time, which is UTC, as Optuna gives it: in this machine's zone, without a zone."""
    if stored is None:
        return None
    return stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _rows(connection: Connection, part: str, wanted: _Wanted) -> dict[int, list[tuple[Any, ...]]]:
    """The rows of a table that belong to each wanted trial, by its id."""
    query = _parts_query(part, "uid" in wanted)
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for trial_id, *row in connection.execute(query, wanted).all():
        found[trial_id].append(tuple(row))
    return found


def _numbers(
    connection: Connection,
    part: str,
    wanted: _Wanted,
    number_of: Callable[[float | None, Any], float],
) -> dict[int, dict[int, float]]:
    """(key, number, kind of number) rows as a dictionary for each trial."""
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, rows in _rows(connection, part, wanted).items():
        found[trial_id] = {
            key: number_of(value, kind) if value is None else value for key, value, kind in rows
        }
    return found


def _documents(connection: Connection, part: str, wanted: _Wanted) -> dict[int, dict[str, Any]]:
    """(key, JSON) rows as a dictionary for each trial."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, rows in _rows(connection, part, wanted).items():
        found[trial_id] = {key: json.loads(value) for key, value in rows}
    return found


def read_marks(connection: Connection, study_id: int) -> dict[int, dict[str, Any]]:
    """The attributes of a study's trials that change after their end, by the trial's id."""
    attributes = optuna_tables.optuna_user_attributes
    query = (
        select(attributes.c.trial_id, attributes.c.key, attributes.c.value_json)
        .join_from(attributes, TRIALS, attributes.c.trial_id == TRIALS.c.trial_id)
        .where(attributes.c.key.in_(MARKS), TRIALS.c.study_id == study_id)
    )
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, value in connection.execute(query):
        found[trial_id][key] = json.loads(value)
    return found


def _marked(trials: list[TrialWithId], marks: dict[int, dict[str, Any]]) -> list[TrialWithId]:
    """Trials that were read before, with their marks of now."""
    found = []
    for trial_id, trial in trials:
        then = {key: value for key, value in trial.user_attrs.items() if key in MARKS}
        now = marks.get(trial_id, {})
        if then != now:
            rest = {key: value for key, value in trial.user_attrs.items() if key not in MARKS}
            trial = copy.copy(trial)
            trial.user_attrs = rest | now
        found.append((trial_id, trial))
    return found


def _passed_on(name: str) -> Any:
    def call(self: "BulkReadStorage", *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, name)(*args, **kwargs)

    return call


class BulkReadStorage(BaseStorage):
    """Optuna's storage, with trials read in bulk; those that have ended are kept.

    Args:
        marks: whether the attributes that may change after a trial's end are read again each time;
            samplers do without.
        only_ours: whether trials that another program added are left out, and what it made of the
            study's directions.
    """

    def __init__(self, storage: Storage, *, marks: bool = False, only_ours: bool = False) -> None:
        self.inner = storage.optuna
        self._marks = marks
        self._only_ours = only_ours
        self._storage = storage
        self._kept: dict[int, list[TrialWithId]] = defaultdict(list)
        self._lock = threading.Lock()

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna's; every trial before the first that has not ended is kept."""
        with self._lock:
            before, fresh = self._read(study_id)
            ended = itertools.takewhile(lambda each: each[1].state.is_finished(), fresh)
            self._kept[study_id] = [*before, *ended]
        trials = (*before, *fresh)
        if states is None:
            chosen = [trial for _, trial in trials]
        else:
            chosen = [trial for _, trial in trials if trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    @retry_storage
    def _read(self, study_id: int) -> tuple[list[TrialWithId], list[TrialWithId]]:
        """What is kept of a study, if it is still the same study, and the rest of its trials."""
        before = self._kept[study_id]
        with self._storage.read() as connection:
            if before and not _is_there(connection, study_id, before[-1]):
                before = []  # it was deleted, and another one has got its number
            first_id = before[-1][0] + 1 if before else 0
            if before and self._marks:
                before = _marked(before, read_marks(connection, study_id))
            return before, read_trials(connection, study_id, first_id, only_ours=self._only_ours)

    def is_large(self, study_id: int) -> bool:
        """Whether a study has more trials than the dashboard can draw curves of."""
        with self._lock:
            return len(self._kept[study_id]) > MAX_CURVES

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """As Optuna's."""
        if self._only_ours:
            return [StudyDirection.MINIMIZE]
        return self.inner.get_study_directions(study_id)

    create_new_study = _passed_on("create_new_study")
    create_new_trial = _passed_on("create_new_trial")
    delete_study = _passed_on("delete_study")
    get_all_studies = _passed_on("get_all_studies")
    get_best_trial = _passed_on("get_best_trial")
    get_study_id_from_name = _passed_on("get_study_id_from_name")
    get_study_name_from_id = _passed_on("get_study_name_from_id")
    get_study_system_attrs = _passed_on("get_study_system_attrs")
    get_study_user_attrs = _passed_on("get_study_user_attrs")
    get_trial = _passed_on("get_trial")
    remove_session = _passed_on("remove_session")
    set_study_system_attr = _passed_on("set_study_system_attr")
    set_study_user_attr = _passed_on("set_study_user_attr")
    set_trial_intermediate_value = _passed_on("set_trial_intermediate_value")
    set_trial_param = _passed_on("set_trial_param")
    set_trial_state_values = _passed_on("set_trial_state_values")
    set_trial_system_attr = _passed_on("set_trial_system_attr")
    set_trial_user_attr = _passed_on("set_trial_user_attr")


class SamplingView(BulkReadStorage):
    """The storage that a sampler is given, for a trial that is not stored yet.

    TPE and GP store what they sampled with that trial. It is made with its parameters in one
    transaction later, so the note says nothing new, and is ignored.
    """

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Ignores the note."""


def _is_there(connection: Connection, study_id: int, last: TrialWithId) -> bool:
    """Whether a study still holds a trial as it was read."""
    trial_id, trial = last
    times = connection.execute(_times_of(), {"study": study_id, "trial": trial_id}).first()
    known = (trial.datetime_start, trial.datetime_complete)
    return times is not None and tuple(map(_local_time, times)) == known


@functools.cache
def _times_of() -> Select[Any]:
    return select(TRIALS.c.datetime_start, TRIALS.c.datetime_complete).where(
        TRIALS.c.study_id == bindparam("study"), TRIALS.c.trial_id == bindparam("trial")
    )
