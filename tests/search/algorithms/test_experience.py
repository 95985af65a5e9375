"""Experience: configurations from elsewhere, mapped into a study's space."""

from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.algorithms import experience
from search.algorithms.experience import fitted, opening
from search.spec.defaults import LATEST
from search.spec.search_space import distributions, fixed_values
from search.spec.study_spec import from_document

CONFIG = {
    "embedding_size": 32,
    "hidden_width": 400,
    "batch_size": 256,
    "relative_learning_rate": 0.01,
    "schedule": "cosine",
    "dropout": 0.15,
    "optimizer": "adamw",
}
WIDTHS = IntDistribution(64, 256, log=True)
RATES = FloatDistribution(1e-4, 1.0, log=True)


def test_the_recorded_experience_lies_in_the_default_space() -> None:
    """Nothing of it is clipped or left to the sampler there, and nothing is in it twice."""
    space = from_document({"study": {"name": "x"}}, "x", LATEST).space
    searched, fixed = distributions(space), fixed_values(space)
    known = list(experience.experience().values)
    assert known
    assert [
        {name: value for name, value in each.items() if name in searched} for each in known
    ] == opening(searched, fixed, known)
    assert all(set(each) >= set(searched) for each in known)


@pytest.mark.parametrize(
    ("expected", "searched", "fixed"),
    [
        ({"hidden_width": 256}, {"hidden_width": WIDTHS}, {}),
        ({"dropout": 0.2}, {"dropout": FloatDistribution(0.2, 0.4)}, {}),
        ({"batch_size": 300}, {"batch_size": CategoricalDistribution((64, 300))}, {}),
        ({"dropout": 0.0}, {"dropout": CategoricalDistribution((0.0, 0.4))}, {}),
        ({"schedule": "cosine"}, {"schedule": CategoricalDistribution(("step", "cosine"))}, {}),
        ({}, {"schedule": CategoricalDistribution(("step", "linear"))}, {}),
        ({}, {"step_at": FloatDistribution(0.1, 0.9)}, {}),
        ({"relative_learning_rate": 0.01}, {"relative_learning_rate": RATES}, {}),
        (
            {"learning_rate": 0.005},
            {"learning_rate": RATES},
            {"batch_size": 64, "hidden_width": 256},
        ),
        (
            {"hidden_width": 256, "learning_rate": 0.005},
            {"hidden_width": WIDTHS, "learning_rate": RATES},
            {"batch_size": 64},
        ),
        ({}, {"learning_rate": RATES}, {"batch_size": 4, "hidden_width": 4, "optimizer": "sgd"}),
    ],
)
def test_a_configuration_is_mapped_into_another_space(
    expected: dict[str, Any], searched: dict[str, BaseDistribution], fixed: dict[str, Any]
) -> None:
    """Numbers go to the nearest value, the rate with batch and width of where it goes; what has no
    counterpart is left to the sampler."""
    assert expected == fitted(CONFIG, searched, fixed)


def test_a_rate_as_trials_have_it_is_mapped_as_well() -> None:
    """A configuration of another study holds the rate itself: 0.02 at a batch of 256 and a width of
    64 is 0.005 at the same batch and a width of 1,024."""
    config = {"learning_rate": 0.02, "batch_size": 256, "hidden_width": 64, "optimizer": "adamw"}
    searched = {"learning_rate": RATES}
    fixed = {"batch_size": 256, "hidden_width": 1024, "optimizer": "adamw"}
    assert {"learning_rate": pytest.approx(0.005)} == fitted(config, searched, fixed)


@pytest.mark.parametrize("characters", [1, 400, 4_446, 12_000, 38_335, 182_625, 10**7, 10**9])
def test_a_list_is_short_and_begins_cheaply(characters: int) -> None:
    """For a corpus of any size no configuration is in the list twice, the first costs less than
    half of the dearest, and the best for the recorded corpus of the nearest size is in it."""
    known, chosen = experience.experience(), experience.configurations(characters)
    assert experience.MAX_CONFIGURATIONS == len(chosen)
    places = [known.values.index(values) for values in chosen]
    assert len(places) == len(set(places))
    assert 2 * known.costs[places[0]] <= max(known.costs[places])
    nearest = abs(np.log(known.train_characters / characters)).argmin()
    assert known.regrets[nearest].argmin() in places


def test_a_corpus_gets_what_was_good_on_corpora_of_its_size() -> None:
    """The list for a corpus as small as the smallest recorded one holds something better there than
    the list for a corpus beyond the largest, and the other way round."""
    known = experience.experience()
    small, large = (
        known.regrets[:, [known.values.index(each) for each in experience.configurations(size)]]
        for size in (3_000, 1_000_000)
    )
    assert small[0].min() < large[0].min()
    assert large[-1].min() <= small[-1].min()


def test_what_becomes_the_same_is_tried_once() -> None:
    """In a small space several configurations coincide; one that says nothing is left out."""
    known = [{"hidden_width": 300}, {"hidden_width": 100}, {"hidden_width": 500}, {"dropout": 0.1}]
    assert [{"hidden_width": 256}, {"hidden_width": 100}] == opening(
        {"hidden_width": WIDTHS}, {}, known
    )
