"""What trials are expected to cost before they are asked for."""

from dataclasses import replace
from typing import Any

import pytest

from search.spec.study_spec import StudySpec, from_document
from search.study.expected_costs import HORIZON, ExpectedCosts

WIDE = {"hidden_width": 1024, "batch_size": 32, "embedding_size": 64, "block_size": 12}


def spec(kind: str = "bayes", trials: int = 300, **document: Any) -> StudySpec:
    budget = {"trials": trials, "examples": 100_000}
    given = {"study": {"name": "s"}, "budget": budget, "sampler": {"kind": kind}, **document}
    return from_document(given, "s.toml")


def costs(of: StudySpec, trials: int) -> list[float]:
    expected = ExpectedCosts(of)
    return [expected.of(ordinal) for ordinal in range(trials)]


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_known_configurations_cost_what_they_cost(kind: str) -> None:
    """Those that open the study count for themselves, the others as random draws do on average."""
    found = costs(spec(kind, 12, enqueue=[WIDE]), 12)
    assert 8 == len(set(found[:8])) and 1 == len(set(found[8:]))
    assert found[0] > 3 * found[-1]
    assert found[:3] == costs(spec(kind, 3, enqueue=[WIDE]), 3)


def test_the_opening_of_a_study_follows_what_is_enqueued() -> None:
    """Each of its configurations has a cost of its own."""
    narrow, wide = ({"hidden_width": width} for width in (64, 2048))
    opened = replace(spec(enqueue=[WIDE]), opening=(narrow, wide))
    found = costs(opened, 4)
    assert found[1] < found[3] < found[2] < found[0]


def test_a_sampler_that_prefers_cheap_trials_is_cheap_at_first() -> None:
    """The trials of "bayes" begin below the mean of random draws, and end near it."""
    asked, drawn = (costs(spec(kind), 300) for kind in ("bayes", "random"))
    assert 1 == len(set(drawn)) and sorted(asked) == asked
    assert asked[0] < 0.6 * drawn[0]
    assert 0.95 * drawn[0] < asked[-1] <= drawn[0]


def test_after_an_opening_a_trial_is_expected_to_cost_what_a_random_one_does() -> None:
    """The sampler is drawn to what the study began with, cheap or not."""
    opened = replace(spec(), opening=({"hidden_width": 2048},))
    drawn = costs(spec("random"), 1)[0]
    assert costs(opened, 10)[1:] == pytest.approx(9 * [drawn])


def test_trials_beyond_the_horizon_cost_what_the_last_before_it_does() -> None:
    """A study without an end needs no endless list."""
    expected = ExpectedCosts(spec(trials=1_000_000))
    last = expected.of(HORIZON - 1)
    assert last == expected.of(999_999)
    assert 10 * last == pytest.approx(expected.total(500_000, 500_010))
    assert 5 * last == pytest.approx(expected.total(HORIZON - 1, HORIZON + 4))
    parts = expected.total(0, 700) + expected.total(700, 1_000_000)
    assert parts == pytest.approx(expected.total(0, 1_000_000))
