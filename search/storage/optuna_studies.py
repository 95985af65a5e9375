"""Which of Optuna's studies is one of ours: the one that bears our uid, whatever its number.

Other programs delete, rename and copy Optuna's studies, and SQLite gives the number of a deleted
one to the next. So the uid stands in a user attribute of Optuna's study, which goes along when a
dashboard renames it (it copies the study, and deletes the first).
"""

import functools
import json
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    String,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.sql import ColumnElement

from search.storage import optuna_tables, tables
from search.storage.database import Storage

MARK = "makemore-search:study"
"""The user attribute of an Optuna study whose value is the uid of ours."""
MISSING = -1
"""Stands for the number of an Optuna study that is gone."""

_marks = optuna_tables.optuna_study_attributes


def bound_id() -> ColumnElement[int]:
    """Of a row of our studies: the number of its study in Optuna's tables, or MISSING."""
    studies = tables.studies
    of_it = (_marks.c.key == MARK) & (
        _marks.c.value_json == literal('"') + cast(studies.c.uid, String) + literal('"')
    )
    is_in_place = select(_marks.c.study_id).where(of_it, _marks.c.study_id == studies.c.optuna_id)
    elsewhere = select(func.min(_marks.c.study_id)).where(of_it).scalar_subquery()
    return case(
        (is_in_place.exists(), studies.c.optuna_id), else_=func.coalesce(elsewhere, MISSING)
    )


def uid_of(connection: Connection, optuna_id: int) -> str | None:
    """The uid of the study of ours that one of Optuna's is; None if it is another program's."""
    return connection.execute(_uid_of(), {"study": optuna_id}).scalar()


@functools.cache
def _uid_of() -> Select[Any]:
    return select(tables.studies.c.uid).where(bound_id() == bindparam("study"))


def mark(connection: Connection, optuna_id: int, uid: str) -> None:
    """Writes the uid of our study into Optuna's."""
    connection.execute(delete(_marks).where(_marks.c.study_id == optuna_id, _marks.c.key == MARK))
    connection.execute(
        insert(_marks).values(study_id=optuna_id, key=MARK, value_json=json.dumps(uid))
    )


def is_marked(connection: Connection, optuna_id: int, uid: str) -> bool:
    """Whether Optuna's study of this number still is the one of ours."""
    value = connection.execute(_mark_of(), {"study": optuna_id}).scalar()
    return bool(value == json.dumps(uid))


@functools.cache
def _mark_of() -> Select[Any]:
    is_mark = (_marks.c.study_id == bindparam("study")) & (_marks.c.key == MARK)
    return select(_marks.c.value_json).where(is_mark)


def name(storage: Storage, optuna_id: int) -> str:
    """What Optuna's study is called, which may have been renamed there."""
    return storage.optuna.get_study_name_from_id(optuna_id)


def system_attributes(storage: Storage, optuna_id: int) -> dict[str, Any]:
    """Of Optuna's study; none of one that is gone."""
    try:
        return storage.optuna.get_study_system_attrs(optuna_id)
    except KeyError:
        return {}


def set_system_attribute(storage: Storage, optuna_id: int, key: str, value: Any) -> None:
    """Of Optuna's study, unless it is gone."""
    if optuna_id != MISSING:
        storage.optuna.set_study_system_attr(optuna_id, key, value)
