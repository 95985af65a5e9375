"""The study's note, as optuna-dashboard reads it."""

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from search.dashboard.study_note import MAX_PART, changed_attributes

TEXTS = ["short", "x" * (3 * MAX_PART), "y" * MAX_PART, "", "a *b*\n" * MAX_PART]


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def write(study: optuna.Study, body: str) -> None:
    """Sets the attributes that are to be changed."""
    storage = study._storage
    present = storage.get_study_system_attrs(study._study_id)
    for key, value in changed_attributes(present, body).items():
        storage.set_study_system_attr(study._study_id, key, value)


def test_the_dashboard_reads_the_text_that_was_written_last(study: optuna.Study) -> None:
    """Whatever its length, and that of the one before it, which may be the dashboard's own."""
    for body in TEXTS:
        save_note(study, body[::-1] * 2)
        for each in (body, body[:MAX_PART]):
            write(study, each)
            assert each == get_note(study)


def test_a_note_that_has_not_changed_is_not_written(study: optuna.Study) -> None:
    """Every request of the dashboard reads its attributes, and asks for those that are newer."""
    for body in TEXTS:
        write(study, body)
        assert {} == changed_attributes(
            study._storage.get_study_system_attrs(study._study_id), body
        )
