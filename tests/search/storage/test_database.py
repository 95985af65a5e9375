"""Storage: made whole or not at all, refused in one line, opened by many at once."""

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Table, inspect, select, update
from workspace import Workspace, ended, run_python, tree

from search.errors import StorageUnavailable
from search.storage import optuna_tables, sqlite_files, tables
from search.storage.database import create_storage, open_storage
from search.storage.rows import AttemptRow, OpeningRow, SlotRow, TableRow, TrialRow
from search.storage.urls import parse_url, redacted_url

CREATORS = """
import os, sys
from search.storage.database import create_storage

for _ in range(8):
    if os.fork() == 0:
        storage = create_storage(sys.argv[1])
        with storage.read() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM makemore_schema").scalar()
        os._exit(0 if found == 1 else 1)
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(8)])
"""
"""Imports once, then is eight processes."""
LINKLESS = """
import os

def refused(*_):
    raise OSError(1, "Operation not permitted")

os.link = refused
"""


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def test_a_new_database_holds_both_schemas_and_nothing_beside_it(tmp_path: Path) -> None:
    """Creating one leaves one file, with Optuna's tables and ours."""
    path = tmp_path / "deep" / "down" / "studies.db"
    storage = create_storage(url_of(path))
    names = set(inspect(storage.engine).get_table_names())
    storage.close()
    assert {"studies", "trials", *tables.metadata.tables} <= names
    assert {"deep", "deep/down", "deep/down/studies.db"} == tree(tmp_path)


@pytest.mark.sqlite_file
def test_creating_one_that_exists_changes_nothing(finished: Workspace) -> None:
    """What is there stays there."""
    before = finished.data_dir.database.read_bytes()
    create_storage(finished.url).close()
    assert before == finished.data_dir.database.read_bytes()


def test_eight_processes_create_one_database_at_once(tmp_path: Path) -> None:
    """All succeed, all see one whole schema, and no temporary file is left."""
    path = tmp_path / "new" / "studies.db"
    answer = ended(run_python(CREATORS, url_of(path)))
    assert f"{[0] * 8}\n" == answer.out, answer.err
    assert {"new", "new/studies.db"} == tree(tmp_path)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV])
def test_no_hard_links_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whatever a file system says of a link, a database is made as elsewhere; the first stays."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    linked, path = tmp_path / "linked" / "studies.db", tmp_path / "new" / "studies.db"
    create_storage(url_of(linked)).close()
    monkeypatch.setattr(os, "link", refused)
    create_storage(url_of(path)).close()
    assert {"studies.db"} == tree(path.parent)
    assert dump(linked) == dump(path)
    sqlite_files.put_in_place(linked, path)
    assert dump(linked) == dump(path)


@pytest.mark.parametrize("is_there", [False, True])
def test_without_links_one_of_many_creates(tmp_path: Path, is_there: bool) -> None:
    """Also into an empty file, such as one that `touch` made, or that a killed process left."""
    path = tmp_path / "studies.db"
    if is_there:
        path.touch()
    done = ended(run_python(LINKLESS + CREATORS, url_of(path)))
    assert str([0] * 8) == done.out.strip(), done.err
    assert {"studies.db"} == tree(tmp_path)


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sorted(connection.iterdump())


def test_where_files_cannot_be_locked_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, where SQLite itself would wait for a lock that nobody holds; nothing is left."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    create_storage(url_of(tmp_path / "there" / "studies.db")).close()
    before = tree(tmp_path / "there")
    monkeypatch.setattr(fcntl, "lockf", unsupported)
    for name in ("new", "there"):
        with pytest.raises(StorageUnavailable, match=r"cannot be locked \(No locks available\)"):
            create_storage(url_of(tmp_path / name / "studies.db"))
    assert before == tree(tmp_path / "there")
    assert not (tmp_path / "new").exists()


def test_opening_creates_nothing(tmp_path: Path) -> None:
    """A database that does not exist is not made by looking at it."""
    with pytest.raises(StorageUnavailable, match="no such database"):
        open_storage(url_of(tmp_path / "none" / "studies.db"))
    assert set() == tree(tmp_path)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 99)


def directory(path: Path) -> None:
    path.mkdir()


