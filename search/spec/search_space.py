"""The search space: the values that each hyperparameter may take.

A configuration is sampled before its trial exists, then stored with it in one transaction; so
nothing here calls `trial.suggest_*`, which costs a transaction for each hyperparameter.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from makemore_core.config import CHOICES, HYPERPARAMETERS, INTEGERS, TrialConfig, value_error
from search import learning_rates

Value = int | float | bool | str


@dataclass(frozen=True)
class FixedValue:
    """One value, which is not searched."""

    value: Value

    def contains(self, value: Value) -> bool:
        return True  # an enqueued configuration may set any field that is not searched

    def distribution(self) -> BaseDistribution | None:
        return None

    def to_document(self) -> Any:
        return self.value


@dataclass(frozen=True)
class Choices:
    """A list of at least two values."""

    values: tuple[Value, ...]

    def contains(self, value: Value) -> bool:
        return value in self.values

    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(self.values)

    def to_document(self) -> Any:
        return list(self.values)


@dataclass(frozen=True)
class RangeDimension:
    """All numbers from `low` to `high`, both included; integers only where `integer` is set."""

    low: float
    high: float
    log: bool
    integer: bool
    auto: bool = False
    """Whether the range test suggested it; see `auto_learning_rate.py`."""
    at_examples: int | None = None
    """Examples of the train split that the bounds are given for; None once `scaled_to` a corpus."""
    relative: bool = False
    """Whether the bounds are of a rate relative to batch and width; see `learning_rates.py`."""

    def contains(self, value: Value) -> bool:
        if self.at_examples is not None:
            return True  # the bounds depend on the corpus, which is not known yet
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def scaled_to(self, examples: int) -> "RangeDimension":
        """Scales the bounds to a train split of `examples`, in three digits.

        A model overfits a larger corpus less and needs less decay: bounds that scale by the inverse
        square root of the split's size serve corpora of 94,000 to 183,000 examples
        (tests/benchmarks/LOG.md, 2026-11-26).
        """
        if self.at_examples is None:
            return self
        scale = math.sqrt(self.at_examples / examples)
        low, high = (float(f"{bound * scale:.3g}") for bound in (self.low, self.high))
        return replace(self, low=low, high=high, at_examples=None)

    def distribution(self) -> BaseDistribution:
        if self.at_examples is not None:
            raise LookupError("a range with at_examples has no bounds before its study is created")
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def to_document(self) -> Any:
        optional = {
            "log": self.log,
            "auto": self.auto,
            "at_examples": self.at_examples,
            "relative": self.relative,
        }
        given = {key: value for key, value in optional.items() if value}
        return {"low": self.low, "high": self.high} | given


@dataclass(frozen=True)
class AutoRange:
    """A learning-rate range that is not known yet; `auto_learning_rate.py` replaces it."""

    def contains(self, value: Value) -> bool:
        return True  # an enqueued value widens the range

    def distribution(self) -> BaseDistribution:
        raise LookupError('learning_rate = "auto" has no range before its study is created')

    def to_document(self) -> str:
        return AUTO


AUTO = "auto"
Dimension = FixedValue | Choices | RangeDimension | AutoRange
Space = Mapping[str, Dimension]


def read_dimension(name: str, raw: Any) -> tuple[Dimension | None, list[str]]:
    """Reads one entry of `[search]` as a dimension; returns all its mistakes instead, if any."""
    if isinstance(raw, dict):
        return _read_range(name, raw)
    if isinstance(raw, list):
        return _read_choices(name, raw)
    if name == "learning_rate" and raw == AUTO:
        return AutoRange(), []
    wrong = value_error(name, raw)
    return (None, [wrong]) if wrong else (FixedValue(raw), [])


def _read_choices(name: str, raw: list[Any]) -> tuple[Dimension | None, list[str]]:
    if not raw:
        return None, ["the list is empty; give at least one choice"]
    wrong = [what for value in raw if (what := value_error(name, value))]
    if wrong:
        return None, wrong
    if len(set(raw)) < len(raw):
        return None, ["a choice is listed twice"]
    return (FixedValue(raw[0]) if len(raw) == 1 else Choices(tuple(raw))), []


def _read_range(name: str, raw: dict[str, Any]) -> tuple[Dimension | None, list[str]]:
    if name in CHOICES or name == "direct":
        return None, ["not a number, so it has no range; give a list of choices or one value"]
    wrong = [f"unknown key {key!r}; a range has low, high, log" for key in raw.keys() - _KEYS]
    wrong += [f"{key!r} is missing" for key in ("low", "high") if key not in raw]
    wrong += [
        f"{key}: {what}"
        for key in ("low", "high")
        if key in raw and (what := value_error(name, raw[key])) and not _is_log_zero(raw, key)
    ]
    log, auto, relative = flags = [raw.get(key, False) for key in _FLAGS]
    wrong += [
        f"{key}: {flag!r} is neither true nor false"
        for key, flag in zip(_FLAGS, flags, strict=True)
        if not isinstance(flag, bool)
    ]
    at_examples = raw.get("at_examples")
    if at_examples is not None and name != SCALES_WITH_CORPUS:
        wrong.append(f"at_examples: only {SCALES_WITH_CORPUS} scales with the corpus")
    elif at_examples is not None and (what := value_error("examples", at_examples)):
        wrong.append(f"at_examples: {what}")
    if relative and name != learning_rates.RATE:
        wrong.append(f"relative: only {learning_rates.RATE} is relative to batch and width")
    if wrong:
        return None, wrong
    low, high = raw["low"], raw["high"]
    if low > high:
        return None, [f"low {low} is above high {high}"]
    if log and low <= 0:
        return None, [f"a logarithmic range needs low above 0, not {low}"]
    if low == high and relative:
        return None, ["a relative range needs low below high; or give one learning rate"]
    if low == high and at_examples is None:
        return FixedValue(low), []
    return RangeDimension(low, high, log, name in INTEGERS, auto, at_examples, relative), []


_FLAGS = ("log", "auto", "relative")
_KEYS = {"low", "high", "at_examples", *_FLAGS}
SCALES_WITH_CORPUS = "weight_decay"


def _is_log_zero(raw: dict[str, Any], key: str) -> bool:
    """Whether a bound is wrong only because of `log`, which is reported once, below."""
    number = isinstance(raw[key], (int, float)) and not isinstance(raw[key], bool)
    return raw.get("log") is True and key == "low" and number and raw[key] <= 0


def searched_names(space: Space) -> list[str]:
    """Returns the names of the searched hyperparameters, as in a study file."""
    return [name for name in HYPERPARAMETERS if space[name].distribution() is not None]


def parameter(name: str, kind: Dimension) -> str:
    """Returns the name under which a hyperparameter is searched, in Optuna's tables as well."""
    is_relative = isinstance(kind, RangeDimension) and kind.relative
    return learning_rates.RELATIVE if is_relative else name


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Returns Optuna's distribution of each searched parameter, in a fixed order."""
    searched = {parameter(name, space[name]): space[name] for name in HYPERPARAMETERS}
    return {
        name: distribution
        for name, kind in searched.items()
        if (distribution := kind.distribution()) is not None
    }


