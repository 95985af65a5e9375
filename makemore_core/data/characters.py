"""Characters that an alphabet has, and those that it does not have."""

from collections.abc import Iterable

from makemore_core.errors import CorpusError

MAX_SHOWN = 60
"""Characters of an alphabet in a message; one of thousands is told by its size."""


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
