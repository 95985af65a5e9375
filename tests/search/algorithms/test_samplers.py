"""Samplers: every ask follows from the study's seed, the ordinal and the trials so far."""

import secrets
from itertools import pairwise
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from workspace import Workspace, tiny

from search.algorithms.samplers import ask, design_cost, sampler_for
from search.seeds import derive_seed
from search.spec.search_space import distributions
from search.spec.study_spec import from_document
from search.storage.optuna_reader import SamplingView

KINDS = ("tpe", "bayes", "random", "qmc", "gp")
SPACE = from_document(tiny(), "x").space
UNBORN = create_trial(state=TrialState.RUNNING)


def asked(bed: Workspace, kind: str, seed: int, ordinals: range) -> list[dict[str, Any]]:
    """Asks one by one; each answer becomes a trial whose loss is its learning rate."""
    name = secrets.token_hex(4)
    optuna.create_study(study_name=name, storage=bed.storage.optuna)
    answers, view = [], SamplingView(bed.storage)
    for ordinal in ordinals:
        study = optuna.load_study(
            study_name=name, storage=view, sampler=sampler_for(kind, seed, ordinal)
        )
        values = ask(study.sampler, study, UNBORN, distributions(SPACE))
        answers.append(values)
        study.add_trial(
            create_trial(
                value=float(values["learning_rate"]),
                params=values,
                distributions=distributions(SPACE),
            )
        )
    return answers


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_asks_for_the_same(kind: str, bed: Workspace) -> None:
    """A study that is run twice asks for the same configurations, well past the start-up phase."""
    assert asked(bed, kind, 1, range(14)) == asked(bed, kind, 1, range(14))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_ordinals_matter(kind: str, bed: Workspace) -> None:
    """No two ordinals ask for the same, and neither do two seeds."""
    first = [str(values) for values in asked(bed, kind, 1, range(8))]
    assert 8 == len(set(first))
    assert not set(first) & {str(values) for values in asked(bed, kind, 2, range(8))}


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_training_seeds_do_not_collide_with_the_samplers(seed: int, ordinal: int) -> None:
    """Each purpose of each configuration has a seed of its own, that every generator takes."""
    purposes = ("train", "ask", "audit")
    seeds = {derive_seed(seed, ordinal, purpose) for purpose in purposes}
    assert len(purposes) == len(seeds)
    assert all(0 <= each < 2**31 for each in seeds)


def test_quasi_random_points_cover_the_space_evenly() -> None:
    """Each eighth of a range gets exactly its eighth of 64 points, whoever asks for them."""
    space = from_document(
        {"study": {"name": "x"}, "search": {"dropout": {"low": 0.0, "high": 0.8}}}, "x"
    ).space
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    searched = distributions(space)
    drawn = [ask(sampler_for("qmc", 7, k), study, UNBORN, searched)["dropout"] for k in range(64)]
    assert [sum(k / 10 <= value < (k + 1) / 10 for value in drawn) for k in range(8)] == [8] * 8


@given(st.integers(0, 2**31))
def test_a_search_opens_in_the_middle_with_the_small_ones_first(seed: int) -> None:
    """The first six configurations: wider from one to the next, with more dropout, on a cosine, all
    else about the middle of its range. The next two are spread, the cheaper first."""
    rate = {"low": 1e-4, "high": 1.0, "log": True}
    dropout = {"low": 0.0, "high": 0.9}
    document = {"study": {"name": "x"}, "search": {"learning_rate": rate, "dropout": dropout}}
    space = from_document(document, "x").space
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    first = [
        ask(sampler_for("tpe", seed, k), study, UNBORN, distributions(space)) for k in range(8)
    ]
    for less, more in pairwise(first[:6]):
        assert less["hidden_width"] < more["hidden_width"]
    assert {"cosine"} == {values["schedule"] for values in first[:6]}
    assert first[0]["dropout"] <= 0.25 and 0.35 <= first[3]["dropout"] <= 0.65
    assert all(10**-2.5 <= values["learning_rate"] <= 10**-1.5 for values in first[:6])
    costs = [design_cost(values) for values in first[6:]]
    assert sorted(costs) == costs


@given(st.integers(0, 2**31), st.integers(0, 5000), st.integers(1, 64), st.integers(0, 64))
def test_quasi_random_whole_numbers_stay_in_range(
    seed: int, ordinal: int, low: int, span: int
) -> None:
    """Rounding never leads out of a range, log or not."""
    sampler = sampler_for("qmc", seed, ordinal)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    for log in (False, True):
        space = {
            "a": IntDistribution(low, low + span, log=log),
            "b": FloatDistribution(low, low + span, log=log),
        }
        values = sampler.sample_relative(study, UNBORN, space)
        assert all(low <= value <= low + span for value in values.values())
