"""Brings our tables from an older version to this program's, one step at a time.

Version 1 is what `tables.py` described first. A change of `tables.py` appends a step here that
makes the same change to tables that exist, spelt out: `tables.py` goes on changing, a step does
not. Optuna's tables are migrated by Optuna's own tool.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine, select, text, update

from search import tables

Migration = Callable[[Connection], None]


def _corpora_and_artifacts(connection: Connection) -> None:
    """Version 2: studies that other hosts can work on."""
    connection.execute(
        text(
            "CREATE TABLE makemore_corpora ("
            "fingerprint VARCHAR(64) NOT NULL PRIMARY KEY, words TEXT NOT NULL)"
        )
    )
    connection.execute(text("ALTER TABLE makemore_studies ADD COLUMN artifacts TEXT"))


def _ensembles(connection: Connection) -> None:
    """Version 3: ensembles that a study's file names as its winner."""
    connection.execute(
        text(
            "CREATE TABLE makemore_ensembles ("
            "study_uid VARCHAR(32) NOT NULL PRIMARY KEY"
            " REFERENCES makemore_studies (uid) ON DELETE CASCADE,"
            " most INTEGER NOT NULL, members JSON NOT NULL,"
            " dev_loss FLOAT NOT NULL, chosen_at FLOAT NOT NULL)"
        )
    )


def _attempts_by_loss(connection: Connection) -> None:
    """Version 4: the best of ten thousand trials, without a look at each."""
    connection.execute(
        text(
            "CREATE INDEX makemore_attempts_by_loss"
            " ON makemore_attempts (study_uid, outcome, dev_loss, trial)"
        )
    )


def _moved_studies(connection: Connection) -> None:
    """Version 5: a study that was moved must not be continued in two places."""
    connection.execute(text("ALTER TABLE makemore_studies ADD COLUMN moved_to TEXT"))


def _services(connection: Connection) -> None:
    """Version 6: whether anybody works on whatever is submitted."""
    connection.execute(
        text(
            "CREATE TABLE makemore_services ("
            "id VARCHAR(32) NOT NULL PRIMARY KEY, host TEXT NOT NULL,"
            " pid INTEGER NOT NULL, seen_at FLOAT NOT NULL)"
        )
    )


MIGRATIONS: Sequence[Migration] = (
    _corpora_and_artifacts,
    _ensembles,
    _attempts_by_loss,
    _moved_studies,
    _services,
)
"""The n-th leads from version n to n + 1; the last to `tables.SCHEMA_VERSION`."""


def migrate(engine: Engine, steps: Sequence[Migration] = MIGRATIONS) -> int:
    """Takes each step that is missing in a transaction of its own; returns the version then.

    Of several processes at once, each step is taken by one of them, while the others wait. Tables
    of a newer program are left as they are.
    """
    while (version := _version(engine)) <= len(steps):
        _take(engine, version, steps[version - 1])
    return version


def _version(engine: Engine) -> int:
    with engine.connect() as connection:
        version: int = connection.execute(select(tables.schema.c.version)).scalar_one()
        return version


def _take(engine: Engine, version: int, step: Migration) -> None:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        current = connection.execute(select(tables.schema.c.version).with_for_update()).scalar_one()
        if current == version:
            step(connection)
            connection.execute(update(tables.schema).values(version=version + 1))
        connection.commit()
