"""A study that other programs got at, through Optuna, its dashboard or SQL: every verb copes."""

from collections.abc import Callable

import optuna
import pytest
from optuna_dashboard import wsgi
from sqlalchemy import text
from workspace import Workspace
from wsgi import Client

from search.errors import Refused

LOOKING = (("status", "tiny"), ("status",), ("trials", "tiny"), ("best", "tiny"))


def look(bed: Workspace) -> dict[str, object]:
    """What each verb that looks says of the study."""
    bed.close()
    return {" ".join(verb): _look_with(bed, *verb) for verb in LOOKING}


def report(bed: Workspace) -> None:
    """Has the report written, which tells the time as well: it is not compared."""
    _look_with(bed, "report", "tiny", "-o", bed.root / "report.html")


def _look_with(bed: Workspace, *verb: object) -> object:
    answer = bed.cli(*verb, "--json")
    assert 0 == answer.status, answer.err
    assert "Traceback" not in answer.err
    return answer.json


def delete(bed: Workspace) -> None:
    with bed.optuna_storage() as storage:
        optuna.delete_study(study_name="tiny", storage=storage)


def delete_and_reuse_the_number(bed: Workspace) -> None:
    delete(bed)
    _add_theirs(bed, "theirs")


def delete_and_reuse_number_and_name(bed: Workspace) -> None:
    delete(bed)
    _add_theirs(bed, "tiny")


def _add_theirs(bed: Workspace, name: str) -> None:
    with bed.optuna_storage() as storage:
        theirs = optuna.create_study(study_name=name, storage=storage)
        theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1) - 9.0, n_trials=3)


def _sizes(bed: Workspace) -> dict[str, int]:
    """How many trials each study has, as Optuna tells it."""
    with bed.optuna_storage() as storage:
        found = optuna.get_all_study_summaries(storage)
    return {each.study_name: each.n_trials for each in found}


@pytest.mark.parametrize(
    "change", [delete, delete_and_reuse_the_number, delete_and_reuse_number_and_name]
)
def test_a_study_that_optuna_deleted(
    finished: Workspace, change: Callable[[Workspace], None], caplog: pytest.LogCaptureFixture
) -> None:
    """What we know of it is told as before, and nothing of another study that got its number; to go
    on is refused in one line, which says how; `delete` removes the rest, and nothing of others."""
    before = look(finished)
    change(finished)
    assert before == look(finished)
    report(finished)
    assert "another program deleted" in caplog.text
    refused = finished.cli("run", finished.root / "tiny.toml", "--trials", 14, "--workers", 1)
    assert 3 == refused.status and "delete tiny --yes" in refused.complaint
    others = _sizes(finished)
    assert 0 == finished.cli("delete", "tiny", "--yes").status
    assert [] == finished.json("status")
    assert others == _sizes(finished)


def test_a_deleted_study_begins_anew(finished: Workspace) -> None:
    """Once `delete` has removed the rest."""
    delete_and_reuse_the_number(finished)
    finished.close()
    assert 0 == finished.cli("delete", "tiny", "--yes").status
    finished.work(finished.create())
    assert 12 == finished.json("status", "tiny")["budget"]["finished"]


def rename_in_a_dashboard(bed: Workspace) -> None:
    """As somebody's own optuna-dashboard does: it copies the study, and deletes the first."""
    with bed.optuna_storage() as storage:
        client = Client(wsgi(storage))
        reply = client("POST", "/api/studies/1/rename", {"study_name": "renamed"})
    assert 201 == reply.status


def rename_by_sql(bed: Workspace) -> None:
    with bed.storage.write() as connection:
        connection.execute(text("UPDATE studies SET study_name = 'renamed'"))


def copy(bed: Workspace) -> None:
    with bed.optuna_storage() as source, bed.optuna_storage() as target:
        optuna.copy_study(
            from_study_name="tiny", to_study_name="copied", from_storage=source, to_storage=target
        )


