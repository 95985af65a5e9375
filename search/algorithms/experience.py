"""Experience: configurations that were good elsewhere, with which a search of a new study begins.

`experience.json` holds those that did well on recorded corpora of different sizes and languages
(chosen by tests/benchmarks/search), the one to try first at its beginning, in the coordinates of
the default space. Another study's best configurations are mapped into a space in the same way.
"""

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.learning_rates import RATE, RELATIVE, RELATIVE_TO, relative_rate, scale

Values = Mapping[str, Any]
Space = Mapping[str, BaseDistribution]


@functools.cache
def configurations() -> tuple[dict[str, Any], ...]:
    """Returns the recorded experience, in the order in which it is to be tried."""
    text = resources.files("search.algorithms").joinpath("experience.json").read_text("utf-8")
    return tuple(json.loads(text)["configurations"])


def opening(
    distributions: Space, fixed: Values, known: Iterable[Values] | None = None
) -> list[dict[str, Any]]:
    """Returns the searched values of the first configurations of a study, each once.

    A value outside of its range becomes the nearest one inside; what a configuration does not say
    is missing, for the sampler to choose.

    Args:
        distributions: of the study's searched parameters.
        fixed: the values of the study's other hyperparameters.
        known: configurations in the order in which they are to be tried, whose learning rate may be
            relative or not; None: the recorded experience.
    """
    found: list[dict[str, Any]] = []
    for config in configurations() if known is None else known:
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
