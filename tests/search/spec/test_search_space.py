"""The search space: what may be asked for, and what was."""

from dataclasses import asdict

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace import tiny

from search.algorithms.samplers import ask, sampler_for
from search.spec.defaults import LATEST
from search.spec.search_space import (
    Choices,
    FixedValue,
    RangeDimension,
    configuration,
    distributions,
    read_dimension,
    searched_values,
)
from search.spec.study_spec import from_document

UNBORN = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)


def fresh_study() -> optuna.Study:
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def test_a_range_of_one_value_is_fixed() -> None:
    """low = high is one value, and a list of one choice is, too: neither is searched."""
    assert (FixedValue(3), []) == read_dimension("block_size", {"low": 3, "high": 3})
    assert (FixedValue("sgd"), []) == read_dimension("optimizer", ["sgd"])


def test_both_ends_of_a_range_belong_to_it() -> None:
    """A configuration at the very edge of a range is in the space."""
    interval = RangeDimension(2, 8, log=False, integer=True)
    assert interval.contains(2)
    assert interval.contains(8)
    assert not interval.contains(9)


def test_a_range_that_goes_with_the_corpus_is_no_range_before() -> None:
    """Nothing is drawn from it until the size of the train split is known."""
    interval = RangeDimension(0.1, 0.2, log=True, integer=False, at_examples=900)
    with pytest.raises(LookupError, match="no bounds before"):
        interval.distribution()
    assert interval.scaled_to(100).contains(0.5)
    assert not interval.scaled_to(100).contains(0.2)


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.booleans(), st.integers(0, 2**31), st.data())
def test_whatever_is_asked_for_lies_in_the_space(
    one: float, other: float, log: bool, seed: int, data: st.DataObject
) -> None:
    """Every kind of sampler stays within the ranges, for whole numbers and others, log or not."""
    low, high = sorted((one, other))
    whole = sorted((data.draw(st.integers(1, 4096)), data.draw(st.integers(1, 4096))))
    spec = from_document(
        {
            "study": {"name": "x"},
            "search": {
                "learning_rate": {"low": low, "high": high, "log": log},
                "embedding_size": {"low": whole[0], "high": whole[1], "log": log},
            },
        },
        "x",
    )
    for kind in ("random", "qmc", "tpe"):
        searched = distributions(spec.space)
        values = ask(sampler_for(kind, seed, seed % 1000), fresh_study(), UNBORN, searched)
        assert searched.keys() == values.keys()
        assert all(spec.space[name].contains(value) for name, value in values.items())
        config = configuration(spec.space, values, {})
        assert low <= config.learning_rate <= high


def test_fixed_values_reach_the_configuration() -> None:
    """What a study file fixes is so in every configuration; an enqueued value outranks it."""
    spec = from_document(tiny(search={"dropout": 0.25, "direct": True}), "x")
    values = ask(sampler_for("random", 1, 0), fresh_study(), UNBORN, distributions(spec.space))
    assert 0.25 == configuration(spec.space, values, {}).dropout
    assert configuration(spec.space, values, {}).direct is True
    assert 0.5 == configuration(spec.space, values, {"dropout": 0.5}).dropout


def test_an_enqueued_configuration_may_set_a_field_that_is_not_searched() -> None:
    """A searched field must lie within its range; one with a fixed value may be anything legal."""
    spec = from_document(
        tiny(enqueue=[{"initialisation": "lecture", "dropout": 0.1, "hidden_width": 32}]), "x"
    )
    assert {
        "initialisation": "lecture",
        "dropout": 0.1,
        "hidden_width": 32,
    } == dict(spec.enqueue[0])


def test_choices_keep_their_order_and_their_kinds() -> None:
    """Choices are given back as they were written: 1 is not 1.0 and not true."""
    found, wrong = read_dimension("batch_size", [512, 32])
    assert (Choices((512, 32)), []) == (found, wrong)
    assert [512, 32] == found.to_document()


PARAMETER = "relative_learning_rate"
RELATIVE = {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True, "relative": True}}
SPACES = {
    "plain": from_document(tiny(), "x").space,
    "relative": from_document(tiny(search=RELATIVE), "x").space,
    "default": from_document({"study": {"name": "x"}}, "x", LATEST).space,
}


@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**31))
def test_searched_values_come_back_from_their_configuration(space: str, seed: int) -> None:
    """Whatever is stored of a trial leads back to what was searched: at once to twelve digits, and
    from then on to the same bits, within the space."""
    searched = distributions(SPACES[space])
    asked = ask(sampler_for("random", seed, 0), fresh_study(), UNBORN, searched)
    stored = searched_values(SPACES[space], asdict(configuration(SPACES[space], asked, {})))
    assert {n: v for n, v in asked.items() if n != PARAMETER} == {
        n: v for n, v in stored.items() if n != PARAMETER
    }
    assert pytest.approx(asked.get(PARAMETER, 0.0), rel=1e-11) == stored.get(PARAMETER, 0.0)
    again = configuration(SPACES[space], stored, {})
    assert stored == searched_values(SPACES[space], asdict(again))
    assert all(searched[name]._contains(searched[name].to_internal_repr(stored[name]))
               for name in searched)  # fmt: skip


@pytest.mark.parametrize("bound", [1e-3, 0.1])
@pytest.mark.parametrize("batch", [32, 64, 1024])
def test_the_ends_of_a_relative_range_come_back_as_they_are(bound: float, batch: int) -> None:
    """No rounding puts a value outside of its range."""
    space = SPACES["relative"]
    config = configuration(space, {PARAMETER: bound, "batch_size": batch, "hidden_width": 7}, {})
    assert bound == searched_values(space, asdict(config))[PARAMETER]


def test_a_relative_rate_goes_with_the_square_root_of_batch_over_width() -> None:
    """A quarter of the batch, or four times the width, gets half of the rate; an enqueued rate is
    the rate itself."""
    space = SPACES["relative"]
    values = {PARAMETER: 0.04, "batch_size": 64, "hidden_width": 64}
    assert 0.04 == configuration(space, values, {}).learning_rate
    assert 0.02 == configuration(space, values, {"batch_size": 16}).learning_rate
    assert 0.02 == configuration(space, values | {"hidden_width": 256}, {}).learning_rate
    assert 0.03 == configuration(space, values, {"learning_rate": 0.03}).learning_rate
