"""On which line of a TOML text a key stands. The standard library's reader gives no positions.

The reader itself is asked, with more and less of the text: the lines up to the end of a statement
are a document of their own, and those up to the middle of one are none. So a key stands in the
statement whose lines bring it in. Headers, dotted and quoted keys, inline tables and strings over
several lines are as the reader takes them, since nothing is read here by other rules.
"""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

MAX_LINES = 2_000
"""Of a longer text no lines are told: that would take seconds."""


class Lines:
    """The lines of one text, which must be TOML."""

    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self._document: Callable[[int], dict[str, Any] | None] = cache(self._read)

    def of(self, key: str) -> int | None:
        """The first line of the statement that a key stands in, counted from one.

        Args:
            key: its parts joined by dots, indices of tables among them: `enqueue.0.batch_size`.

        Returns:
            The line of the closest part above it where the key itself is missing; None where there
            is none of them.
        """
        if len(self._lines) > MAX_LINES:
            return None
        whole, parts = self._document(len(self._lines)), key.split(".")
        for length in range(len(parts), 0, -1):
            if holds(whole, parts[:length]):
                return self._first_with(parts[:length])
        return None

    def _first_with(self, parts: Sequence[str]) -> int:
        """Bisects the ends of statements: what one of them brought in stays there."""
        without, having = 0, len(self._lines)
        while (end := self._end_between(without, having)) is not None:
            if holds(self._document(end), parts):
                having = end
            else:
                without = end
        return without + 1

    def _end_between(self, low: int, high: int) -> int | None:
        """Where a statement ends between two such places, the closer to the middle the better."""
        middle = (low + high) // 2
        for end in itertools.chain(range(middle, high), range(middle - 1, low, -1)):
            if end > low and self._document(end) is not None:
                return end
        return None

    def _read(self, count: int) -> dict[str, Any] | None:
        """The first lines as a document; None if they end within a statement."""
        try:
            return tomllib.loads("\n".join(self._lines[:count]))
        except tomllib.TOMLDecodeError:
            return None


def holds(node: Any, parts: Sequence[str]) -> bool:
    """Whether a document has a key; a part of it may have dots of its own."""
    return not parts or any(holds(child, rest) for child, rest in _children(node, parts))


def _children(node: Any, parts: Sequence[str]) -> Iterator[tuple[Any, Sequence[str]]]:
    if isinstance(node, Mapping):
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            if name in node:
                yield node[name], parts[length:]
    elif isinstance(node, list) and parts[0].isdigit() and int(parts[0]) < len(node):
        yield node[int(parts[0])], parts[1:]
