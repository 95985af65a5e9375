"""`move-storage`: whole and exact, or not at all; and the study goes on as if nothing had moved."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import new_database
from sqlalchemy import func, select, update
from workspace import Workspace, invoke, run_python

from search.storage import tables
from search.storage.database import create_storage, open_storage
from search.study import study
from search.trials import claims, jobs, leases, results

pytestmark = pytest.mark.sqlite_file

KILLED = """
import os, signal, sys
from search.study.move import move
from search.trials.recovery import recover_all

die = lambda done, of: done > of / 2 and os.kill(os.getpid(), 9)
move(sys.argv[1], sys.argv[2], die, recover_all)
"""


def dump(path: Path) -> list[str]:
    """Everything that a SQLite database holds, as the statements that would make it again."""
    connection = sqlite3.connect(path)
    found = list(connection.iterdump())
    connection.close()
    return found


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def names_in(url: str) -> list[str]:
    storage = open_storage(url)
    found = results.study_names(storage)
    storage.close()
    return found


@pytest.fixture
def rich(finished: Workspace) -> Workspace:
    """A study with a confirmation, a test opening and a few things that Optuna's users may add."""
    finished.json("test", "tiny", "--yes")
    stored = study.resolve(finished.storage, "tiny")
    _confirm(finished, stored)
    optuna, optuna_id = finished.storage.optuna, stored.optuna_id
    optuna.set_study_user_attr(optuna_id, "ä note\n", {"x": [1e-308, 0.1 + 0.2, None]})
    trial_id = optuna.create_new_trial(optuna_id)
    optuna.set_trial_intermediate_value(trial_id, 1, float("inf"))
    optuna.set_trial_intermediate_value(trial_id, 2, float("nan"))
    optuna.set_trial_user_attr(trial_id, "seen", "'quoted' %s :x \\")
    finished.close()
    return finished


def _confirm(bed: Workspace, stored: study.StoredStudy) -> None:
    """As if a configuration had been trained again, which takes a while."""
    key = {"study_uid": stored.uid, "trial": 1, "seed_index": 0}
    values = {"seed": 2**40, "dev_loss": 1 / 3, "seconds": 1e-3, "checkpoint_sha256": "0" * 64}
    with bed.storage.write() as connection:
        connection.execute(tables.confirmations.insert().values(**key, **values))


@pytest.mark.parametrize("stations", [1, 2])
def test_what_arrives_is_what_left(
    rich: Workspace, stations: int, postgresql_server: Any, tmp_path: Path
) -> None:
    """From SQLite to SQLite, and by way of PostgreSQL, not a character of the content changes."""
    before = dump(rich.data_dir.database)
    here, there = rich.url, url_of(tmp_path / "deep" / "there.db")
    if stations == 2:
        here = new_database(postgresql_server)
        invoke("move-storage", rich.url, here, "--quiet")
    answer = invoke("move-storage", here, there, "--json")
    assert 0 == answer.status, answer.err
    assert before == dump(tmp_path / "deep" / "there.db")
    assert {"from", "to", "studies", "rows"} == set(answer.json)
    assert 1 == answer.json["studies"]
    assert answer.json["rows"] > 12 * 9


def test_a_moved_study_goes_on_as_if_it_had_not_moved(
    bed: Workspace, finished: Workspace, postgresql_server: Any
) -> None:
    """Half of the trials here, half there: the same trials as of a study that stayed."""
    file = finished.root / "tiny.toml"
    half = bed.create(_shortened(file, bed, 6))
    bed.work(half)
    bed.close()
    there = new_database(postgresql_server)
    bed.json("move-storage", bed.url, there)
    answer = bed.cli("run", file, "--workers", 1, "--quiet", "--storage", there)
    assert 0 == answer.status, answer.err
    storage = open_storage(there)
    trials = results.trials(storage, study.resolve(storage, "tiny"))
    storage.close()
    expected = finished.trials(study.resolve(finished.storage, "tiny"))
    assert [(t.number, t.state, t.config, t.dev_loss) for t in expected] == [
        (t.number, t.state, t.config, t.dev_loss) for t in trials
    ]
    assert leases.NoClaim.STOPPED is bed.work(study.resolve(bed.storage, "tiny"))


def test_nothing_is_moved_while_a_service_works_at_a_job(
    finished: Workspace, tmp_path: Path
) -> None:
    """What it records would stay behind; a job that waits is moved with its study."""
    stored, there = study.resolve(finished.storage, "tiny"), tmp_path / "there.db"
    job = jobs.request(finished.storage, stored, "confirm", {"top": 1}, "ann", 1.0)
    claimed = jobs.claim(finished.storage, job.id)
    assert claimed is not None
    answer = finished.cli("move-storage", finished.url, url_of(there))
    assert 3 == answer.status and "works at a job" in answer.complaint
    assert not there.exists()
    jobs.release(finished.storage, claimed)
    finished.json("move-storage", finished.url, url_of(there))
    moved = open_storage(url_of(there))
    assert job.id == jobs.next_id(moved)
    moved.close()


def test_a_moved_study_goes_on_in_one_place_alone(finished: Workspace, tmp_path: Path) -> None:
    """Where it was it is only to be looked at; deleting it there leaves its models to the other."""
    there = url_of(tmp_path / "there.db")
    finished.json("move-storage", finished.url, there)
    file = finished.root / "tiny.toml"
    for words in (
        ("run", file, "--trials", 20),
        ("submit", file),
        ("worker", "tiny"),
        ("confirm", "tiny"),
        ("test", "tiny", "--yes"),
    ):
        refused = finished.cli(*words)
        assert (3, True) == (refused.status, there in refused.complaint), words
    assert 12 == finished.json("status", "tiny")["budget"]["finished"]
    finished.json("delete", "tiny", "--yes")
    assert finished.json("test", "tiny", "--yes", "--storage", there)["first_time"]


