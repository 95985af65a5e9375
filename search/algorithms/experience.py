"""Experience: configurations that were good elsewhere, with which a search of a new study begins.

`experience.json` holds configurations in the coordinates of the default space, with their dev
losses on recorded corpora of different sizes and languages (made by tests/benchmarks/search). A
short list of them is chosen greedily for a corpus, after Wistuba et al. 2015 ("Sequential
Model-Free Hyperparameter Tuning"), with more weight on corpora of its size. Another study's best
configurations are mapped into a space in the same way.
"""

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.special import ndtr

from search.algorithms.costs import relative_cost
from search.learning_rates import RATE, RELATIVE, RELATIVE_TO, relative_rate, scale

Values = Mapping[str, Any]
Space = Mapping[str, BaseDistribution]
Numbers = NDArray[np.float64]

MAX_CONFIGURATIONS = 8
"""Of a list; what follows is the sampler's."""
SIZE_DISTANCE = 0.6
"""The distance in the logarithm of their sizes at which a corpus counts 0.6 times as much."""
COST_EXPONENT = 0.5
"""A gain counts divided by this power of its cost: the first of a list is small and early."""
MAX_REGRET = 6.0
"""In units of the median configuration's regret; a worse one is as bad as none."""

REGRET_DEVIATION = 0.3
"""Standard deviation, in the same unit, between a regret on a recorded corpus and on a new one."""


class Experience(NamedTuple):
    """Configurations, and how they did on recorded corpora."""

    values: tuple[dict[str, Any], ...]
    train_characters: Numbers
    """Of each corpus, ends of words included. (C,)"""
    regrets: Numbers
    """Above the best dev loss of the corpus, in units of the median regret there. (C, n)"""
    costs: Numbers
    """Of a full trial, relative to each other. (n,)"""


@functools.cache
def experience(without: str = "") -> Experience:
    """Returns the recorded experience; of all corpora but the one of this name."""
    text = resources.files("search.algorithms").joinpath("experience.json").read_text("utf-8")
    document = json.loads(text)
    known = document["configurations"]
    counted = [k for k, each in enumerate(document["corpora"]) if each["name"] != without]
    losses = np.array([each["dev_losses"] for each in known]).T[counted]
    above_best = losses - losses.min(axis=1, keepdims=True)
    return Experience(
        values=tuple(each["values"] for each in known),
        train_characters=np.array([document["corpora"][k]["train_characters"] for k in counted]),
        regrets=np.minimum(above_best / np.median(above_best, axis=1, keepdims=True), MAX_REGRET),
        costs=np.array([relative_cost(each["values"]) for each in known]),
    )


def configurations(train_characters: int, without: str = "") -> list[dict[str, Any]]:
    """Returns configurations for a corpus of this size, the one to try first at the beginning.

    Args:
        without: the recorded corpus that is to say nothing, where the list is tried on it.
    """
    known = experience(without)
    weights = _weights(known.train_characters, train_characters)
    best = np.full(len(weights), MAX_REGRET)
    chosen: list[int] = []
    for _ in range(min(MAX_CONFIGURATIONS, len(known.values))):
        gains = weights @ _expected_gains(best[:, None] - known.regrets)
        gains /= known.costs**COST_EXPONENT
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        best = np.minimum(best, known.regrets[:, chosen[-1]])
    return [dict(known.values[index]) for index in chosen]


def _expected_gains(differences: Numbers) -> Numbers:
    """Returns the expected improvement where a regret is uncertain by REGRET_DEVIATION: what was
    nearly the best on a recorded corpus may be the best on another one. (...)"""
    scaled = differences / REGRET_DEVIATION
    density = np.exp(-0.5 * scaled**2) / math.sqrt(2.0 * math.pi)
    return np.asarray(REGRET_DEVIATION * (density + scaled * ndtr(scaled)))


def _weights(recorded: Numbers, train_characters: int) -> Numbers:
    """Returns the weight of each recorded corpus; beyond the largest, that one counts most. (C,)"""
    distances = (np.log(recorded / train_characters) / SIZE_DISTANCE) ** 2 / 2
    weights: Numbers = np.exp(distances.min() - distances)
    return np.asarray(weights / weights.sum())


def opening(distributions: Space, fixed: Values, known: Iterable[Values]) -> list[dict[str, Any]]:
    """Returns the searched values of the first configurations of a study, each once.

    A value outside of its range becomes the nearest one inside; what a configuration does not say
    is missing, for the sampler to choose.

    Args:
        distributions: of the study's searched parameters.
        fixed: the values of the study's other hyperparameters.
        known: configurations in the order in which they are to be tried, whose learning rate may be
            relative or not.
    """
    found: list[dict[str, Any]] = []
    for config in known:
        values = fitted(config, distributions, fixed)
        if values and values not in found:
            found.append(values)
    return found


def fitted(config: Values, distributions: Space, fixed: Values) -> dict[str, Any]:
    """Returns a configuration's searched values in another space."""
    values = {
        name: _nearest(distribution, config[name])
        for name, distribution in distributions.items()
        if name in config and name not in (RATE, RELATIVE)
    }
    values |= _rate(config, {**fixed, **values}, distributions)
    return {name: values[name] for name in distributions if values.get(name) is not None}


def _rate(config: Values, known: Values, distributions: Space) -> dict[str, Any]:
    """Returns the learning rate at the sizes that a configuration has in another space; none if it
    is of another optimizer."""
    own, other = config.get("optimizer"), known.get("optimizer", config.get("optimizer"))
    if own != other or not (RELATIVE in config or RATE in config):
        return {}
    if RELATIVE in distributions:
        relative = config[RELATIVE] if RELATIVE in config else relative_rate(config)
        return {RELATIVE: _nearest(distributions[RELATIVE], relative)}
    if RATE not in distributions or any(known.get(size) is None for size in RELATIVE_TO):
        return {}
    rate = (
        config[RELATIVE] * scale(known)
        if RELATIVE in config
        else config[RATE] * (scale(known) / scale(config))  # exactly its own at the same sizes
    )
    return {RATE: _nearest(distributions[RATE], rate)}


def _nearest(distribution: BaseDistribution, value: Any) -> Any:
    """Returns the value of a distribution that is nearest; None where nothing is near."""
    if isinstance(distribution, CategoricalDistribution):
        return _nearest_choice(distribution.choices, value)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    number = round(value) if isinstance(distribution, IntDistribution) else float(value)
    return min(max(number, distribution.low), distribution.high)


def _nearest_choice(choices: Sequence[Any], value: Any) -> Any:
    if value in choices:
        return value
    if not all(map(_is_number, [*choices, value])):
        return None
    if min(*choices, value) > 0:
        return min(choices, key=lambda choice: abs(math.log(choice / value)))
    return min(choices, key=lambda choice: abs(choice - value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
