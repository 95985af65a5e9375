"""Formats numbers, times, configurations and commands as text for people."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from makemore_core.data.printable import printable


def format_rate(finished: int, seconds: float) -> str:
    """Formats trials per minute, or per hour where that would be zero.

    >>> format_rate(40, 60), format_rate(1, 600), format_rate(0, 0)
    ('40/min', '6/h', '0/min')
    """
    per_minute = finished / seconds * 60 if seconds else 0.0
    return f"{per_minute * 60:.0f}/h" if 0 < per_minute < 1 else f"{per_minute:.0f}/min"


def format_seed_interval(ci95: Sequence[float] | None) -> str:
    """Formats the interval of a mean over seeds, or says that there is none."""
    if ci95 is None:
        return "one seed: no interval"
    return f"95% interval over seeds {ci95[0]:.4f} to {ci95[1]:.4f}"


def format_duration(seconds: float) -> str:
    """Formats seconds as 41s, 3m20s or 2h05m."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded}s"
    if rounded < 3600:
        return f"{rounded // 60}m{rounded % 60:02}s"
    return f"{rounded // 3600}h{rounded % 3600 // 60:02}m"


def iso_time(seconds: float) -> str:
    """Formats seconds since 1970 as a time in UTC.

    >>> iso_time(0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def format_config(config: object) -> str:
    """Formats a configuration's main values in one line."""
    values = dict(config) if isinstance(config, dict) else {}
    names = (
        ("block", "block_size"),
        ("embedding", "embedding_size"),
        ("hidden", "hidden_width"),
        ("batch", "batch_size"),
    )
    shape = " ".join(f"{short} {values.get(name)}" for short, name in names)
    rate = values.get("learning_rate", 0.0)
    return f"{shape} {values.get('optimizer')} lr {rate:.3g} {values.get('schedule')}"


NO_FILE = "STUDY.toml"
"""A placeholder for the study's file, where only the study's name was given."""


def command(verb: str, *arguments: str, options: Sequence[str] = (), place: str = "") -> str:
    """Formats a command for a shell.

    Args:
        arguments: names and files; one that begins with a dash comes last, after `--`.
        place: the options that select the same storage, quoted for a shell.

    >>> command("test", "my study"), command("best", "-x", options=["--toml"])
    ("makemore-search test 'my study'", 'makemore-search best --toml -- -x')
    """
    return f"makemore-search {verb_and_arguments(verb, *arguments, options=options, place=place)}"


def verb_and_arguments(
    verb: str, *arguments: str, options: Sequence[str] = (), place: str = ""
) -> str:
    """Formats a command without the program's name, for a line with little room."""
    names = [*map(_quoted, arguments)]
    given = [*map(_quoted, options), *([place.strip()] if place else [])]
    if any(argument.startswith("-") for argument in arguments):
        return " ".join([verb, *given, "--", *names])
    return " ".join([verb, *names, *given])


def _quoted(argument: str) -> str:
    if argument == NO_FILE:
        return argument
    is_printable = printable(argument) == argument
    return shlex.quote(argument) if is_printable else f"$'{_in_dollar_quotes(argument)}'"


def _in_dollar_quotes(argument: str) -> str:
    """Escapes characters that no terminal shows; the shell decodes the escapes."""
    escaped = argument.replace("\\", "\\\\").replace("'", "\\'")
    return "".join(c if printable(c) == c else _bytes_of(c) for c in escaped)


def _bytes_of(character: str) -> str:
    data = character.encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in data)
