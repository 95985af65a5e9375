"""What is checked of a database, and of Optuna, before it is used."""

import os
from pathlib import Path

import optuna
from optuna.storages._rdb import models
from sqlalchemy import (
    inspect,
    text,
    update,
)
from sqlalchemy.engine import URL

from search.errors import StorageUnavailable
from search.storage import tables
from search.storage.connections import _probe_engine

OPTUNA_VERSION = "5.0"


OPTUNA_SCHEMA = 12
"""The Optuna whose tables are read and written here by SQL; a test holds each row against it."""


def check_optuna_version() -> None:
    """Raises StorageUnavailable unless Optuna stores trials as `trial_rows` and `quick_trials` do.

    The version counts as well as the schema's: Optuna 5 has the schema of Optuna 4, and another
    meaning of its times.
    """
    known = optuna.__version__.split(".")[:2] == OPTUNA_VERSION.split(".")
    if not known or models.SCHEMA_VERSION != OPTUNA_SCHEMA:
        raise StorageUnavailable(
            f"optuna {optuna.__version__}: stores trials in a way that this program does not know; "
            f"pip install 'optuna=={OPTUNA_VERSION}.*'"
        )


def _check_foreign_tables(url: URL, path: Path | None, told: str) -> None:
    """A file with tables of another program; an empty one, or Optuna's, may hold ours as well."""
    names = inspect(_probe_engine(url)).get_table_names()
    if path is not None and names and "version_info" not in names:
        raise StorageUnavailable(
            f"storage {told}: holds tables of another program ({names[0]}); give another file"
        )


def _check_integrity(url: URL, told: str) -> None:
    with _probe_engine(url).connect() as connection:
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if found != "ok":
        raise StorageUnavailable(
            f"storage {told}: is damaged ({' '.join(found.split())[:100]}); restore it from a copy"
        )


def _check_writable(url: URL, path: Path | None, told: str) -> None:
    """Changes nothing, but goes as far as a change that is then taken back."""
    if path is not None and not os.access(path, os.W_OK):
        raise StorageUnavailable(f"storage {told}: is read-only; make it writable")
    with _probe_engine(url).connect() as connection:
        connection.execute(update(tables.schema).values(version=tables.schema.c.version))
        connection.rollback()
