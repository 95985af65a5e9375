"""The lines of a corpus file, and the fields of a line."""

import contextlib
import csv
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

AS_IT_IS = "none"
"""The separator of a file whose every line is a word, whatever it looks like."""

SEPARATORS = {
    "tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "colon": ":", "bar": "|",
    "blank": " ", "blanks": " ", "space": " ", "spaces": " ",
}  # fmt: skip
"""Names of separators that are hard to type; a separator of blanks is any run of them."""

MAX_INSPECTED = 20_000
"""The most lines from which the layout of a file is inferred."""

MAX_LISTED = 100
"""The most lines that a message lists by their numbers."""

MAJORITY, NEARLY_ALL = 0.8, 0.9
"""Fractions of the lines that must look alike for a file to be taken for something else."""

HEADERS = {"name", "names", "word", "words", "first name", "first_name", "firstname", "given name",
           "given_name", "vorname", "term", "token", "text"}  # fmt: skip
"""Headers of a column of words."""

OUTPUT_FILE = "words-only.txt"
"""The file that suggested commands write."""


class Line(NamedTuple):
    """A line that is not blank, with its number from 1."""

    number: int
    text: str


def quoted(line: Line) -> str:
    """A line by its number and its first 60 characters.

    >>> quoted(Line(7, " anna-lena\\n"))
    "line 7 'anna-lena'"
    """
    text = line.text.strip()
    return f"line {line.number} {text[:60] + '…' * (len(text) > 60)!r}"


def numbered(numbers: Sequence[int]) -> str:
    """Lines by their numbers.

    >>> numbered([3]), numbered([3, 8, 12])
    ('line 3', 'lines 3, 8, 12')
    """
    numbers = list(dict.fromkeys(numbers))
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    listed = ", ".join(map(str, numbers[:MAX_LISTED]))
    more = len(numbers) - MAX_LISTED
    return f"lines {listed}" + f" and {more:,} more" * (more > 0)


def split_fields(line: str, separator: str) -> list[str]:
    """The columns of a line, without quotes and blanks around them.

    >>> split_fields('"Mary", F, 7065', ",")
    ['Mary', 'F', '7065']
    """
    if separator == " ":
        return line.split()
    fields = line.split(separator)
    if '"' in line and len(separator) == 1 and separator != '"':
        reader = csv.reader([line.strip("\n")], delimiter=separator, skipinitialspace=True)
        with contextlib.suppress(csv.Error, StopIteration):  # quotes that are no quotes
            fields = next(reader)
    return [field.strip() for field in fields]


def whole_number(field: str) -> int | None:
    """The whole number that a field holds, with or without separators of thousands.

    >>> whole_number("7,065"), whole_number("70,65")
    (7065, None)
    """
    if re.fullmatch(r"[0-9]{1,18}|[0-9]{1,3}(,[0-9]{3}){1,5}", field):
        return int(field.replace(",", ""))
    return None


def is_number(field: str) -> bool:
    """Whether a field is a number of any notation: signed, decimal, a percentage, an ordinal."""
    return re.fullmatch(r"[-+]?\d[\d.,]*%?[.):]?", field) is not None


def fraction(holds: Callable[[Any], object], values: Sequence[Any]) -> float:
    """The fraction of the values that meet a condition; 0 of none."""
    return sum(1 for value in values if holds(value)) / len(values) if values else 0.0
