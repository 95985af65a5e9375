"""The sampler "bayes": a function of seed and trials, in the space, never twice the same."""

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.algorithms import bayes, trial_records
from search.algorithms.acquisition import Observations
from search.algorithms.bayes import (
    BayesSampler,
    History,
    model_subset,
    scorer,
)
from search.algorithms.samplers import ask
from search.algorithms.trial_records import space_of

SPACE: dict[str, BaseDistribution] = {
    "hidden_width": IntDistribution(64, 2048, log=True),
    "batch_size": CategoricalDistribution((32, 64, 128, 256)),
    "rate": FloatDistribution(1e-3, 0.1, log=True),
    "schedule": CategoricalDistribution(("step", "linear", "cosine")),
    "dropout": FloatDistribution(0.0, 0.5),
}
UNBORN = create_trial(state=TrialState.RUNNING)
UNBORN.number = -1


def loss_of(values: dict[str, Any]) -> float:
    """A smooth loss with its lowest value 0 within the space."""
    return float(
        (math.log(values["rate"]) - math.log(0.01)) ** 2 / 5
        + (math.log(values["hidden_width"]) - math.log(500)) ** 2 / 5
        + (math.log(values["batch_size"]) - math.log(64)) ** 2 / 10
        + (values["dropout"] - 0.2) ** 2 * 4
        + 0.3 * (values["schedule"] == "step")
    )


def random_trials(
    space: dict[str, BaseDistribution], seed: int, states: str, losses: list[float]
) -> list[FrozenTrial]:
    """Trials of random configurations: complete, pruned, running."""
    sampler, study = optuna.samplers.RandomSampler(seed=seed), study_of([])
    trials = []
    for state, loss in zip(states, losses, strict=True):
        values = ask(sampler, study, UNBORN, space)
        kind = {"c": TrialState.COMPLETE, "p": TrialState.PRUNED, "r": TrialState.RUNNING}[state]
        done = 20 if state == "c" else 5
        finite = loss if math.isfinite(loss) else 9.0
        trials.append(
            create_trial(
                state=kind,
                value=None if state == "r" or (math.isnan(loss) and state == "p") else finite,
                params=values,
                distributions=space,
                intermediate_values=dict.fromkeys(range(1, done + 1), loss),
            )
        )
    return trials


def study_of(trials: list[FrozenTrial]) -> optuna.Study:
    """A study in memory, always of the same name."""
    study = optuna.create_study(study_name="s", storage=optuna.storages.InMemoryStorage())
    study.add_trials(trials)
    return study


LOSSES = st.floats(1.5, 4) | st.sampled_from([math.inf, math.nan, 1e300, -1e300, 2.0])
TRIALS = st.lists(st.tuples(st.sampled_from("cccppr"), LOSSES), max_size=14)


@given(TRIALS, st.integers(0, 2**31))
@settings(max_examples=25)
def test_an_answer_follows_from_seed_and_trials(
    outcomes: list[tuple[str, float]], seed: int
) -> None:
    """Whatever the losses: the answer lies in the space, is the same when asked again by a fresh
    sampler or with the trials in another order, and is no configuration of another trial."""
    states, losses = "".join(state for state, _ in outcomes), [loss for _, loss in outcomes]
    trials = random_trials(SPACE, seed, states, losses)
    values = ask(BayesSampler(seed), study_of(trials), UNBORN, SPACE)
    for name, distribution in SPACE.items():
        assert distribution._contains(distribution.to_internal_repr(values[name]))
    assert values not in [trial.params for trial in trials]
    random.Random(seed).shuffle(trials)
    assert values == ask(BayesSampler(seed), study_of(trials), UNBORN, SPACE)


def test_what_is_kept_of_ended_trials_changes_no_answer() -> None:
    """A process that has followed a study answers as one that has just begun; another study of the
    same name and space does not disturb it."""
    trials = random_trials(SPACE, 1, "ccpcrccpcc", [2.0 + k / 10 for k in range(10)])
    others = random_trials(SPACE, 2, "ccc", [1.0, 2.0, 3.0])

    def answers(*, fresh: bool) -> list[dict[str, Any]]:
        study, found = study_of([]), []
        for seed, trial in enumerate(trials):
            study.add_trial(trial)
            if fresh:
                trial_records._space_of.cache_clear()
            elif seed % 3 == 2:
                ask(BayesSampler(seed), study_of(others), UNBORN, SPACE)
            found.append(ask(BayesSampler(seed), study, UNBORN, SPACE))
        return found

    assert answers(fresh=True) == answers(fresh=False)


