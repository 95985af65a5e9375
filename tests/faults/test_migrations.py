"""Our own tables, from one version to the next."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, select, text, update

from search import migrations, tables
from search.migrations import migrate
from search.storage import create_storage, open_storage


@pytest.fixture
def old(tmp_path: Path) -> Engine:
    """A database whose tables have version 1."""
    create_storage(f"sqlite:///{tmp_path}/studies.db").close()
    engine = create_engine(f"sqlite:///{tmp_path}/studies.db")
    with engine.begin() as connection:
        connection.execute(update(tables.schema).values(version=1))
    return engine


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
    old.dispose()


def test_a_step_is_taken_whole_or_not_at_all(old: Engine) -> None:
    """One that breaks off leaves the version before it, and can be taken again."""
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(old, [add_column, half_a_step])
    assert 2 == version(old)
    assert "shape" not in columns(old)
    assert 3 == migrate(old, [add_column, fill_column])
    old.dispose()


def test_tables_of_a_newer_program_are_left_as_they_are(old: Engine) -> None:
    """Their version is told, so that they can be refused."""
    with old.begin() as connection:
        connection.execute(update(tables.schema).values(version=7))
    assert 7 == migrate(old, [add_column])
    assert "colour" not in columns(old)
    old.dispose()


def test_a_current_database_opens(old: Engine) -> None:
    """What `create_storage` makes needs no step."""
    open_storage(str(old.url)).close()
    assert tables.SCHEMA_VERSION == version(old)
    old.dispose()
