"""Reads TOML that may come from a stranger: whatever it is takes no long time, and one error."""

import tomllib
from typing import Any

MAX_DOTS = 1_000
"""In a line. A key takes a time that goes with the square of its parts: with a megabyte, hours."""


def loads(text: str) -> dict[str, Any]:
    """The document of a TOML text.

    Raises:
        ValueError: it is none; the message ends with the place, where that is known.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MAX_DOTS:
            raise ValueError(f"more than {MAX_DOTS} dots (at line {number}, column 1)")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("too deeply nested") from None
    except ValueError:
        raise ValueError("a number has too many digits") from None