def add_trials(bed: Workspace) -> None:
    with bed.optuna_storage() as storage:
        theirs = optuna.load_study(study_name="tiny", storage=storage)
        theirs.enqueue_trial({"hidden_width": 16})
        theirs.ask()
        theirs.add_trial(optuna.trial.create_trial(value=-9.0))
        theirs.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))


def add_attributes(bed: Workspace) -> None:
    with bed.optuna_storage() as storage:
        theirs = optuna.load_study(study_name="tiny", storage=storage)
        theirs.set_user_attr("mine", {"a": 1})
        storage.set_study_system_attr(theirs._study_id, "other:attribute", [1, 2])


def change_direction(bed: Workspace) -> None:
    with bed.storage.write() as connection:
        connection.execute(text("UPDATE study_directions SET direction = 'MAXIMIZE'"))


def add_an_objective(bed: Workspace) -> None:
    with bed.storage.write() as connection:
        connection.execute(
            text("INSERT INTO study_directions (direction, study_id, objective) VALUES (:d, 1, 1)"),
            {"d": "MAXIMIZE"},
        )


def delete_trials(bed: Workspace) -> None:
    parts = ("params", "values", "intermediate_values", "user_attributes", "system_attributes")
    with bed.storage.write() as connection:
        for part in parts:
            connection.execute(text(f"DELETE FROM trial_{part} WHERE trial_id IN (2, 5, 12)"))
        connection.execute(text("DELETE FROM trials WHERE trial_id IN (2, 5, 12)"))


def fail_trials(bed: Workspace) -> None:
    with bed.storage.write() as connection:
        connection.execute(text("UPDATE trials SET state = 'FAIL'"))


CHANGES = [
    rename_in_a_dashboard,
    rename_by_sql,
    copy,
    add_trials,
    add_attributes,
    change_direction,
    add_an_objective,
    delete_trials,
    fail_trials,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_study_that_other_programs_changed(
    finished: Workspace, change: Callable[[Workspace], None]
) -> None:
    """It is told as before, goes on to exactly its budget, and can be deleted."""
    before = look(finished)
    change(finished)
    assert before == look(finished)
    report(finished)
    stored = finished.create(budget={"trials": 16})
    finished.work(stored)
    view = finished.json("status", "tiny")
    assert (16, 16) == (view["budget"]["finished"], len(finished.json("trials", "tiny")))
    numbers = [trial.number for trial in finished.trials(stored)]
    assert len(set(numbers)) == len(numbers)
    look(finished)
    finished.close()
    assert 0 == finished.cli("delete", "tiny", "--yes").status
    assert [] == finished.json("status")


def test_added_and_renamed_is_said(finished: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each."""
    add_trials(finished)
    finished.cli("status", "tiny")
    assert "added 3 of the trials" in caplog.text
    rename_in_a_dashboard(finished)
    finished.close()
    finished.cli("status", "tiny")
    assert "renamed it to renamed" in caplog.text


def test_a_schema_that_a_newer_optuna_raised(finished: Workspace) -> None:
    """One line, status 2, for every verb."""
    with finished.storage.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.9.a'"))
    finished.close()
    for verb in (("status",), ("best", "tiny"), ("run", finished.root / "tiny.toml")):
        answer = finished.cli(*verb)
        assert 2 == answer.status and answer.complaint


def test_a_study_that_is_deleted_while_a_worker_is_at_it(bed: Workspace) -> None:
    """The worker ends with the reason; it puts nothing into a study that gets the number."""
    stored = bed.create(budget={"trials": 5})
    bed.work(bed.create(budget={"trials": 2}))
    longer = bed.create(budget={"trials": 5})
    delete_and_reuse_the_number(bed)
    with pytest.raises(Refused, match="delete tiny --yes"):
        bed.work(longer)
    assert 3 == _sizes(bed)["theirs"]
    assert stored.uid == longer.uid
