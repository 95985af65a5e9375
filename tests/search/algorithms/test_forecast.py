"""Predicted ends of trials: what they promise, and what they are made of."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.algorithms import forecast
from search.algorithms.forecast import chance_of_lowest, predicted_ends
from search.algorithms.pruners import resource_at
from search.spec.sections import BudgetSection

EVALUATIONS = 10
LENGTH = BudgetSection(trials=1, examples=10_000, evaluations=EVALUATIONS)
SPACE: dict[str, BaseDistribution] = {
    "hidden_width": IntDistribution(64, 2048, log=True),
    "schedule": CategoricalDistribution(("linear", "cosine")),
    "temper": FloatDistribution(0.0, 1.0),
}
"""Two hyperparameters that were recorded, and one that was not."""
LOSSES = st.one_of(st.floats(0.5, 30.0), st.sampled_from([math.inf, math.nan, 1e300]))
CURVES = st.lists(LOSSES, min_size=1, max_size=EVALUATIONS)


def trial(
    number: int, losses: Sequence[float], state: str = "COMPLETE", **values: Any
) -> FrozenTrial:
    """A trial that has reported these losses, one at each evaluation."""
    own = random.Random(number)
    params = {
        "hidden_width": own.randint(64, 2048),
        "schedule": own.choice(["linear", "cosine"]),
        "temper": own.random(),
    }
    finite = [loss for loss in losses if math.isfinite(loss)]
    made = create_trial(
        state=TrialState[state],
        value=min(finite) if state == "COMPLETE" else None,
        params=params | values,
        distributions=SPACE,
        intermediate_values={
            resource_at(LENGTH, k): loss for k, loss in enumerate(losses, 1) if math.isfinite(loss)
        },
    )
    made.number = number
    return made


def synthetic(number: int, generator: np.random.Generator, **changes: Any) -> FrozenTrial:
    """A trial whose loss falls to an end that depends on its configuration, with noise."""
    blank = trial(number, [1.0], **changes)
    end = 2.0 + 0.4 * (blank.params["temper"] - 0.3) ** 2 + 0.1 * generator.exponential()
    start = 0.2 + 0.8 * generator.random()
    losses = [
        end + start * (1 - k / EVALUATIONS) + 0.01 * abs(generator.normal())
        for k in range(1, EVALUATIONS + 1)
    ]
    return trial(number, losses, **blank.params)


def chance(losses: Sequence[float], others: Sequence[FrozenTrial]) -> float | None:
    """Of a trial with these losses so far."""
    values = {"hidden_width": 500, "schedule": "cosine", "temper": 0.4}
    reports = {k: loss for k, loss in enumerate(losses, 1) if math.isfinite(loss)}
    return chance_of_lowest(values, reports, others, SPACE, LENGTH)


def until(losses: Mapping[int, float], evaluation: int) -> dict[int, float]:
    """The reports of a trial up to an evaluation, by its number."""
    return dict(enumerate(list(losses.values())[:evaluation], 1))


def finite_curves(count: int) -> st.SearchStrategy[list[list[float]]]:
    """Full curves, of which each has a finite loss."""
    full = st.lists(LOSSES, min_size=EVALUATIONS, max_size=EVALUATIONS)
    return st.lists(full.map(lambda losses: [*losses[:-1], 2.0]), min_size=count, max_size=12)


@given(finite_curves(4), CURVES, CURVES)
def test_the_lowest_loss_so_far_is_certain_to_be_it(
    complete: list[list[float]], own: list[float], running: list[float]
) -> None:
    """A trial that holds the lowest loss of the study, or shares it, has a chance of 1."""
    others = [trial(k, losses) for k, losses in enumerate(complete)]
    others.append(trial(99, running, "RUNNING"))
    reported = [loss for each in others for loss in each.intermediate_values.values()]
    assert 1.0 == chance([*own, min(reported)], others)


@given(finite_curves(4), CURVES, CURVES, st.randoms())
def test_whatever_was_reported_the_chance_is_a_probability(
    complete: list[list[float]], own: list[float], running: list[float], order: random.Random
) -> None:
    """Infinite, huge and missing losses included; and the order of the trials says nothing."""
    others = [trial(k, losses) for k, losses in enumerate(complete)]
    others += [trial(98, running, "RUNNING"), trial(97, running, "PRUNED"), trial(96, [], "PRUNED")]
    found = chance(own, others)
    reported = any(map(math.isfinite, own))
    assert (0.0 <= found <= 1.0) if found is not None else not reported
    assert all(math.isfinite(x) for end in ends_of(others).values() for x in end)
    shuffled = list(others)
    order.shuffle(shuffled)
    assert found == chance(own, shuffled)
    assert ends_of(others) == ends_of(shuffled)


def ends_of(trials: Sequence[FrozenTrial]) -> dict[int, tuple[float, float]]:
    return predicted_ends(trials, SPACE, LENGTH)


@pytest.mark.parametrize("evaluation", [1, 3, 6, 9])
def test_chances_and_ends_are_what_they_say(evaluation: int) -> None:
    """On curves of another kind than the recorded ones: of the trials with a chance below 10 % no
    more than that end with the lowest loss, most of the others are among them, and of all ends
    about two thirds lie within a standard deviation."""
    generator = np.random.default_rng(evaluation)
    hopeless, wrong, inside, count = 0, 0, 0, 0
    for study in range(12):
        complete = [synthetic(100 * study + k, generator) for k in range(16)]
        lowest = min(each.value or 9.0 for each in complete)
        for k in range(16, 36):
            fresh = synthetic(100 * study + k, generator)
            reports = until(fresh.intermediate_values, evaluation)
            found = chance_of_lowest(fresh.params, reports, complete, SPACE, LENGTH)
            assert found is not None and fresh.value is not None
            hopeless += found < 0.1
            wrong += found < 0.1 and fresh.value < lowest
            cut = trial(999, list(reports.values()), "RUNNING", **fresh.params)
            mean, sd = ends_of([*complete, cut])[999]
            inside += abs(fresh.value - mean) < sd
            count += 1
    assert hopeless > 0.3 * count
    assert wrong <= 0.1 * hopeless
    assert 0.6 < inside / count < 0.97


def test_what_was_not_recorded_is_learned() -> None:
    """Two trials with the same curve: the one whose hyperparameter led to a large drop in others,
    and that no other corpus knows, is predicted to end lower."""
    complete = []
    for k in range(20):
        temper = k / 19
        losses = [2.5 - 0.5 * temper * j / (EVALUATIONS - 1) for j in range(EVALUATIONS)]
        complete.append(trial(k, losses, temper=temper, hidden_width=300, schedule="cosine"))
    pair = [
        trial(50 + k, [2.5, 2.45], "RUNNING", temper=temper, hidden_width=300, schedule="cosine")
        for k, temper in enumerate((0.1, 0.9))
    ]
    ends = ends_of([*complete, *pair])
    assert ends[51][0] < ends[50][0] - 0.15


def test_few_complete_trials_say_nothing() -> None:
    """Below the least number there is neither a chance nor an end; lost attempts do not help."""
    few = [trial(k, [2.5 - 0.01 * k] * EVALUATIONS) for k in range(forecast.MIN_COMPLETE - 1)]
    lost = [trial(20 + k, [2.5] * EVALUATIONS, "FAIL") for k in range(9)]
    running = trial(40, [2.6], "RUNNING")
    assert chance([2.6], [*few, *lost]) is None
    assert {} == ends_of([*few, *lost, running])
    enough = [*few, trial(30, [2.5] * EVALUATIONS)]
    assert chance([2.6], enough) is not None
    assert {40} == set(ends_of([*enough, *lost, running]))


def test_lost_attempts_do_not_count() -> None:
    """Their losses are reported again by the retry: neither the lowest loss nor a prediction
    changes."""
    complete = [trial(k, [3.0, *[2.5 - 0.02 * k] * (EVALUATIONS - 1)]) for k in range(8)]
    lost = trial(50, [1.0], "FAIL")
    assert chance([2.9, 2.6], complete) == chance([2.9, 2.6], [*complete, lost])


def test_an_end_is_at_most_the_lowest_loss() -> None:
    """Where the curve already is below what was predicted."""
    complete = [trial(k, [3.0 - 0.1 * j for j in range(EVALUATIONS)]) for k in range(8)]
    ends = ends_of([*complete, trial(50, [1.0], "PRUNED")])
    assert ends[50][0] <= 1.0


@pytest.mark.parametrize("evaluations", [1, 2, 7])
def test_trials_with_equal_losses_or_few_evaluations(evaluations: int) -> None:
    """Where nothing differs, nothing fails: equal losses, one configuration, few evaluations."""
    length = BudgetSection(trials=1, examples=700, evaluations=evaluations)
    same = create_trial(
        value=2.0,
        params={"hidden_width": 64},
        distributions={"hidden_width": CategoricalDistribution((64,))},
        intermediate_values={resource_at(length, k): 2.0 for k in range(1, evaluations + 1)},
    )
    found = chance_of_lowest({"hidden_width": 64}, {1: 2.5}, [same] * 6, same.distributions, length)
    assert found is not None and 0.0 <= found < 1.0


def test_a_long_study_learns_from_its_best_and_its_latest() -> None:
    """What an old mediocre trial among hundreds reported no longer matters."""
    count = forecast.MAX_BEST + forecast.MAX_RECENT + 20
    trials = [
        trial(k, [3.0, *[2.9 if k < count // 2 else 2.0 + 0.001 * k] * (EVALUATIONS - 1)])
        for k in range(count)
    ]
    before = chance([2.9, 2.6], trials)
    trials[3] = trial(3, [2.95] * EVALUATIONS)
    assert before == chance([2.9, 2.6], trials)
    trials[-1] = trial(count - 1, [2.2] * EVALUATIONS)
    assert before != chance([2.9, 2.6], trials)