def somebody_elses(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE moz_places (url TEXT)")
    connection.close()


def newer(path: Path) -> None:
    storage = create_storage(url_of(path))
    with storage.write() as connection:
        connection.execute(update(tables.schema).values(version=tables.SCHEMA_VERSION + 1))
    storage.close()


def newer_optuna(path: Path) -> None:
    storage = create_storage(url_of(path))
    storage.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    connection.close()


def truncated(path: Path) -> None:
    create_storage(url_of(path)).close()
    path.write_bytes(path.read_bytes()[:5_000])


@pytest.mark.parametrize(
    "spoil", [garbage, directory, somebody_elses, newer, newer_optuna, truncated]
)
def test_a_database_that_cannot_be_used_is_refused_and_left_alone(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    """Opened or created upon, it is refused in one line that names it, and not a byte changes."""
    path = tmp_path / "studies.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    for attempt in (open_storage, create_storage):
        with pytest.raises(StorageUnavailable) as caught:
            attempt(url_of(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else b"")
    assert {"studies.db"} == tree(tmp_path)


def test_our_tables_join_an_optuna_database(tmp_path: Path) -> None:
    """A database that Optuna made is taken as it is: its studies stay, our tables come beside."""
    path = tmp_path / "optuna.db"
    optuna.create_study(study_name="theirs", storage=url_of(path))
    storage = create_storage(url_of(path))
    assert ["theirs"] == [each.study_name for each in storage.optuna.get_all_studies()]
    storage.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense", "sqlite:///PATH"),
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("mysql+pymysql://u:s3cret@h/d", ""),
        ("mssql://u:s3cret@h/d", ""),
        ("postgresql+nosuchdriver://u:s3cret@h/d", ""),
        ("://u:s3cret@h/d", ""),
        ("", ""),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, expected: str) -> None:
    """One line says what is wrong; a password never stands in it."""
    with pytest.raises(StorageUnavailable) as caught:
        create_storage(url)
    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreachable_server_is_told_without_the_password() -> None:
    """A PostgreSQL that does not answer: one line, host and all, but no password."""
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://user:s3cret{}@127.0.0.1:9/none?connect_timeout=2"
    for attempt in (open_storage, create_storage):
        with pytest.raises(StorageUnavailable) as caught:
            attempt(url)
        assert "s3cret" not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_url_is_told_without_its_password() -> None:
    """What is shown of a storage hides the password, also one that stands among the options."""
    for raw in ("user:s3cret@host/name", "host/name?password=s3cret&sslpassword=s3cret&port=5"):
        told = redacted_url(parse_url(f"postgresql+psycopg://{raw}"))
        assert "s3cret" not in told
        assert "host/name" in told


def test_the_clock_is_the_databases(bed: Workspace) -> None:
    """Times are seconds since 1970, finer than a second, and never run backwards."""
    with bed.storage.read() as connection:
        times = [connection.execute(select(bed.storage.now())).scalar_one() for _ in range(9)]
    assert sorted(times) == times
    assert 1.7e9 < times[0] < 1e11


def test_optunas_tables_are_as_optuna_defines_them(bed: Workspace) -> None:
    """Each table that is read or written by SQL: its columns, and which of them may be null."""
    found = inspect(bed.storage.engine)
    known = [value for value in vars(optuna_tables).values() if isinstance(value, Table)]
    assert 8 == len(known)
    for table in known:
        expected = {column.name: column.nullable for column in table.c}
        columns = {each["name"]: each["nullable"] for each in found.get_columns(table.name)}
        assert expected == columns, table.name


@pytest.mark.parametrize("version", ["4.5.0", "5.1.0", "6.0.0"])
def test_another_optuna_is_refused(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """One that stores trials otherwise, whatever its schema's version says: one line, status 2."""
    assert bed.storage is not None
    monkeypatch.setattr("optuna.__version__", version)
    answer = bed.cli("status")
    assert 2 == answer.status
    assert version in answer.complaint and "pip install" in answer.complaint


def test_another_schema_of_optunas_is_refused(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is looked at as well as the version of the package."""
    assert bed.storage is not None
    monkeypatch.setattr("optuna.storages._rdb.models.SCHEMA_VERSION", 13)
    assert 2 == bed.cli("status").status


@pytest.fixture
def held_in_wal(finished: Workspace) -> Iterator[sqlite3.Connection]:
    """A connection of another program, which keeps the database in WAL mode."""
    with contextlib.closing(sqlite3.connect(finished.data_dir.database)) as other:
        assert ("wal",) == other.execute("PRAGMA journal_mode = WAL").fetchone()
        other.execute("SELECT count(*) FROM trials").fetchone()
        yield other


@pytest.mark.sqlite_file
def test_a_database_that_is_held_open_in_wal_mode(
    finished: Workspace, held_in_wal: sqlite3.Connection
) -> None:
    """Every verb works beside whoever holds it: those that look, that add trials, that delete."""
    finished.close()
    for verb in ("status", "trials", "best", "stop"):
        assert 0 == finished.cli(verb, *(() if verb == "status" else ("tiny",))).status
    stored = finished.create(budget={"trials": 14})
    finished.work(stored)
    assert 14 == finished.json("status", "tiny")["budget"]["finished"]
    assert ("wal",) == held_in_wal.execute("PRAGMA journal_mode").fetchone()
    finished.close()
    assert 0 == finished.cli("delete", "tiny", "--yes").status
    assert 0 == held_in_wal.execute("SELECT count(*) FROM trials").fetchone()[0]


@pytest.mark.sqlite_file
def test_wal_mode_ends_with_whoever_wanted_it(
    finished: Workspace, held_in_wal: sqlite3.Connection
) -> None:
    """Once nobody else holds the database, it is in the journal mode that survives everything."""
    held_in_wal.close()
    assert 0 == finished.cli("status").status
    with contextlib.closing(sqlite3.connect(finished.data_dir.database)) as looked:
        assert ("delete",) == looked.execute("PRAGMA journal_mode").fetchone()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (tables.attempts, AttemptRow),
        (tables.attempts, TrialRow),
        (tables.slots, SlotRow),
        (tables.openings, OpeningRow),
    ],
)
def test_typed_rows_have_the_columns_of_their_tables(table: Table, row: type[TableRow]) -> None:
    """Each column is a field of the row."""
    assert {column.name for column in table.c} == {field.name for field in fields(row)}
