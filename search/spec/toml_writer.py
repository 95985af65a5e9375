"""Writes the few kinds of TOML that this program writes; the standard library only reads it."""

import json
from collections.abc import Mapping
from typing import Any


def table(name: str, values: Mapping[str, Any]) -> str:
    """One table of numbers, strings and booleans; None is left out.

    >>> print(table("config", {"corpus": "names", "direct": False, "patience": None}))
    [config]
    corpus = "names"
    direct = false
    """
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *lines])


def _value(value: bool | int | float | str) -> str:
    # JSON's strings, numbers and booleans are TOML's; a float always keeps its point or exponent.
    # Of what TOML does not take as it is, JSON escapes all but one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
