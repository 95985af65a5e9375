"""Finds the line of a key in a TOML text; the standard library's reader gives no positions.

The reader is called with more and less of the text: the lines up to the end of a statement are
valid TOML, those up to the middle of one are not, and a key belongs to the first statement with
which it appears. Headers, dotted and quoted keys, inline tables and multi-line strings need no
parser of their own this way.
"""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

MAX_LINES, MAX_CHARACTERS = 2_000, 50_000
"""A longer text gets no line numbers: to find them would take seconds."""


class Lines:
    """The lines of one valid TOML text."""

    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self._is_long = len(self._lines) > MAX_LINES or len(text) > MAX_CHARACTERS
        self._document: Callable[[int], dict[str, Any] | None] = cache(self._read)

    def of(self, key: str) -> int | None:
        """Returns the first line of the statement with a key, counted from one.

        Args:
            key: its parts joined by dots, indices of tables among them: `enqueue.0.batch_size`.

        Returns:
            Where the key is missing, the line of its closest parent; None where there is no parent.
        """
        if self._is_long:
            return None
        document, parts = self._document(len(self._lines)), key.split(".")
        for length in range(len(parts), 0, -1):
            if has_key(document, parts[:length]):
                return self._first_with(parts[:length])
        return None

    def _first_with(self, parts: Sequence[str]) -> int:
        """Bisects the ends of statements: a key that has appeared never disappears."""
        without, having = 0, len(self._lines)
        while (end := self._end_between(without, having)) is not None:
            if has_key(self._document(end), parts):
                having = end
            else:
                without = end
        return without + 1

    def _end_between(self, low: int, high: int) -> int | None:
        """Returns the end of a statement between two others, near the middle, if there is one."""
        middle = (low + high) // 2
        for end in itertools.chain(range(middle, high), range(middle - 1, low, -1)):
            if end > low and self._document(end) is not None:
                return end
        return None

    def _read(self, count: int) -> dict[str, Any] | None:
        """Parses the first `count` lines; returns None if they end within a statement."""
        try:
            return tomllib.loads("\n".join(self._lines[:count]))
        except tomllib.TOMLDecodeError:
            return None


def has_key(node: Any, parts: Sequence[str]) -> bool:
    """Whether a document has a key, whose parts may contain dots themselves."""
    return not parts or any(has_key(child, rest) for child, rest in _children(node, parts))


def _children(node: Any, parts: Sequence[str]) -> Iterator[tuple[Any, Sequence[str]]]:
    if isinstance(node, Mapping):
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            if name in node:
                yield node[name], parts[length:]
    elif isinstance(node, list) and parts[0].isdigit() and int(parts[0]) < len(node):
        yield node[int(parts[0])], parts[1:]
