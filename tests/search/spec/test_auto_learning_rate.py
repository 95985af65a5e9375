"""`learning_rate = "auto"`, and what must hold between hyperparameters."""

from typing import Any

import pytest
from workspace import Workspace, tiny

from makemore_core.data.dataset import Dataset
from makemore_core.lecture.lr_range import lr_range
from search.errors import Drift, StudyFileError
from search.spec import auto_learning_rate
from search.spec.search_space import RangeDimension
from search.spec.study_spec import from_document
from search.study import study

AUTO: dict[str, Any] = {"learning_rate": "auto", "optimizer": "adamw"}


def mistakes(**sections: Any) -> dict[str, str]:
    """What is wrong with a tiny study, by key."""
    with pytest.raises(StudyFileError) as caught:
        from_document(tiny(**sections), "study.toml")
    return {each.key: each.problem for each in caught.value.mistakes}


def stored_range(bed: Workspace, **sections: Any) -> RangeDimension:
    found = bed.create(**sections).spec.space["learning_rate"]
    assert isinstance(found, RangeDimension)
    return found


def test_the_range_is_a_decade_about_the_suggestion(bed: Workspace) -> None:
    """Of the range test in the middle of the space, on the study's own training split."""
    stored = bed.create(search=AUTO)
    found = stored.spec.space["learning_rate"]
    middle = auto_learning_rate.middle(stored.spec)
    assert (5, 32, 64) == (middle.embedding_size, middle.hidden_width, middle.batch_size)
    data = Dataset.from_corpus(study.corpus_of(bed.storage, stored, bed.data_dir), 42)
    suggested = lr_range(middle, data, 1).suggested
    assert isinstance(found, RangeDimension)
    assert (found.low, found.high) == pytest.approx((suggested / 10**0.5, suggested * 10**0.5), 0.1)
    assert found.to_document() == {"low": found.low, "high": found.high, "log": True, "auto": True}


def test_going_on_measures_nothing_again(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored range is taken over; every trial's learning rate lies in it."""
    path = bed.file(search=AUTO)
    stored = bed.create(path)
    found = stored.spec.space["learning_rate"]
    monkeypatch.setattr(
        auto_learning_rate, "resolve_auto", lambda *_: pytest.fail("measured again")
    )
    assert bed.create(path).spec == stored.spec
    bed.work(stored)
    assert all(found.contains(trial.config["learning_rate"]) for trial in bed.trials(stored))
    assert 12 == len(bed.trials(stored))


def test_a_range_by_hand_is_not_taken_for_it(bed: Workspace) -> None:
    """Nor the other way round: either is another definition."""
    by_hand = {"learning_rate": {"low": 0.01, "high": 0.1, "log": True}, "optimizer": "adamw"}
    bed.create(search=by_hand)
    with pytest.raises(Drift, match=r"search.learning_rate is \{.*\} in the storage and 'auto'"):
        bed.create(search=AUTO)
    bed.create(study={"name": "other"}, search=AUTO)
    with pytest.raises(Drift, match=r"search.learning_rate"):
        bed.create(study={"name": "other"}, search=by_hand)


def test_an_enqueued_rate_widens_the_range(bed: Workspace) -> None:
    """It was asked for, so it is tried, and stands within its space."""
    found = stored_range(bed, search=AUTO, enqueue=[{"learning_rate": 1e-5}])
    assert 1e-5 == found.low
    assert found.high > 1e-3


def test_auto_needs_one_optimizer() -> None:
    """And is a word for no other hyperparameter."""
    several = mistakes(search={"learning_rate": "auto", "optimizer": ["adamw", "sgd"]})
    assert "one optimizer" in several["search.learning_rate"]
    assert "'auto' is not a whole number" in mistakes(search={"batch_size": "auto"}).values()


def test_preview_shows_the_range(bed: Workspace) -> None:
    """Measured, not stored."""
    shown = bed.json("preview", bed.file(search=AUTO))["space"]["learning_rate"]
    assert shown["auto"] is True
    assert shown["low"] < shown["high"]


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"search": {"hidden_width": [0, 16]}}, "search.hidden_width"),
        (
            {"search": {"hidden_width": {"low": 0, "high": 9}, "direct": [True, False]}},
            "search.hidden_width",
        ),
        ({"search": {"hidden_width": 16}, "enqueue": [{"hidden_width": 0}]},
         "enqueue.0.hidden_width"),
        ({"search": {"schedule": "linear", "step_factor": 0},
          "enqueue": [{"hidden_width": 16}, {"schedule": "inverse"}]}, "enqueue.1.step_factor"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense_together(sections: dict[str, Any], key: str) -> None:
    """Are found when the file is read, not by a worker."""
    assert key in mistakes(**sections)


def test_no_hidden_layer_where_there_are_direct_connections() -> None:
    """Is a choice like any other."""
    document = tiny(search={"hidden_width": [0, 16], "direct": True})
    assert [0, 16] == from_document(document, "study.toml").space["hidden_width"].to_document()
