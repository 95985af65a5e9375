"""What a study would cost, and which part of its budget is likely to end it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from workspace import Workspace, some_words

from makemore_core.data.corpus import read_file
from search.algorithms.pruners import SHARE_TRAINED, SHARE_TRAINED_AFTER_OPENING
from search.spec.defaults import LATEST
from search.spec.sections import SamplerSection
from search.spec.study_spec import StudySpec, from_document
from search.study import cost_estimate
from search.study.cost_estimate import expected_fraction
from search.terminal import answers

SECONDS = 2.0
WORDS: Any = SimpleNamespace(vocabulary=".abc")
EQUAL: Any = SimpleNamespace(total=lambda first, last: float(last - first))
"""Costs of trials that all cost the same."""


@pytest.fixture(autouse=True)
def full_trials_of_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on how fast the machine is."""
    monkeypatch.setattr(cost_estimate, "warm_up", lambda: None)
    monkeypatch.setattr(cost_estimate, "_seconds_per_cost", lambda *_: SECONDS)
    monkeypatch.setattr(cost_estimate, "ExpectedCosts", lambda *_: EQUAL)


def spec(pruner: str = "none", audit: float = 0.0, **budget: Any) -> StudySpec:
    document = {
        "study": {"name": "s"},
        "budget": {"trials": 40, **budget},
        "pruner": {"kind": pruner, "audit": audit},
    }
    return from_document(document, "s.toml")


def told(of: StudySpec, workers: int = 2) -> tuple[cost_estimate.Preview, str]:
    view = cost_estimate.preview(of, WORDS, workers, 1)
    return view, answers.preview(view).splitlines()[1]


def test_all_trials_come_before_a_long_timeout() -> None:
    """40 trials of two seconds on two workers take 40 seconds."""
    view, line = told(spec(timeout="1h30m"))
    assert ("trials", 40.0, 40) == (view.ends_by, view.estimated_seconds, view.expected_trials)
    assert "all 40 trials would take about 40s, sooner than its timeout of 1h30m" in line


def test_a_short_timeout_comes_first() -> None:
    """How many trials there are likely to be then is told as well."""
    view, line = told(spec(timeout="10s"))
    assert ("timeout", 10.0, 40.0) == (
        view.ends_by,
        view.estimated_seconds,
        view.seconds_of_all_trials,
    )
    assert 10 == view.expected_trials
    assert "its timeout of 10s is likely to come first, after about 10 trials" in line


def test_a_target_may_end_it_before_either() -> None:
    """Nobody knows when, and it is not guessed."""
    assert "ends it before that" in told(spec(timeout="10s", target=2.1))[1]
    assert "target of 2.1" in told(spec(target=2.1))[1]
    assert "target" not in told(spec())[1] and "there is no timeout" in told(spec())[1]


def test_more_workers_than_trials_make_nothing_faster() -> None:
    """Three trials on 64 workers take as long as one."""
    assert SECONDS == told(spec(trials=3), workers=64)[0].estimated_seconds


def test_audited_trials_cost_what_they_cost() -> None:
    """Where all that would be pruned are audited, every trial is a full one."""
    none, half, all_of_them = (
        expected_fraction(spec("asha", audit=audit), EQUAL) for audit in (0.0, 0.5, 1.0)
    )
    assert none < half < 1.0 == all_of_them


def test_the_predictive_pruner_first_learns_from_whole_trials() -> None:
    """A study of as few trials as it needs trains them whole, a long one a third of each."""

    def fraction(trials: int, audit: float = 0.0) -> float:
        pruner = {"kind": "predictive", "audit": audit}
        document = {"study": {"name": "s"}, "budget": {"trials": trials}, "pruner": pruner}
        return expected_fraction(from_document(document, "s.toml"), EQUAL)

    assert 1.0 == fraction(3) == fraction(1000, audit=1.0)
    assert 0.25 < fraction(1000) < fraction(20) < fraction(20, audit=0.5) < 1.0


@pytest.mark.parametrize(
    ("sampler", "share"), [("bayes", SHARE_TRAINED_AFTER_OPENING), ("tpe", SHARE_TRAINED)]
)
def test_what_opens_a_study_is_trained_whole(sampler: str, share: float) -> None:
    """It was good elsewhere; where it is dear, most of the time is its own. "bayes" asks for
    trials like it, of which more is trained."""
    opening = ({"hidden_width": 64},) * 8
    file = spec("predictive")
    opened = replace(file, opening=opening, sampler=SamplerSection(kind=sampler))
    dear: Any = SimpleNamespace(total=lambda first, last: min(last, 8) * 10.0 + max(0, last - 8))
    equal, of_dear = (expected_fraction(opened, costs) for costs in (EQUAL, dear))
    assert 8 / 40 + 32 / 40 * share == pytest.approx(equal)
    assert 80 / 112 + 32 / 112 * share == pytest.approx(of_dear)


def test_the_configurations_that_will_open_the_study_count(
    monkeypatch: pytest.MonkeyPatch, bed: Workspace
) -> None:
    """The file alone does not name them: they are those that a study of it would begin with."""
    seen: list[StudySpec] = []
    monkeypatch.setattr(cost_estimate, "preview", lambda spec, *_: seen.append(spec))
    words = read_file(bed.corpus(some_words(90), "words.txt"))
    document = {"study": {"name": "s"}, "defaults": LATEST}
    cost_estimate.of_file(from_document(document, "s.toml"), words, 2, 1)
    assert 8 == len(seen[0].opening)


def test_the_command_says_it_too(bed: Workspace) -> None:
    """In words and as JSON."""
    file = bed.file(budget={"timeout": 0.001})
    assert "is likely to come first" in bed.cli("preview", file).out
    assert "timeout" == bed.json("preview", file)["ends_by"]
