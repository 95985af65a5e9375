"""Our own tables, from one version to the next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import ended, run_python
from servers import new_database
from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect, select, text, update

from search import migrations, tables
from search.migrations import migrate
from search.storage import create_storage, open_storage

OPENERS = """
import os, sys
from search.storage import open_storage

for _ in range(4):
    if os.fork() == 0:
        open_storage(sys.argv[1]).close()
        os._exit(0)
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)])
"""
"""Imports once, then is four processes."""


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
        connection.execute(text("DROP INDEX makemore_attempts_by_loss"))
        connection.execute(text("DROP TABLE makemore_services"))
        connection.execute(text("DROP TABLE makemore_ensembles"))
        connection.execute(text("DROP TABLE makemore_corpora"))
        for column in ("artifacts", "moved_to"):
            connection.execute(text(f"ALTER TABLE makemore_studies DROP COLUMN {column}"))
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
