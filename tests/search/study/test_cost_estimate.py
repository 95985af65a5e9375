"""What a study would cost, and which part of its budget is likely to end it."""

from types import SimpleNamespace
from typing import Any

import pytest
from workspace import Workspace

from search.spec.study_spec import StudySpec, from_document
from search.study import cost_estimate
from search.study.cost_estimate import expected_fraction
from search.terminal import answers

SECONDS = 2.0
WORDS: Any = SimpleNamespace(vocabulary=".abc")

REAL_TRIAL_COSTS = cost_estimate.trial_costs


@pytest.fixture(autouse=True)
def full_trials_of_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on how fast the machine is."""
    monkeypatch.setattr(cost_estimate, "warm_up", lambda: None)
    monkeypatch.setattr(cost_estimate, "_seconds_per_cost", lambda *_: SECONDS)
    monkeypatch.setattr(cost_estimate, "trial_costs", lambda *_: [0.5, 1.5])


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
    assert 1.0 == expected_fraction(spec("asha", audit=1.0))
    assert expected_fraction(spec("asha")) < expected_fraction(spec("asha", audit=0.5)) < 1.0


def test_the_predictive_pruner_first_learns_from_whole_trials() -> None:
    """A study of as few trials as it needs trains them whole, a long one a third of each."""

    def fraction(trials: int, audit: float = 0.0) -> float:
        pruner = {"kind": "predictive", "audit": audit}
        document = {"study": {"name": "s"}, "budget": {"trials": trials}, "pruner": pruner}
        return expected_fraction(from_document(document, "s.toml"))

    assert 1.0 == fraction(3) == fraction(1000, audit=1.0)
    assert 0.25 < fraction(1000) < fraction(20) < fraction(20, audit=0.5) < 1.0


def test_known_configurations_cost_what_they_cost() -> None:
    """Those that open the study count for themselves, the others as random draws do on average."""
    wide = {"hidden_width": 1024, "batch_size": 32, "embedding_size": 64, "block_size": 12}
    document = {"study": {"name": "s"}, "budget": {"trials": 12}, "enqueue": [wide]}
    costs = REAL_TRIAL_COSTS(from_document(document, "s.toml"), 27)
    assert 12 == len(costs) and 1 == len(set(costs[8:]))
    assert costs[0] > 3 * costs[-1] and len(set(costs[:8])) == 8
    document["budget"] = {"trials": 3}
    assert costs[:3] == REAL_TRIAL_COSTS(from_document(document, "s.toml"), 27)


def test_a_sampler_that_prefers_cheap_trials_is_cheap_at_first() -> None:
    """The trials of "bayes" begin below the mean of random draws, and end near it."""
    document = {"study": {"name": "s"}, "budget": {"trials": 300}, "pruner": {"kind": "none"}}
    asked, drawn = (
        REAL_TRIAL_COSTS(from_document(document | {"sampler": {"kind": kind}}, "s.toml"), 27)
        for kind in ("bayes", "random")
    )
    assert asked[0] < 0.6 * drawn[0] and sorted(asked) == asked
    assert 0.95 * drawn[0] < asked[-1] <= drawn[0]


def test_the_command_says_it_too(bed: Workspace) -> None:
    """In words and as JSON."""
    file = bed.file(budget={"timeout": 0.001})
    assert "is likely to come first" in bed.cli("preview", file).out
    assert "timeout" == bed.json("preview", file)["ends_by"]
