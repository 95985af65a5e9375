"""Characters as people see them, and those that an alphabet does not have."""

import unicodedata
from collections.abc import Iterable

from makemore_core.errors import CorpusError

MAX_SHOWN = 60
"""Characters of an alphabet in a message; one of thousands is told by its size."""

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that a terminal obeys, hides or cannot draw, and that XML may not hold."""


def visible(text: str) -> str:
    r"""The text with control, zero-width, direction and unassigned characters as escapes.

    >>> visible("ann\u200ba \x1b[31m")
    'ann\\u200ba \\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if unicodedata.category(character) not in INVISIBLE:
        return character
    return (
        character.encode("ascii", "backslashreplace").decode()
        if ord(character) > 255
        else (f"\\x{ord(character):02x}")
    )


def describe_alphabet(vocabulary: str) -> str:
    """The characters after the boundary, for a message.

    >>> describe_alphabet(".abc")
    "'abc'"
    """
    characters = vocabulary[1:]
    if len(characters) <= MAX_SHOWN:
        return repr(characters)
    return f"{characters[:MAX_SHOWN]!r}… ({len(characters):,} characters)"


def foreign_character(words: Iterable[str], vocabulary: str) -> CorpusError:
    """The error for words of which one has a character that the alphabet lacks; names both."""
    known = set(vocabulary[1:])
    for word in words:
        for character in word:
            if character not in known:
                told = repr(character)
                if character == vocabulary[0]:
                    told += ", which marks the boundary of a word,"
                return CorpusError(
                    f"word {word[:40]!r}: {told} is not in the alphabet "
                    f"{describe_alphabet(vocabulary)}"
                )
    raise AssertionError("every character is in the alphabet")
