"""Numbers that a picture or a document can hold: JSON knows no infinity and no NaN."""

import math
from collections.abc import Iterable
from typing import Any

LOWEST_DRAWN = 1e-6
"""What lies below it is drawn at it on a log scale: a loss may come to nothing at all."""


def finite(document: Any) -> Any:
    """A JSON document with null in place of every number that is none.

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
    """Whether there is a number that can be drawn."""
    return value is not None and math.isfinite(value)


def finite_of(values: Iterable[float | None]) -> list[float]:
    """Those that can be drawn."""
    return [value for value in values if value is not None and math.isfinite(value)]
