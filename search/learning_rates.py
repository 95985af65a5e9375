"""Learning rates relative to batch and width: a good rate goes with sqrt(batch size / width).

A range with `relative = true` is searched by the rate at a batch as large as the network is wide, a
parameter of its own name; the rate of a configuration follows from it and from its two sizes. The
square root of the batch is the rule for adaptive optimizers of Malladi et al. 2022 ("On the SDEs
and Scaling Rules for Adaptive Gradient Algorithms"); that of the width is measured
(tests/benchmarks/LOG.md, 2026-11-26).
"""

import math
from collections.abc import Mapping
from typing import Any

RATE = "learning_rate"
RELATIVE = "relative_learning_rate"
"""The searched parameter of a relative range."""
RELATIVE_TO = ("batch_size", "hidden_width")
"""The hyperparameters that a relative rate is relative to."""
DIGITS = 12
"""Significant digits of a relative rate; so many survive the way to a rate and back."""


def scale(values: Mapping[str, Any]) -> float:
    """Returns the factor from the relative rate to the rate of a configuration.

    Without hidden units, a network counts as one unit wide.

    >>> scale({"batch_size": 128, "hidden_width": 512})
    0.5
    """
    return math.sqrt(values["batch_size"] / max(1, values["hidden_width"]))


def relative_rate(values: Mapping[str, Any]) -> float:
    """Returns the relative rate of a configuration, in DIGITS digits.

    >>> relative_rate({"learning_rate": 0.0035, "batch_size": 128, "hidden_width": 512})
    0.007
    """
    return float(f"{values[RATE] / scale(values):.{DIGITS}g}")


def with_rate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration's values with its rate in place of the relative one; a rate that is
    given as well counts."""
    absolute = {name: value for name, value in values.items() if name != RELATIVE}
    if RELATIVE in values and RATE not in values:
        absolute[RATE] = values[RELATIVE] * scale(values)
    return absolute
