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
        optional = {"log": self.log, "auto": self.auto, "at_examples": self.at_examples}
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

DEFAULTS: dict[str, Any] = {
    "embedding_size": {"low": 4, "high": 64, "log": True},
    "hidden_width": {"low": 64, "high": 1024, "log": True},
    "block_size": {"low": 2, "high": 12},
    "batch_size": [32, 64, 128, 256, 512, 1024],
    "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "schedule": ["constant", "step", "linear", "cosine", "inverse"],
    "step_at": 0.5,
    "step_factor": 0.1,
    "warmup": 0.02,
    "weight_decay": 0.0,
    "decay_growth": 1.0,
    "dropout": 0.0,
    "smoothing": 0.0,
    "optimizer": ["adamw", "sgd"],
    "targets": "expected",
    "initialisation": "scaled",
    "direct": False,
}
"""The entries of `[search]` that a study file leaves out."""


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
    log, auto = raw.get("log", False), raw.get("auto", False)
    wrong += [
        f"{key}: {flag!r} is neither true nor false"
        for key, flag in (("log", log), ("auto", auto))
        if not isinstance(flag, bool)
    ]
    at_examples = raw.get("at_examples")
    if at_examples is not None and name != SCALES_WITH_CORPUS:
        wrong.append(f"at_examples: only {SCALES_WITH_CORPUS} scales with the corpus")
    elif at_examples is not None and (what := value_error("examples", at_examples)):
        wrong.append(f"at_examples: {what}")
    if wrong:
        return None, wrong
    low, high = raw["low"], raw["high"]
    if low > high:
        return None, [f"low {low} is above high {high}"]
    if log and low <= 0:
        return None, [f"a logarithmic range needs low above 0, not {low}"]
    if low == high and at_examples is None:
        return FixedValue(low), []
    return RangeDimension(low, high, log, name in INTEGERS, auto, at_examples), []


_KEYS = {"low", "high", "log", "auto", "at_examples"}
SCALES_WITH_CORPUS = "weight_decay"


def _is_log_zero(raw: dict[str, Any], key: str) -> bool:
    """Whether a bound is wrong only because of `log`, which is reported once, below."""
    number = isinstance(raw[key], (int, float)) and not isinstance(raw[key], bool)
    return raw.get("log") is True and key == "low" and number and raw[key] <= 0


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Returns Optuna's distribution of each searched hyperparameter, in a fixed order."""
    return {
        name: distribution
        for name in HYPERPARAMETERS
        if (distribution := space[name].distribution()) is not None
    }


def fixed_values(space: Space) -> dict[str, Value]:
    """Returns the hyperparameters that are not searched."""
    return {name: kind.value for name, kind in space.items() if isinstance(kind, FixedValue)}


def configuration(
    space: Space, searched: Mapping[str, Value], overrides: Mapping[str, Value], **budget: Any
) -> TrialConfig:
    """Combines fixed, searched and enqueued values; a later source overrides an earlier one."""
    values: dict[str, Any] = {**fixed_values(space), **searched, **overrides, **budget}
    return TrialConfig(**values)
