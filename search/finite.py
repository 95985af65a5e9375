"""Filters numbers that are not finite, which JSON and pictures cannot show."""

import math
from collections.abc import Iterable
from typing import Any

LOWEST_DRAWN = 1e-6
"""The lowest value of a logarithmic scale; a smaller loss, which may be zero, is drawn there."""


def finite(document: Any) -> Any:
    """Returns a JSON document with null in place of every number that is not finite.

    >>> finite({"losses": [1.0, float("nan"), float("inf")]})
    {'losses': [1.0, None, None]}
    """
    if isinstance(document, float):
        return document if math.isfinite(document) else None
    if isinstance(document, dict):
        return {key: finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [finite(value) for value in document]
    return document


def is_finite(value: float | None) -> bool:
    """Whether a value is a finite number."""
    return value is not None and math.isfinite(value)


def finite_of(values: Iterable[float | None]) -> list[float]:
    """Returns the finite numbers among values."""
    return [value for value in values if value is not None and math.isfinite(value)]
