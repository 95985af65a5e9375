"""Our own tables, from one version to the next."""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import optuna
import pytest
from servers import new_database
from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    NullPool,
    create_engine,
    inspect,
    select,
    text,
    update,
)
from workspace import ended, run_python

from search.errors import StorageUnavailable
from search.storage import migrations, tables
from search.storage.database import create_storage, open_storage
from search.storage.migrations import migrate
from search.study.study import by_uid
from search.trials import history, working_time

OPENERS = """
import os, sys
from search.storage.database import open_storage

for _ in range(4):
    if os.fork() == 0:
        open_storage(sys.argv[1]).close()
        os._exit(0)
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)])
"""
"""Imports once, then is four processes."""

CAUSES = {
    "makemore_workers": ("launch_id", "launcher_host", "launcher_pid", "end_cause", "log"),
    "makemore_attempts": ("inherited",),
    "makemore_slots": ("expirations",),
}
"""What versions 8 and 11 added to tables that were there."""


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Engine]:
    """A database whose tables have version 1."""
    yield from made_old(f"sqlite:///{tmp_path}/studies.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def old_of_either_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """As `old`, of SQLite and of PostgreSQL."""
    if request.param == "sqlite":
        yield from made_old(f"sqlite:///{tmp_path}/studies.db")
    else:
        yield from made_old(new_database(request.getfixturevalue("postgresql_server")))


def made_old(url: str) -> Iterator[Engine]:
    create_storage(url).close()
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for index in ("loss", "outcome"):
            connection.execute(text(f"DROP INDEX makemore_attempts_by_{index}"))
        for table in ("services", "sessions", "tokens", "changes", "uploads", "jobs", "outbox"):
            connection.execute(text(f"DROP TABLE makemore_{table}"))
        connection.execute(text("DROP TABLE makemore_ensembles"))
        connection.execute(text("DROP TABLE makemore_corpora"))
        for column in ("artifacts", "moved_to", "worked_seconds", "worked_until"):
            connection.execute(text(f"ALTER TABLE makemore_studies DROP COLUMN {column}"))
        for table, columns in CAUSES.items():
            for column in columns:
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        connection.execute(text("ALTER TABLE makemore_attempts DROP COLUMN worked_seconds"))
        connection.execute(update(tables.schema).values(version=1))
    yield engine
    engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def add_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE makemore_studies ADD COLUMN colour TEXT"))


def fill_column(connection: Connection) -> None:
    connection.execute(text("UPDATE makemore_studies SET colour = 'blue'"))


def half_a_step(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE makemore_studies ADD COLUMN shape TEXT"))
    raise RuntimeError("power cut")


def version(engine: Engine) -> int:
    with engine.connect() as connection:
        found: int = connection.execute(select(tables.schema.c.version)).scalar_one()
        return found


def columns(engine: Engine) -> set[str]:
    return {column["name"] for column in inspect(engine).get_columns("makemore_studies")}


def test_there_is_a_step_to_every_version() -> None:
    """The program's own steps end at the version that its tables have."""
    assert tables.SCHEMA_VERSION == 1 + len(migrations.MIGRATIONS)


def test_steps_are_taken_in_order(old: Engine) -> None:
    """Each once; a second opening finds nothing to do."""
    assert 3 == migrate(old, [add_column, fill_column])
    assert 3 == migrate(old, [add_column, fill_column])
    assert "colour" in columns(old)


def test_a_step_is_taken_whole_or_not_at_all(old: Engine) -> None:
    """One that breaks off leaves the version before it, and can be taken again."""
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(old, [add_column, half_a_step])
    assert 2 == version(old)
    assert "shape" not in columns(old)
    assert 3 == migrate(old, [add_column, fill_column])


def test_tables_of_a_newer_program_are_left_as_they_are(old: Engine) -> None:
    """Their version is told, so that they can be refused."""
    with old.begin() as connection:
        connection.execute(update(tables.schema).values(version=7))
    assert 7 == migrate(old, [add_column])
    assert "colour" not in columns(old)


def test_a_current_database_opens(tmp_path: Path) -> None:
    """What `create_storage` makes needs no step."""
    url = f"sqlite:///{tmp_path}/studies.db"
    create_storage(url).close()
    open_storage(url).close()
    assert tables.SCHEMA_VERSION == version(create_engine(url, poolclass=NullPool))


def test_a_migrated_database_is_as_a_new_one(old_of_either_kind: Engine) -> None:
    """The program's own steps make what `tables.py` describes, on either database."""
    open_storage(url_of(old_of_either_kind)).close()
    assert tables.SCHEMA_VERSION == version(old_of_either_kind)
    for table in tables.metadata.sorted_tables:
        assert described(table.columns) == found(old_of_either_kind, table.name)


def test_what_an_older_program_uses_stays(old: Engine) -> None:
    """No step takes a table or a column away, or adds one that must be filled: a job or a worker
    that began before the upgrade goes on."""
    for count in range(1, len(migrations.MIGRATIONS) + 1):
        before = everything(old)
        migrate(old, migrations.MIGRATIONS[:count])
        after = everything(old)
        for table, columns in before.items():
            assert columns.items() <= after[table].items(), (count, table)
            added = [after[table][name] for name in after[table].keys() - columns.keys()]
            assert all(may_be_left_out for may_be_left_out, *_ in added), (count, table)


def everything(engine: Engine) -> dict[str, dict[str, tuple[bool, str]]]:
    """Of each column of each table: whether it may be left out, and its type."""
    inspector = inspect(engine)
    return {
        table: {
            each["name"]: (each["nullable"] or each["default"] is not None, str(each["type"]))
            for each in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
    }


Described = dict[str, tuple[type, bool, bool]]
"""Of each column: its type, whether it may be null, whether it is a key."""


def described(columns: Any) -> Described:
    return {c.name: (c.type.python_type, c.nullable, c.primary_key) for c in columns}


def found(engine: Engine, name: str) -> Described:
    inspector = inspect(engine)
    keys = inspector.get_pk_constraint(name)["constrained_columns"]
    return {
        c["name"]: (c["type"].python_type, c["nullable"], c["name"] in keys)
        for c in inspector.get_columns(name)
    }


def test_several_processes_migrate_at_once(old_of_either_kind: Engine) -> None:
    """Each finds the tables of its own version, whoever made them."""
    assert "[0, 0, 0, 0]\n" == ended(run_python(OPENERS, url_of(old_of_either_kind))).out
    assert tables.SCHEMA_VERSION == version(old_of_either_kind)


# Version 7: times in UTC

IN_NEW_YORK = Path(__file__).parent / "data" / "version_5_in_new_york.sql"
OLD_TRIALS = [f"2026-11-26 05:04:{second}" for second in ("43.004327", "43.040894", "43.060891")]
"""When the first trials of its study `old` began, by the clock on the wall; made in UTC - 5."""


@pytest.fixture
def in_new_york(tmp_path: Path) -> str:
    """The URL of a database that older code wrote in New York."""
    with contextlib.closing(sqlite3.connect(tmp_path / "studies.db")) as connection:
        connection.executescript(IN_NEW_YORK.read_text(encoding="utf-8"))
    return f"sqlite:///{tmp_path}/studies.db"


def starts(url: str, name: str) -> list[str]:
    """When the trials of a study began, as Optuna tells it here."""
    return [str(t.datetime_start) for t in optuna.load_study(study_name=name, storage=url).trials]


def raw_times(url: str) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return connection.execute("SELECT datetime_start, datetime_complete FROM trials").fetchall()


@pytest.mark.parametrize("zone", ["America/New_York"], indirect=True)
def test_local_times_of_older_code_become_utc(
    in_new_york: str, zone: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Our trials are then shown as the clock showed them; those of Optuna's own tools stay; one
    line says so, and the zone. A second opening changes nothing."""
    theirs = starts(in_new_york, "theirs")
    open_storage(in_new_york).close()
    migrated = raw_times(in_new_york)
    assert OLD_TRIALS == starts(in_new_york, "old")[:3]
    assert theirs == starts(in_new_york, "theirs")
    assert all("2026-11-26 10:04:4" in time for times in migrated for time in times), migrated
    open_storage(in_new_york).close()
    assert migrated == raw_times(in_new_york)
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "4 trials" in said and zone in said


@pytest.mark.parametrize("zone", ["UTC"], indirect=True)
def test_times_of_older_code_in_utc_stay(
    in_new_york: str, zone: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where local time is UTC, nothing is changed and nothing said."""
    before = raw_times(in_new_york)
    open_storage(in_new_york).close()
    assert before == raw_times(in_new_york)
    assert [] == [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("zone", ["America/New_York"], indirect=True)
def test_the_hour_that_comes_twice(zone: str) -> None:
    """When clocks are set back, what is known of the attempt tells which of the two it was; where
    nothing is known it is the first. A time that was in UTC already stays."""
    twice = datetime(2026, 11, 1, 1, 30)
    first, second = datetime(2026, 11, 1, 5, 30), datetime(2026, 11, 1, 6, 30)
    for utc in (first, second):
        known = utc.replace(tzinfo=UTC).timestamp() - 4.0
        assert utc == migrations.in_utc(twice, known)
        assert utc == migrations.in_utc(utc, known)
    assert first == migrations.in_utc(twice, None)
    assert datetime(2026, 7, 1, 16) == migrations.in_utc(datetime(2026, 7, 1, 12), None)
    assert None is migrations.in_utc(None, None)


@pytest.mark.parametrize("zone", ["America/New_York"], indirect=True)
def test_nobody_migrates_times_under_a_worker_that_writes_them(in_new_york: str, zone: str) -> None:
    """A worker of the older version would go on in local time: one line names it."""
    with contextlib.closing(sqlite3.connect(in_new_york.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE makemore_workers SET ended_at = NULL, seen_at = ?", [time()])
        connection.commit()
    with pytest.raises(StorageUnavailable, match="on host"):
        open_storage(in_new_york)
    assert OLD_TRIALS[0] == raw_times(in_new_york)[0][0]


@pytest.mark.parametrize("zone", ["America/New_York"], indirect=True)
def test_times_become_utc_on_postgresql_too(postgresql_server: Any, zone: str) -> None:
    """As on SQLite, whose times are text."""
    url = new_database(postgresql_server)
    create_storage(url).close()
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for table in ("studies", "makemore_studies", "trials", "makemore_attempts"):
            known = MetaData()
            known.reflect(engine, only=[table])
            connection.execute(known.tables[table].insert().values(**ROWS[table]))
        migrations.times_in_utc(connection)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT datetime_start, datetime_complete FROM trials"))
        assert (datetime(2026, 11, 1, 6, 30), None) == found.one()
    engine.dispose()


ROWS: dict[str, dict[str, Any]] = {
    "studies": {"study_id": 1, "study_name": "old"},
    "makemore_studies": {
        "uid": "u",
        "name": "old",
        "optuna_id": 1,
        "document": {},
        "corpus_name": "words",
        "fingerprint": "f",
        "created_at": 0.0,
    },
    "trials": {
        "trial_id": 1,
        "number": 0,
        "study_id": 1,
        "state": "RUNNING",
        "datetime_start": datetime(2026, 11, 1, 1, 30),
    },
    "makemore_attempts": {
        "id": 1,
        "study_uid": "u",
        "ordinal": 0,
        "worker_id": "w",
        "trial": 0,
        "training_seed": 1,
        "threads": 1,
        "device": "cpu",
        "versions": {},
        "started_at": datetime(2026, 11, 1, 6, 30, tzinfo=UTC).timestamp(),
    },
}
"""A trial under way, begun in the second of the two hours that New York's clocks showed twice."""


# Version 9: working time


def test_the_working_time_of_older_databases_stays(in_new_york: str) -> None:
    """It is the union of the times at which workers were seen; each attempt that ended has its
    place in it."""
    with contextlib.closing(sqlite3.connect(in_new_york.removeprefix("sqlite:///"))) as connection:
        [(uid, start, end)] = connection.execute(
            "SELECT study_uid, started_at, ended_at FROM makemore_workers"
        ).fetchall()
        connection.executemany(
            "INSERT INTO makemore_workers VALUES (?, ?, 'host', 1, ?, ?, ?)",
            [
                ("overlaps", uid, start - 50.0, end - 0.01, start + 0.01),
                ("within", uid, start - 40.0, start - 30.0, start - 30.0),
                ("killed", uid, start - 500.0, start - 400.0, None),
            ],
        )
        connection.commit()
    storage = open_storage(in_new_york)
    with storage.read() as connection:
        seconds = working_time.elapsed_seconds(connection, uid)
    assert 150.0 + (end - start) == pytest.approx(seconds, abs=1e-4)
    ended = [each.worked_seconds for each in history.attempts(storage, by_uid(storage, uid))]
    assert sorted(ended) == ended and 150.0 < ended[0] <= ended[-1] <= seconds
    storage.close()


def test_spans_that_do_not_overlap_add_up() -> None:
    """Two runs with a pause between them count as their own lengths."""
    spans = [(0.0, 10.0), (100.0, 110.0)]
    moments = (0.0, 5.0, 10.0, 60.0, 105.0, 999.0)
    counted = [migrations.worked_before(spans, moment) for moment in moments]
    assert [0.0, 5.0, 10.0, 10.0, 15.0, 20.0] == counted