def test_seeds_differ() -> None:
    """Two workers that ask at the same time get different configurations."""
    study = study_of(random_trials(SPACE, 1, "cccccc", [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]))
    assert 4 == len({str(ask(BayesSampler(seed), study, UNBORN, SPACE)) for seed in range(4)})


def test_nothing_is_tried_twice_while_others_are_left() -> None:
    """Of a dozen configurations each is asked for once, then any again."""
    space: dict[str, BaseDistribution] = {
        "a": IntDistribution(1, 4),
        "b": CategoricalDistribution(("x", "y", "z")),
        "c": CategoricalDistribution((7,)),
    }
    study = study_of([])
    for ordinal in range(14):
        values = ask(BayesSampler(ordinal), study, UNBORN, space)
        loss = values["a"] + ord(values["b"])
        study.add_trial(create_trial(value=loss, params=values, distributions=space))
    configurations = [str(trial.params) for trial in study.trials]
    assert 12 == len(set(configurations[:12])) == len(set(configurations))


@pytest.mark.parametrize(
    "space",
    [
        {"only": CategoricalDistribution(("one",))},
        {"only": FloatDistribution(1.0, 1.0)},
        {"x": FloatDistribution(0.0, 1.0)},
        {"hidden_width": CategoricalDistribution(("narrow", "wide"))},
        {"step": FloatDistribution(0.0, 1.0, step=0.25), "flag": CategoricalDistribution((False,))},
    ],
    ids=["one choice", "one number", "one dimension", "odd names", "steps"],
)
@pytest.mark.parametrize("losses", [[], [2.0] * 6, [math.nan] * 6, [2.0, 3.0, 1.0, 2.5, math.inf]])
def test_odd_spaces_and_losses_raise_nothing(
    space: dict[str, BaseDistribution], losses: list[float]
) -> None:
    """A space of one configuration, of one dimension; no losses, equal ones, NaN, infinity."""
    study = study_of(random_trials(space, 1, "p" * len(losses), losses))
    values = ask(BayesSampler(1), study, UNBORN, space)
    assert list(space) == list(values)


def test_a_thousand_dimensions_raise_nothing() -> None:
    """A thousand choices of three, with six results."""
    space: dict[str, BaseDistribution] = {
        f"c{k}": CategoricalDistribution(("a", "b", None)) for k in range(1000)
    }
    study = study_of(random_trials(space, 1, "cccccp", [2.0, 3.0, 1.0, 2.5, 2.2, math.nan]))
    assert list(space) == list(ask(BayesSampler(1), study, UNBORN, space))


def test_trials_of_another_space_are_ignored() -> None:
    """What lacks a hyperparameter, or has a choice that the space does not know, counts nothing."""
    others = [
        create_trial(value=1.0, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)})
    ]
    trials = random_trials(SPACE, 1, "ccccc", [2.0, 2.1, 2.2, 2.3, 2.4])
    expected = ask(BayesSampler(1), study_of(trials), UNBORN, SPACE)
    assert expected == ask(BayesSampler(1), study_of(others + trials), UNBORN, SPACE)


def test_it_finds_in_30_trials_what_random_search_does_not_in_100() -> None:
    """A smooth loss over five hyperparameters: the worst of three searches is ahead of the median
    of random ones."""
    found = []
    for seed in range(3):
        study = study_of([])
        for ordinal in range(30):
            values = ask(BayesSampler(1000 * seed + ordinal), study, UNBORN, SPACE)
            trial = create_trial(value=loss_of(values), params=values, distributions=SPACE)
            study.add_trial(trial)
        found.append(study.best_value)
    others = [
        min(loss_of(ask(sampler, study_of([]), UNBORN, SPACE)) for _ in range(100))
        for sampler in (optuna.samplers.RandomSampler(seed=seed) for seed in range(3))
    ]
    assert max(found) < sorted(others)[1]


def test_the_cost_weighs_less_and_less() -> None:
    """At first improvement is divided by cost; once hundreds of full trials are spent it
    alone counts."""
    space = space_of(SPACE, {})
    points = space.coordinates.sample(np.random.default_rng(1), 12)
    losses = np.random.default_rng(2).random(12)
    observed = Observations(points, losses, np.zeros(12))
    first = History(observed, float(losses.min()), points[:0], spent=0.0, ended=12)
    early, late = scorer(space, first), scorer(space, dataclasses.replace(first, spent=400.0))
    assert early is not None and late is not None
    anywhere = space.coordinates.sample(np.random.default_rng(3), 20)
    costs = space.costs(anywhere)
    assert costs.max() > 10 * costs.min()
    np.testing.assert_allclose(-np.log(costs), early(anywhere) - late(anywhere), rtol=0.01)


