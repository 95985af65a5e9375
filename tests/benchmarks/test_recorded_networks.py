"""The check on networks that others trained: its spaces and its table."""

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from tests.benchmarks.search.recorded_networks import as_markdown, spaces

LISTS = {"units": [16, 32, 512], "schedule": ["cosine", "const"]}


@pytest.mark.parametrize("in_order", [True, False])
def test_each_sampler_is_told_what_has_an_order(in_order: bool) -> None:
    """A list of numbers is a list to ours, a place in it to Optuna's; both lead to its values."""
    space, values_of = spaces(LISTS, in_order=in_order)
    kinds = [CategoricalDistribution if in_order else IntDistribution, CategoricalDistribution]
    assert kinds == [type(each) for each in space.values()]
    params = dict(zip(space, [512 if in_order else 2, "const"], strict=True))
    assert {"units": 512, "schedule": "const"} == values_of(params)


def test_ranks_count_only_searches_that_all_samplers_made() -> None:
    """The better one of two has rank 1, after as many evaluations as it takes; a search without its
    partner is left out."""
    runs = [
        {"sampler": "tpe", "seed": 0, "improvements": [(1, 3.0), (6, 1.0)]},
        {"sampler": "bayes", "seed": 0, "improvements": [(1, 2.0)]},
        {"sampler": "bayes", "seed": 1, "improvements": [(1, 9.0)]},
    ]
    text = as_markdown([{"data_set": "d", "evaluations": 10} | run for run in runs], 10)
    assert text.startswith("1 searches of each sampler")
    assert "| tpe | 2.00 | 1.00 |" in text
    assert "| bayes | 1.00 | 2.00 |" in text
