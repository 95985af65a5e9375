"""URLs of SQLite files: the options that SQLAlchemy and SQLite document pass, and no others."""

from pathlib import Path
from urllib.parse import quote

import pytest
from workspace import Workspace, invoke
from wsgi import Client

from search.dashboard import app
from search.errors import StorageUnavailable
from search.storage.database import create_storage, open_storage
from search.storage.urls import parse_url, sqlite_path

FORMS = {
    "a path": lambda path: f"sqlite:///{quote(str(path))}",
    "a URI": lambda path: f"sqlite:///file:{quote(quote(str(path)))}",
    "a URI with an empty host": lambda path: f"sqlite:///file://{quote(quote(str(path)))}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [
        "mode=rw",
        "mode=ro",
        "cache=shared",
        "immutable=1",
        "nolock=1&mode=ro",
        "timeout=5&isolation_level=IMMEDIATE&cached_statements=7&check_same_thread=false"
        "&detect_types=0",
    ],
)
def test_documented_options_pass(tmp_path: Path, form: str, options: str) -> None:
    """The same file is opened, whatever characters its name has."""
    path = tmp_path / "a b%c?d.db"
    create_storage(FORMS["a path"](path)).close()
    url = f"{FORMS[form](path)}?uri=true&{options}"
    assert path == sqlite_path(parse_url(url))
    storage = open_storage(url)
    with storage.read() as connection:
        assert 1 == connection.exec_driver_sql("SELECT count(*) FROM makemore_schema").scalar()
        wait = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    storage.close()
    assert wait == (5_000 if "timeout" in options else 60_000)
    assert [path] == [*tmp_path.iterdir()]


def test_a_database_is_made_through_a_uri(tmp_path: Path) -> None:
    """And nothing else is."""
    path = tmp_path / "a b.db"
    create_storage(f"{FORMS['a URI'](path)}?mode=rwc&uri=true").close()
    assert [path] == [*tmp_path.iterdir()]


@pytest.mark.sqlite_file
def test_a_database_opened_read_only_is_shown(finished: Workspace) -> None:
    """Over `mode=ro`: by `status`, and by the dashboard with its trials."""
    url = f"{finished.url}?mode=ro&uri=true"
    before = finished.data_dir.database.read_bytes()
    answer = invoke("status", "tiny", "--storage", url, "--data-dir", finished.data_dir.root)
    assert (0, True) == (answer.status, "tiny" in answer.out), answer.err
    storage = open_storage(url)
    client = Client(app.application(storage, finished.data_dir, app.Access()))
    assert 12 <= len(client.get("/api/studies/1").json["trials"])
    storage.close()
    assert before == finished.data_dir.database.read_bytes()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("sqlite:///d/what?now/studies.db", "%3F"),
        ("sqlite:///studies.db?now=1&uri=true", "%3F"),
        ("sqlite:///studies.db?mode=ro", "uri=true"),
        ("sqlite:///studies.db?mode=memory&uri=true", "give a file"),
        ("sqlite:///:memory:", "give a file"),
    ],
)
def test_other_options_are_refused(url: str, remedy: str) -> None:
    """In one line with a remedy: they would be ignored, or another database be opened."""
    with pytest.raises(StorageUnavailable, match=remedy) as raised:
        sqlite_path(parse_url(url))
    assert 1 == len(str(raised.value).splitlines())