def test_it_asks_at_first_for_what_is_like_the_beginning() -> None:
    """Where results tell little, configurations that a study began with draw those to come near."""
    study = study_of(random_trials(SPACE, 1, "cccccc", [2.0, 2.1, 2.05, 2.1, 2.0, 2.1]))
    known = {
        "hidden_width": 700, "batch_size": 128, "rate": 0.02, "schedule": "cosine", "dropout": 0.15,
    }  # fmt: skip
    coordinates = space_of(SPACE, {}).coordinates

    def distance(known_ones: Sequence[dict[str, Any]]) -> float:
        asked = [
            ask(BayesSampler(seed, known=known_ones), study, UNBORN, SPACE) for seed in range(10)
        ]
        return float(np.square(coordinates.points(asked) - coordinates.point(known)).sum(1).mean())

    assert distance([known]) < 0.5 * distance([])


def test_the_first_trials_are_cheap() -> None:
    """With nothing to learn from, the cheapest of a few random configurations is asked for."""
    space = space_of(SPACE, {})
    asked = [ask(BayesSampler(seed), study_of([]), UNBORN, SPACE) for seed in range(40)]
    anywhere = space.coordinates.sample(np.random.default_rng(1), 400)
    assert (
        np.mean(space.costs(space.coordinates.points(asked))) < 0.5 * space.costs(anywhere).mean()
    )


def test_a_table_is_searched_by_the_same_rule() -> None:
    """Among recorded configurations the one at the lowest predicted loss is chosen, and none that
    runs already."""
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    left = [{"x": k / 20} for k in range(1, 20) if k not in (3, 7, 14, 17)]
    trials = [
        create_trial(value=(k / 20 - 0.5) ** 2, params={"x": k / 20}, distributions=space)
        for k in (0, 3, 7, 14, 17, 20)
    ]
    first = left[BayesSampler(1).choose(study_of(trials), UNBORN, space, left)]
    assert 0.45 <= first["x"] <= 0.55
    left.remove(first)
    running = create_trial(state=TrialState.RUNNING, params=first, distributions=space)
    chosen = BayesSampler(1).choose(study_of([*trials, running]), UNBORN, space, left)
    assert 0.35 <= left[chosen]["x"] <= 0.65
    assert BayesSampler(1).choose(study_of([]), UNBORN, space, left) in range(len(left))


def test_a_forecast_of_a_pruned_trial_is_believed() -> None:
    """A trial that was pruned where it would have become the best: without forecast the sampler
    keeps away from there, with it the next one lies near."""
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    at = [0.05, 0.2, 0.35, 0.5, 0.65, 0.8]
    trials = [
        create_trial(
            state=TrialState.PRUNED if x == 0.8 else TrialState.COMPLETE,
            value=3.0 if x == 0.8 else 2.5 - 0.1 * x,
            params={"x": x},
            distributions=space,
        )
        for x in at
    ]

    def forecaster(asked: Sequence[FrozenTrial]) -> dict[int, tuple[float, float]]:
        return {trial.number: (2.0, 0.01) for trial in asked if trial.params["x"] == 0.8}

    study = study_of(trials)
    believing = ask(BayesSampler(1, forecaster=forecaster), study, UNBORN, space)["x"]
    assert 0.7 < believing < 1.0
    assert 0.15 < abs(ask(BayesSampler(1), study, UNBORN, space)["x"] - 0.8)


def test_a_model_of_many_trials_keeps_the_best() -> None:
    """Of 1,000 results the best ones are in the model, and a sample of the others, which one more
    result leaves as it is but for one."""
    rng = np.random.default_rng(1)
    losses, lots = rng.random(1001), rng.random(1001)
    kept = model_subset(losses[:1000], lots[:1000])
    assert bayes.MAX_POINTS == len(set(kept.tolist()))
    best = np.argsort(losses[:1000])[: bayes.MAX_POINTS // 2]
    assert set(best) <= set(kept)
    assert len(set(kept) ^ set(model_subset(losses, lots))) <= 2
