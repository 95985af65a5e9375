"""Commands as hints name them: they can be pasted into a shell."""

import shlex
from collections.abc import Sequence

from makemore_core.printable import printable

NO_FILE = "STUDY.toml"
"""Stands for the study's file, where a verb was given the study's name only."""


def command(verb: str, *arguments: str, options: Sequence[str] = (), place: str = "") -> str:
    """A command as a shell takes it.

    Args:
        arguments: names and files; one that begins with a dash comes last, after `--`.
        place: the options that lead to the same storage, as a shell takes them.

    >>> command("test", "my study"), command("best", "-x", options=["--toml"])
    ("makemore-search test 'my study'", 'makemore-search best --toml -- -x')
    """
    return f"makemore-search {verb_and_arguments(verb, *arguments, options=options, place=place)}"


def verb_and_arguments(
    verb: str, *arguments: str, options: Sequence[str] = (), place: str = ""
) -> str:
    """The same without the program's name, for a line that has no room for it."""
    names = [*map(_quoted, arguments)]
    given = [*map(_quoted, options), *([place.strip()] if place else [])]
    if any(argument.startswith("-") for argument in arguments):
        return " ".join([verb, *given, "--", *names])
    return " ".join([verb, *names, *given])


def _quoted(argument: str) -> str:
    if argument == NO_FILE:
        return argument
    shown = printable(argument)
    return shlex.quote(argument) if shown == argument else f"$'{_in_dollar_quotes(argument)}'"


def _in_dollar_quotes(argument: str) -> str:
    """For what no terminal shows: the shell itself turns the escapes back."""
    told = argument.replace("\\", "\\\\").replace("'", "\\'")
    return "".join(c if printable(c) == c else _bytes_of(c) for c in told)


def _bytes_of(character: str) -> str:
    data = character.encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in data)
