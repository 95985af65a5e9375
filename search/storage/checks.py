"""Checks of a database, and of the version of Optuna, before they are used."""

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
"""The version of Optuna whose tables are read and written here by SQL; tests compare each row."""


def check_optuna_version() -> None:
    """Raises StorageUnavailable unless Optuna has the version that `optuna_writer` was written for.

    The schema's version does not suffice: Optuna 5 has the schema of Optuna 4, but stores times in
    UTC.
    """
    known = optuna.__version__.split(".")[:2] == OPTUNA_VERSION.split(".")
    if not known or models.SCHEMA_VERSION != OPTUNA_SCHEMA:
        raise StorageUnavailable(
            f"optuna {optuna.__version__}: this program was not tested with its tables; "
            f"pip install 'optuna=={OPTUNA_VERSION}.*'"
        )


def _check_foreign_tables(url: URL, path: Path | None, redacted: str) -> None:
    """Refuses a file of another program; an empty one, or Optuna's, can hold our tables too."""
    names = inspect(_probe_engine(url)).get_table_names()
    if path is not None and names and "version_info" not in names:
        raise StorageUnavailable(
            f"storage {redacted}: holds tables of another program ({names[0]}); give another file"
        )


def _check_integrity(url: URL, redacted: str) -> None:
    """Refuses a damaged SQLite file."""
    with _probe_engine(url).connect() as connection:
        outcome = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if outcome != "ok":
        raise StorageUnavailable(
            f"storage {redacted}: is damaged ({' '.join(outcome.split())[:100]}); "
            "restore it from a copy"
        )


def _check_writable(url: URL, path: Path | None, redacted: str) -> None:
    """Makes a change and rolls it back."""
    if path is not None and not os.access(path, os.W_OK):
        raise StorageUnavailable(f"storage {redacted}: is read-only; make it writable")
    with _probe_engine(url).connect() as connection:
        connection.execute(update(tables.schema).values(version=tables.schema.c.version))
        connection.rollback()
