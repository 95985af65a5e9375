"""What only a database server has: passwords, connections that break, and a limit to them."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from servers import new_database
from sqlalchemy import NullPool, create_engine, func, make_url, select, text
from workspace import Workspace, wait_until

from search.errors import StorageUnavailable
from search.storage import optuna_writer
from search.storage.connections import MAX_CONNECTIONS
from search.storage.database import Storage, create_storage, open_storage

SECRET = secrets.token_hex(8)  # of this process alone: others beside it may tell theirs
PASSWORD = SECRET + "{}%41"
ROLE = "keeper"


@pytest.fixture(scope="session")
def locked_server(postgresql_server: Any) -> Any:
    """The server, with a role that needs a password."""
    rules = Path(postgresql_server.pgdata) / "pg_hba.conf"
    rules.write_text(f"local all {ROLE} scram-sha-256\n" + rules.read_text())
    execute(new_database(postgresql_server), f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
    execute(new_database(postgresql_server), "SELECT pg_reload_conf()")
    return postgresql_server


def execute(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture
def locked(locked_server: Any) -> str:
    """The URL of a database of that role, without its password."""
    url = make_url(new_database(locked_server))
    told = url.render_as_string(hide_password=False)
    execute(told, f'ALTER DATABASE "{url.database}" OWNER TO {ROLE}')
    return url._replace(username=ROLE, password=None).render_as_string()


def in_the_environment(url: str, root: Path) -> tuple[str, dict[str, str]]:
    return url, {"PGPASSWORD": PASSWORD}


def in_a_password_file(url: str, root: Path) -> tuple[str, dict[str, str]]:
    file = root / "passwords"
    file.write_text(f"*:*:*:{ROLE}:{PASSWORD}\n")
    file.chmod(0o600)
    return url, {"PGPASSFILE": str(file)}


def in_a_service_file(url: str, root: Path) -> tuple[str, dict[str, str]]:
    parts = make_url(url)
    lines = [f"host={parts.query['host']}", f"dbname={parts.database}", f"user={ROLE}"]
    file = root / "services"
    file.write_text("\n".join(["[studies]", *lines, f"password={PASSWORD}", ""]))
    return "postgresql+psycopg:///?service=studies", {"PGSERVICEFILE": str(file)}


@pytest.mark.parametrize("kept", [in_the_environment, in_a_password_file, in_a_service_file])
def test_the_password_need_not_stand_in_the_url(
    kept: Callable[[str, Path], tuple[str, dict[str, str]]],
    locked: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment, a password file or a service file holds it; what is told of it does not."""
    with pytest.raises(StorageUnavailable) as caught:
        create_storage(locked)
    assert "password" in str(caught.value)
    url, environment = kept(locked, tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    storage = create_storage(url)
    with storage.read() as connection:
        assert ROLE == connection.execute(select(func.current_user())).scalar_one()
    assert PASSWORD not in storage.redacted_url
    storage.close()


def test_a_password_is_not_passed_on(bed: Workspace, locked: str) -> None:
    """One that stands in the URL reaches no list of processes, no log and no answer."""
    url = make_url(locked).set(password=PASSWORD).render_as_string(hide_password=False)
    command = [sys.executable, "-m", "search", "run", str(bed.file(budget={"trials": 2}))]
    run = subprocess.Popen(
        [*command, "--workers", "1", "--json", "--data-dir", str(bed.data_dir.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MAKEMORE_SEARCH_STORAGE": url},
    )
    commands: set[str] = set()
    wait_until(lambda: commands.update(_commands()) or run.poll() is not None, timeout=120)
    out, err = run.communicate()
    assert 0 == run.returncode, err
    written = [path for path in bed.data_dir.root.rglob("*") if path.is_file()]
    assert any("search.launch.fork_server" in each for each in commands)
    for told in (out, err, *commands, *(path.read_text("latin-1") for path in written)):
        assert SECRET not in told


def _commands() -> Iterator[str]:
    """The command line of every process of this machine, as any user may see it."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_text(errors="replace")
        except OSError:  # it has ended
            continue


@pytest.fixture
def storage(postgresql_server: Any) -> Iterator[Storage]:
    url = new_database(postgresql_server)
    create_storage(url).close()
    opened = open_storage(url)
    yield opened
    opened.close()


def test_a_connection_that_broke_is_replaced_before_it_is_used(storage: Storage) -> None:
    """The server ends every connection of the pool; the next read does not notice."""
    with storage.read() as connection:
        before = connection.execute(select(func.pg_backend_pid())).scalar_one()
    url = storage.url.render_as_string(hide_password=False)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    execute(url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    with storage.read() as connection:
        assert before != connection.execute(select(func.pg_backend_pid())).scalar_one()


def test_a_process_holds_few_connections(storage: Storage) -> None:
    """However many threads ask at once: a server has a hundred for everybody."""

    def read() -> None:
        with storage.read() as connection:
            connection.execute(select(func.pg_sleep(0.5)))

    threads = [threading.Thread(target=read) for _ in range(2 * MAX_CONNECTIONS)]
    most = 0
    # Clients at work: a server counts a connection for a while after its end, and its own vacuum.
    others = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
    clients = f"FROM pg_stat_activity WHERE {others} AND backend_type = 'client backend'"
    count = text(f"SELECT count(*) {clients}")
    engine = create_engine(storage.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, connection.execute(count).scalar_one())
    assert 2 <= most <= MAX_CONNECTIONS


def test_a_report_of_a_trial_that_has_ended_is_noticed(storage: Storage) -> None:
    """One loss or several: what was not stored is not taken for stored."""
    study_id = storage.optuna.create_new_study([StudyDirection.MINIMIZE], "reports")
    trial_id = storage.optuna.create_new_trial(study_id)

    def report(losses: dict[int, float]) -> bool:
        with storage.write() as connection:
            return optuna_writer.upsert_reports(storage, connection, trial_id, losses)

    assert report({1: 2.5})
    assert report({1: 2.5, 2: 2.25})
    storage.optuna.set_trial_state_values(trial_id, TrialState.FAIL)
    assert not report({3: 2.0})
    assert not report({3: 2.0, 4: 1.5})
    assert {1: 2.5, 2: 2.25} == storage.optuna.get_trial(trial_id).intermediate_values
