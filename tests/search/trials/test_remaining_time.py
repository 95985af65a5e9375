"""The time that a study still takes, on constructed histories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.trials.remaining_time import Effort, Survival, remaining_seconds

PART = st.floats(0.05, 1.0)
EFFORTS = st.lists(st.builds(Effort, st.floats(0.1, 50.0), PART, st.just(1.0)), max_size=8)


def full(cost: float, rate: float = 1.0, expected: float | None = None) -> Effort:
    """A trial that ran to its end."""
    return Effort(cost, 1.0, cost * rate, expected or cost)


def test_nothing_is_known_before_a_trial_has_ended() -> None:
    """No rate, no estimate."""
    assert remaining_seconds([], [Effort(5.0, 0.5)], 10.0, 10, 2) is None


def test_equal_trials_take_what_they_took() -> None:
    """Ten more of three seconds take thirty; two workers share them, and one ends them."""
    ended = [full(3.0)] * 5
    assert 30.0 == pytest.approx(remaining_seconds(ended, [], 30.0, 10, 1) or 0)
    assert 15.0 + 0.75 == pytest.approx(remaining_seconds(ended, [], 30.0, 10, 2) or 0)


def test_the_machine_sets_the_rate() -> None:
    """Where trials take twice their cost, so do those to come."""
    once, twice = ([full(3.0, rate)] * 5 for rate in (1.0, 2.0))
    remaining = [remaining_seconds(ended, [], 30.0, 10, 2) or 0 for ended in (once, twice)]
    assert 2.0 == pytest.approx(remaining[1] / remaining[0])


def test_trials_that_cost_more_than_expected_make_the_rest_dearer() -> None:
    """The more of them there are; at first what was expected has more weight."""
    few, many = ([full(10.0, expected=5.0)] * count for count in (4, 400))
    remaining = [remaining_seconds(ended, [], 50.0, 10, 1) or 0 for ended in (few, many)]
    assert 50.0 * 100 / 80 == pytest.approx(remaining[0])
    assert 50.0 * 206 / 106 == pytest.approx(remaining[1])


def test_the_dear_ones_under_way_count() -> None:
    """At first the cheap trials have ended and a dear one has not."""
    ended = [full(1.0, expected=25.0)] * 3
    cheap = remaining_seconds(ended, [], 100.0, 4, 1) or 0
    dear = remaining_seconds(ended, [Effort(97.0, 0.0, expected=25.0)], 100.0, 4, 1) or 0
    assert cheap < 100.0
    assert 97.0 + 100.0 == pytest.approx(dear)


def test_known_costs_of_an_opening_say_nothing_of_the_others() -> None:
    """Dear configurations that open a study, as expected, make the cheap ones to come no dearer."""
    opening = [full(40.0)] * 6
    assert 10.0 == pytest.approx(remaining_seconds(opening, [], 10.0, 10, 1) or 0)


def test_at_first_trials_come_as_far_as_expected() -> None:
    """Those that open a study run to their ends, and say little of a pruner."""
    few, many = (
        remaining_seconds([full(1.0)] * count, [], 10.0, 10, 1, share=0.5) for count in (4, 400)
    )
    assert 10.0 * (4 + 12 * 0.5) / 16 == pytest.approx(few or 0)
    assert 9.0 < (many or 0) < 10.0


def test_the_last_one_is_not_shared() -> None:
    """What one worker still trains is not faster by others that have nothing left to do."""
    running = [Effort(80.0, 0.25)]
    assert 60.0 == pytest.approx(remaining_seconds([full(1.0)] * 9, running, 0.0, 0, 8))


def test_a_sampler_that_turns_to_dear_ones_is_followed() -> None:
    """Of the trials that ended, the latest half counts."""
    ended = [full(1.0, expected=5.0)] * 50 + [full(10.0, expected=5.0)] * 50
    assert 50.0 * 560 / 310 == pytest.approx(remaining_seconds(ended, [], 50.0, 10, 1) or 0)


def test_pruned_trials_make_the_rest_shorter() -> None:
    """Where two of three stop at a third, trials to come train five ninths on average."""
    pruned = Effort(9.0, 1 / 3, 3.0, expected=9.0)
    ended = [pruned, pruned, full(9.0)]
    assert 5 / 9 == pytest.approx(Survival(ended, []).expected_rest(0.0))
    assert 50.0 == pytest.approx(remaining_seconds(ended, [], 90.0, 10, 1, share=5 / 9) or 0)


def test_a_trial_that_passed_a_rung_is_expected_to_go_on() -> None:
    """Beyond the last rung nothing stops it; before it, the rung may."""
    known = Survival([Effort(1.0, 0.5), full(1.0)], [])
    assert 0.25 == pytest.approx(known.expected_rest(0.75))
    assert 0.25 + 0.25 == pytest.approx(known.expected_rest(0.25))


def test_trials_under_way_say_how_far_trials_come() -> None:
    """At first only pruned ones have ended: those that run beyond the rung have passed it."""
    pruned = [Effort(1.0, 0.1)]
    assert 0.1 == pytest.approx(Survival(pruned, []).expected_rest(0.0))
    assert 0.1 + 0.9 * 0.75 == pytest.approx(
        Survival(pruned, [Effort(1.0, 0.6)] * 3).expected_rest(0.0)
    )


@given(EFFORTS, EFFORTS, PART)
def test_a_trial_trains_at_most_what_is_left(
    ended: list[Effort], running: list[Effort], at: float
) -> None:
    """Whatever happened before, between nothing and the rest of a full trial."""
    assert -1e-9 <= Survival(ended, running).expected_rest(at) <= 1.0 - at + 1e-9
