"""TOML for the files that this program writes and shows."""

from collections.abc import Mapping
from typing import Any

import tomli_w


def document(tables: Mapping[str, Any]) -> str:
    """Tables as TOML; values that are None are left out, for which TOML has no word.

    >>> print(document({"config": {"corpus": "names", "direct": False, "patience": None}}), end="")
    [config]
    corpus = "names"
    direct = false
    """
    return tomli_w.dumps(_without_none(tables))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(each) for each in value]
    return value
