"""Mistakes of a study file, each as its key and what is wrong with it."""

import difflib
from collections.abc import Mapping
from typing import Any

from search.spec.sections import FileSections

Mistake = tuple[str, str]
"""The key and the problem."""


def as_mistake(detail: Any) -> Mistake:
    """Returns one of pydantic's errors as (key, problem)."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        section = {f"{detail['loc'][0]}"} if len(detail["loc"]) > 1 else set()
        model = FileSections.model_fields[section.pop()].annotation if section else FileSections
        known = getattr(model, "model_fields", {})
        return key, "unknown key" + _did_you_mean(str(detail["loc"][-1]), known)
    if detail["type"] == "missing":
        return key, "missing"
    message = detail["msg"].removeprefix("Value error, ")
    return key, message[0].lower() + message[1:] + f", not {detail['input']!r}"[:80] * (
        detail["type"] != "value_error"
    )


def unknown_keys(section: str, table: Mapping[str, Any], known: set[str]) -> list[Mistake]:
    """Returns a mistake for each key of a table that is not known."""
    return [
        (f"{section}.{key}", "unknown key" + _did_you_mean(key, known))
        for key in table
        if key not in known
    ]


def _did_you_mean(key: str, known: Any) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
