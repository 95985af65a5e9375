"""Reads the search space of a document and checks its enqueued values, with all mistakes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from makemore_core.config import HYPERPARAMETERS, NEEDS_DIRECT, value_error, value_errors
from search import learning_rates
from search.spec import defaults
from search.spec.mistakes import Mistake, unknown_keys
from search.spec.search_space import (
    AutoRange,
    Choices,
    Dimension,
    FixedValue,
    RangeDimension,
    Space,
    Value,
    enqueue_error,
    fixed_values,
    read_dimension,
)


def read_space(
    raw: Any, version: int
) -> tuple[dict[str, Dimension], dict[str, Dimension], list[Mistake]]:
    """Returns the space, the dimensions to check enqueued values against, and all mistakes."""
    if not isinstance(raw, Mapping):  # which is a mistake, reported already
        raw = defaults.VERSIONS[version]["search"]
    mistakes = unknown_keys("search", raw, set(HYPERPARAMETERS))
    space: dict[str, Dimension] = {}
    known: dict[str, Dimension] = {}
    for name in HYPERPARAMETERS:
        entry = raw[name]
        dimension, wrong = read_dimension(name, entry)
        mistakes += [(f"search.{name}", what) for what in wrong]
        if dimension:
            space[name] = known[name] = dimension
        elif isinstance(entry, list) and entry:
            known[name] = Choices(tuple(entry))
    return space, known, [*mistakes, *_check_together(known)]


def with_enqueued_rates(rate: Dimension, space: Space, raw: list[Any]) -> Dimension:
    """Returns a relative range of the learning rate, wide enough for what is enqueued.

    It is for a range by default, which the one who enqueues a configuration has not drawn.
    """
    if not isinstance(rate, RangeDimension) or not rate.relative:
        return rate
    known = [{**fixed_values(space), **values} for values in raw if isinstance(values, dict)]
    needed = (learning_rates.RATE, *learning_rates.RELATIVE_TO)
    rates = [
        learning_rates.relative_rate(values)
        for values in known
        if all(name in values and not value_error(name, values[name]) for name in needed)
    ]
    return replace(rate, low=min([rate.low, *rates]), high=max([rate.high, *rates]))


def check_enqueue(raw: list[Any], space: Mapping[str, Dimension]) -> list[Mistake]:
    """Returns the mistakes of the configurations that are to be tried first."""
    mistakes: list[Mistake] = []
    for index, values in enumerate(raw):
        if not isinstance(values, dict):
            continue  # pydantic has said so
        where = f"enqueue.{index}"
        mistakes += unknown_keys(where, values, set(HYPERPARAMETERS))
        for name, value in values.items():
            if name not in space:
                continue
            wrong = value_error(name, value) or enqueue_error(name, values, space)
            if wrong:
                mistakes.append((f"{where}.{name}", wrong))
        if not any(key.startswith(f"{where}.") for key, _ in mistakes):
            together = {**fixed_values(space), **values}
            mistakes += [(f"{where}.{key}", what) for key, what in value_errors(together)]
    return mistakes


def _check_together(space: Mapping[str, Dimension]) -> list[Mistake]:
    """Returns the mistakes of values that are valid alone, but not in combination."""
    mistakes: list[Mistake] = []
    if _admits(space, "schedule", "inverse") and _admits(space, "step_factor", 0):
        mistakes.append(
            ("search.step_factor", "an inverse schedule never reaches 0; give a fraction above 0")
        )
    if _admits(space, "hidden_width", 0) and _admits(space, "direct", False):
        mistakes.append(("search.hidden_width", NEEDS_DIRECT))
    rate, optimizer = space.get("learning_rate"), space.get("optimizer")
    if isinstance(rate, AutoRange) and isinstance(optimizer, Choices):
        mistakes.append(
            ("search.learning_rate", '"auto" needs one optimizer, since each has its own range')
        )
    return mistakes


def _admits(space: Mapping[str, Dimension], name: str, value: Value) -> bool:
    dimension = space.get(name)
    if dimension is None:
        return False  # it is wrong, which is reported already
    if isinstance(dimension, FixedValue):
        return dimension.value == value
    return dimension.contains(value)
