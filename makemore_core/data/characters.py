"""Descriptions of an alphabet, and of a character outside it, for messages."""

from collections.abc import Iterable

from makemore_core.errors import CorpusError

MAX_SHOWN = 60
"""The most characters of an alphabet in a message; a larger one is described by its size."""


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
    """The error for words with a character outside the alphabet; its message names both."""
    alphabet = set(vocabulary[1:])
    for word in words:
        for character in word:
            if character not in alphabet:
                description = repr(character)
                if character == vocabulary[0]:
                    description += ", which marks the boundary of a word,"
                return CorpusError(
                    f"word {word[:40]!r}: {description} is not in the alphabet "
                    f"{describe_alphabet(vocabulary)}"
                )
    raise AssertionError("every character is in the alphabet")