def _shortened(file: Path, bed: Workspace, trials: int) -> Path:
    path = bed.root / "short.toml"
    path.write_text(file.read_text().replace("trials = 12", f"trials = {trials}"))
    return path


def test_a_closed_study_stays_closed(finished: Workspace, postgresql_server: Any) -> None:
    """Its test opening comes along, and the answer is the recorded one."""
    first = finished.json("test", "tiny", "--yes")
    there = new_database(postgresql_server)
    finished.json("move-storage", finished.url, there)
    again = finished.json("test", "tiny", "--storage", there)
    assert first | {"first_time": False} == again
    refused = finished.cli("run", finished.root / "tiny.toml", "--trials", 20, "--storage", there)
    assert 3 == refused.status


def test_a_study_that_is_worked_on_does_not_move(finished: Workspace, tmp_path: Path) -> None:
    """Its trials would be counted twice: refused, and nothing is made."""
    stored = study.resolve(finished.storage, "tiny")
    worker = leases.register_worker(finished.storage, stored)
    refused = invoke("move-storage", finished.url, url_of(tmp_path / "there.db"))
    assert 3 == refused.status
    assert "stop tiny" in refused.complaint
    assert not (tmp_path / "there.db").exists()
    leases.end_worker(finished.storage, worker)
    assert 0 == invoke("move-storage", finished.url, url_of(tmp_path / "there.db")).status


def test_what_a_killed_worker_left_is_settled_before(bed: Workspace, tmp_path: Path) -> None:
    """A trial that was under way is waiting where it arrives."""
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    claim = {"threads": 1, "device": "cpu", "versions": {}}
    assert isinstance(claims.claim(bed.storage, stored, worker, claim), claims.Claim)
    with bed.storage.write() as connection:
        connection.execute(update(tables.workers).values(pid=2**22 + 1))
    bed.json("move-storage", bed.url, url_of(tmp_path / "there.db"))
    storage = open_storage(url_of(tmp_path / "there.db"))
    with storage.read() as connection:
        assert ["waiting"] == connection.execute(select(tables.slots.c.state)).scalars().all()
    storage.close()


def test_a_database_with_studies_takes_no_more(finished: Workspace, tmp_path: Path) -> None:
    """Another one, or itself: refused, and not a byte changes."""
    other = tmp_path / "other.db"
    invoke("move-storage", finished.url, url_of(other))
    for target in (other, finished.data_dir.database):
        before = target.read_bytes()
        refused = invoke("move-storage", finished.url, url_of(target))
        assert 2 == refused.status
        assert "is not empty" in refused.complaint
        assert before == target.read_bytes()


def test_nothing_to_move(bed: Workspace, tmp_path: Path) -> None:
    """A database that is not there, or holds no studies: refused, and nothing is made."""
    target = tmp_path / "there.db"
    missing = invoke("move-storage", url_of(tmp_path / "none.db"), url_of(target))
    assert (2, True) == (missing.status, "no such database" in missing.complaint)
    bed.storage.close()
    empty = invoke("move-storage", bed.url, url_of(target))
    assert (2, True) == (empty.status, "holds no studies" in empty.complaint)
    assert not target.exists()


def test_a_move_that_is_killed_leaves_nothing_there(
    finished: Workspace, tmp_path: Path, postgresql_server: Any
) -> None:
    """In the middle of the comparison; the same command then moves the studies."""
    for there in (url_of(tmp_path / "there.db"), new_database(postgresql_server)):
        process = run_python(KILLED, finished.url, there)
        process.communicate()
        assert -9 == process.returncode
        assert [] == names_in(there)
        assert not study.resolve(finished.storage, "tiny").stopped
        assert 0 == invoke("move-storage", finished.url, there).status
        assert ["tiny"] == names_in(there)
        _lift_stop(finished)


def _lift_stop(bed: Workspace) -> None:
    with bed.storage.write() as connection:
        connection.execute(update(tables.studies).values(stop_requested_at=None, moved_to=None))


def lose_a_row(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TRIGGER spoil AFTER INSERT ON trial_params WHEN new.param_id = 9 "
        "BEGIN DELETE FROM trial_params WHERE param_id = 9; END"
    )


def change_a_bit(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TRIGGER spoil AFTER INSERT ON makemore_attempts WHEN new.id = 3 BEGIN "
        "UPDATE makemore_attempts SET started_at = started_at + 3e-7 WHERE id = 3; END"
    )


def change_a_letter(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TRIGGER spoil AFTER INSERT ON makemore_studies BEGIN UPDATE makemore_studies "
        "SET document = replace(document, 'block_size', 'black_size'); END"
    )


@pytest.mark.parametrize("spoil", [lose_a_row, change_a_bit, change_a_letter])
def test_a_copy_that_differs_is_not_kept(
    spoil: Callable[[sqlite3.Connection], None], finished: Workspace, tmp_path: Path
) -> None:
    """A target that loses a row, the last bit of a number, or a letter within a long text."""
    target = tmp_path / "there.db"
    create_storage(url_of(target)).close()
    with sqlite3.connect(target) as connection:
        spoil(connection)
    connection.close()
    failed = invoke("move-storage", finished.url, url_of(target))
    assert (1, True) == (failed.status, "a row differs" in failed.complaint)
    storage = open_storage(url_of(target))
    with storage.read() as connection:
        assert 0 == connection.execute(select(func.count()).select_from(tables.slots)).scalar_one()
    storage.close()
    assert not study.resolve(finished.storage, "tiny").stopped