def fixed_values(space: Space) -> dict[str, Value]:
    """Returns the hyperparameters that are not searched."""
    return {name: kind.value for name, kind in space.items() if isinstance(kind, FixedValue)}


def configuration(
    space: Space, searched: Mapping[str, Value], overrides: Mapping[str, Value], **budget: Any
) -> TrialConfig:
    """Combines fixed, searched and enqueued values; a later source overrides an earlier one.

    Args:
        searched: by the names of `distributions`.
        overrides: by the names of a study file.
    """
    values: dict[str, Any] = {**fixed_values(space), **searched, **overrides, **budget}
    return TrialConfig(**learning_rates.with_rate(values))


def searched_values(space: Space, config: Mapping[str, Any]) -> dict[str, Value]:
    """Returns the values of the searched parameters of a configuration: `configuration` reversed.

    A relative learning rate comes back in `learning_rates.DIGITS` digits.
    """
    return {
        parameter(name, space[name]): parameter_value(name, space[name], config)
        for name in searched_names(space)
    }


def parameter_value(name: str, kind: Dimension, config: Mapping[str, Any]) -> Any:
    """Returns the value of a configuration on the scale on which a hyperparameter is searched."""
    if not isinstance(kind, RangeDimension) or not kind.relative:
        return config[name]
    return min(max(learning_rates.relative_rate(config), kind.low), kind.high)


def enqueue_error(name: str, values: Mapping[str, Any], space: Space) -> str | None:
    """Returns the mistake if an enqueued configuration's value of `name` is outside the space."""
    value, kind = values[name], space[name]
    if not isinstance(kind, RangeDimension) or not kind.relative:
        return None if kind.contains(value) else f"{value!r} is outside {kind.to_document()}"
    known = {**fixed_values(space), **values}
    missing = [size for size in learning_rates.RELATIVE_TO if size not in known]
    if missing:
        return f"its range is relative to batch and width; give {' and '.join(missing)} as well"
    if any(value_error(size, known[size]) for size in learning_rates.RELATIVE_TO):
        return None  # which is reported already
    relative = learning_rates.relative_rate(known)
    if any(math.isclose(relative, bound) for bound in (kind.low, kind.high)):
        return None  # but for rounding
    return (
        None
        if kind.contains(relative)
        else f"{value!r} is {relative:.3g} relative to batch and width, which is outside "
        f"{kind.to_document()}"
    )
