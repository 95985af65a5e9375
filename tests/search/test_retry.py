"""Which storage errors are waited for: told by their codes, whatever language they are in."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import InternalError, OperationalError

from search import retry
from search.errors import StorageLost
from search.retry import retry_storage


class ServerError(psycopg.OperationalError):
    """An error as the driver raises it, with the server's own SQLSTATE."""

    def __init__(self, sqlstate: str | None, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)


def tries_until_given_up(error: Exception) -> int:
    """How often a call is made that fails with an error twice; 1 if that is not waited for."""
    calls = []

    @retry_storage
    def call() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise error

    try:
        call()
    except StorageLost:
        assert 1 == len(calls)
    return len(calls)


def wrapped_by_optuna(error: Exception) -> Exception:
    outer = StorageInternalError("An exception is raised during the commit.")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize("by_optuna", [False, True])
@pytest.mark.parametrize(
    ("tries", "sqlstate", "message"),
    [
        (1, "3D000", "Datenbank »studien« existiert nicht"),
        (1, "28P01", "authentification par mot de passe échouée pour l'utilisateur"),
        (1, "25006", "UPDATE kann nicht in einer Read-Only-Transaktion ausgeführt werden"),
        (3, "57P01", "Verbindung wird abgebrochen aufgrund von Anweisung des Administrators"),
        (3, "53100", "konnte Datei nicht erweitern: kein Platz, Verzeichnis does not exist"),
        (3, None, "connection refused"),
        (1, None, 'FATAL:  database "studies" does not exist'),
        (1, None, 'FATAL:  password authentication failed for user "ann"'),
    ],
)
def test_postgresql_tells_by_its_sqlstate(
    tries: int, sqlstate: str | None, message: str, by_optuna: bool
) -> None:
    """The words count only where the driver has no SQLSTATE, which is while it connects."""
    error: Exception = OperationalError("SELECT 1", {}, ServerError(sqlstate, message))
    assert tries == tries_until_given_up(wrapped_by_optuna(error) if by_optuna else error)


def test_sqlite_tells_by_its_result_code(tmp_path: Path) -> None:
    """A file that is no database, and one that is read-only; a lock is waited for."""
    other, readonly = tmp_path / "other", tmp_path / "readonly"
    other.write_text("no database" * 100)
    with closing(sqlite3.connect(readonly)) as connection:
        connection.execute("CREATE TABLE t (x)")
    failures = {
        str(other): "SELECT * FROM t",
        f"file:{readonly}?mode=ro": "INSERT INTO t VALUES (1)",
    }
    for place, statement in failures.items():
        with (
            closing(sqlite3.connect(place, uri=True)) as connection,
            pytest.raises(sqlite3.DatabaseError) as raised,
        ):
            connection.execute(statement)
        raised.value.args = ("dans une autre langue",)
        assert 1 == tries_until_given_up(InternalError(statement, {}, raised.value))
    with closing(sqlite3.connect(readonly)) as holder, closing(sqlite3.connect(readonly)) as waiter:
        holder.execute("BEGIN EXCLUSIVE")
        waiter.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError) as raised_locked:
            waiter.execute("SELECT * FROM t")
    assert 3 == tries_until_given_up(OperationalError("SELECT", {}, raised_locked.value))
