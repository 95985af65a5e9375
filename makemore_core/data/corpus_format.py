"""The layout of a corpus file: one word on each line, or a table with the words in one column.

A file with another layout is refused: the message says what it looks like, and which option or
command makes words of it.
"""

import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from makemore_core.data.corpus_lines import (
    AS_IT_IS,
    HEADERS,
    MAJORITY,
    MAX_INSPECTED,
    NEARLY_ALL,
    OUTPUT_FILE,
    SEPARATORS,
    Line,
    fraction,
    is_number,
    numbered,
    quoted,
    split_fields,
    whole_number,
)
from makemore_core.data.other_layouts import check_layout
from makemore_core.data.printable import INVISIBLE, printable
from makemore_core.errors import CorpusError

BOUNDARY = "."
"""Begins and ends every word; index 0 of every vocabulary (lecture: the character '.')."""

MAX_QUOTED = 10
"""The most unusable lines whose text is shown."""

REMEDY = (
    "mend these lines, or leave them out with --drop-unusable "
    "(drop_unusable = true in a study file)"
)
ANOTHER_COLUMN = "no line is left; give other columns, or mend the file"

MAX_COUNTED = 2_000_000
"""The most words that a count column may add up to: each repetition is held in memory."""


@dataclass(frozen=True)
class CorpusFormat:
    """The place of the words in a file; with the defaults, each line is a word."""

    column: int | None = None  # of the words, from 1
    separator: str | None = None  # between columns; None: as the file shows
    count: int | None = None  # the column that says how often each word occurs, from 1
    drop_unusable: bool = False

    @property
    def has_columns(self) -> bool:
        """Whether the file is a table."""
        return self.separator != AS_IT_IS and bool(self.column or self.separator or self.count)


@dataclass(frozen=True)
class ParsedWords:
    """The words of a file in its order, and remarks for the user on how they were read."""

    words: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Unusable:
    """A line that cannot be a word."""

    line: Line
    why: str


def parse_words(
    text: str, where: str, layout: CorpusFormat, *, unique: bool = False
) -> ParsedWords:
    """Parses the words of a text.

    Args:
        unique: each word will be kept once, so that counts need not be written out.

    Raises:
        CorpusError: lines cannot be words, or the text is something other than a list of words;
            the message says which, and what would be right.
    """
    notes: list[str] = []
    lines = _lines(text, notes)
    if layout.has_columns:
        rows, unusable = _from_table(lines, where, layout, notes)
    else:
        if layout.separator != AS_IT_IS:
            check_layout(lines, text, where)
            _note_header(lines, notes)
        rows, unusable = [(line, line.text.strip(), 1) for line in lines], []
    usable = []
    for line, word, count in rows:
        if why := _why_unusable(word):
            unusable.append(Unusable(Line(line.number, word), why))
        else:
            usable.append((line, word, count))
    if unusable:
        description = _describe_unusable(unusable)
        if not layout.drop_unusable:
            raise CorpusError(
                f"corpus {where}: {description}; {REMEDY if usable else ANOTHER_COLUMN}"
            )
        notes.append(f"left out as unusable: {description}")
    _note_characters([(line, word) for line, word, _ in usable], where, notes)
    return ParsedWords(_repeated(usable, where, layout, unique, notes), tuple(notes))


def _lines(text: str, notes: list[str]) -> list[Line]:
    """The lines that are not blank; a byte-order mark within the text ends a line."""
    parsed = []
    seams = []
    for number, whole in enumerate(
        text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1
    ):
        if "\ufeff" in whole:
            seams.append(number)
        parsed += [Line(number, part) for part in whole.split("\ufeff") if part.strip()]
    if seams:
        notes.append(
            f"{numbered(seams)}: a byte-order mark, as where files are joined; "
            "it is taken for the end of a line"
        )
    return parsed


def _why_unusable(word: str) -> str | None:
    if BOUNDARY in word:
        return f"contains {BOUNDARY!r}, which marks the boundary of a word"
    return "contains a NUL (is this a text file?)" if "\0" in word else None


def _describe_unusable(unusable: Sequence[Unusable]) -> str:
    """Every line, grouped by its problem; the first ones with their text."""
    reasons: dict[str, list[Line]] = {}
    for each in unusable:
        reasons.setdefault(each.why, []).append(each.line)
    parts = []
    for why, lines in reasons.items():
        quotes = ", ".join(f"line {line.number} {line.text[:40]!r}" for line in lines[:MAX_QUOTED])
        more = [line.number for line in lines[MAX_QUOTED:]]
        rest = f" and {len(more):,} more: {numbered(more)}" if more else ""
        count = f"{len(lines):,} lines" if len(lines) > 1 else "1 line"
        parts.append(f"{count} cannot be words ({why}): {quotes}{rest}")
    return "; ".join(parts)


def _repeated(
    rows: Sequence[tuple[Line, str, int]],
    where: str,
    layout: CorpusFormat,
    unique: bool,
    notes: list[str],
) -> tuple[str, ...]:
    """Each word as often as it was counted, as if the file had repeated its line."""
    if layout.count is None or unique:
        return tuple(word for _, word, count in rows if count)
    total = sum(count for _, _, count in rows)
    if total > MAX_COUNTED:
        raise CorpusError(
            f"corpus {where}: the counts of column {layout.count} add up to {total:,} words, and "
            f"at most {MAX_COUNTED:,} are held in memory; divide the counts by "
            f"{-(-total // MAX_COUNTED)}, or leave --count out, so that each line is one word"
        )
    used = sum(1 for _, _, count in rows if count)
    notes.append(
        f"{used:,} lines, counted as {total:,} words: a word stands in the split as often as it "
        "occurs, so that common ones are in train, dev and test alike (dedupe = true: once)"
    )
    return tuple(word for _, word, count in rows for _ in range(count))


# Tables


def _from_table(
    lines: Sequence[Line], where: str, layout: CorpusFormat, notes: list[str]
) -> tuple[list[tuple[Line, str, int]], list[Unusable]]:
    """(line, word, count) of each row, and the lines that have no such columns."""
    comments = [line for line in lines if line.text.lstrip().startswith("#")]
    if len(comments) < len(lines) / 2 and comments:
        notes.append(f"{numbered([line.number for line in comments])}: left out as comments (#)")
        lines = [line for line in lines if not line.text.lstrip().startswith("#")]
    separator = layout.separator and SEPARATORS.get(layout.separator, layout.separator)
    separator = separator or _separator_of([line.text for line in lines[:MAX_INSPECTED]]) or ","
    column = layout.column or (2 if layout.count == 1 else 1)
    if column == layout.count:
        raise CorpusError(f"corpus {where}: column {column} cannot be both the word and its count")
    table = [(line, split_fields(line.text, separator)) for line in lines]
    if _has_header([fields for _, fields in table[:MAX_INSPECTED]], column, layout.count):
        line, fields = table.pop(0)
        notes.append(f"line {line.number} is the header of the columns: {', '.join(fields)[:80]}")
    rows, unusable = [], []
    for line, fields in table:
        why, word, count = _picked(fields, column, layout.count)
        if why:
            unusable.append(Unusable(Line(line.number, line.text.strip()), why))
        else:
            rows.append((line, word, count))
    return rows, unusable


def _picked(fields: Sequence[str], column: int, count: int | None) -> tuple[str, str, int]:
    """(what is wrong, the word, how often) of a row."""
    if max(column, count or 0) > len(fields):
        size = f"{len(fields)} column" + "s" * (len(fields) != 1)
        return f"has {size}, and column {max(column, count or 0)} is asked for", "", 0
    word = fields[column - 1]
    if not word:
        return f"has no word in column {column}", "", 0
    if count is None:
        return "", word, 1
    number = whole_number(fields[count - 1])
    if number is None:
        return f"has no whole number in column {count}", "", 0
    return "", word, number


def _has_header(table: Sequence[Sequence[str]], column: int, count: int | None) -> bool:
    """Whether the first row names the columns: it has words where the others have numbers."""
    if len(table) < 2:
        return False
    first, others = table[0], table[1:]
    if count is not None and count <= len(first):
        second = others[0][count - 1] if count <= len(others[0]) else ""
        return whole_number(first[count - 1]) is None and whole_number(second) is not None
    for place, field in enumerate(first):
        below = [row[place] for row in others if place < len(row)]
        if below and not is_number(field) and fraction(is_number, below) >= NEARLY_ALL:
            return True
    return column <= len(first) and len(first) > 1 and first[column - 1].casefold() in HEADERS


def _separator_of(texts: Sequence[str]) -> str | None:
    """What stands between the columns of most lines, if anything does."""
    for separator in ("\t", ";", "|", ",", " "):
        rows = [split_fields(text, separator) for text in texts]
        if fraction(lambda row: len(row) > 1, rows) >= MAJORITY:
            return separator
    return None


# Remarks on words that are used as they are


def _note_header(lines: Sequence[Line], notes: list[str]) -> None:
    if lines and lines[0].text.strip().casefold() in HEADERS:
        notes.append(
            f"{quoted(lines[0])} is taken for a word; if it is a heading, remove it from the file"
        )


def _note_characters(words: Sequence[tuple[Line, str]], where: str, notes: list[str]) -> None:
    """Notes the words with invisible characters, and those that occur in two Unicode forms."""
    alphabet = set().union(*(word for _, word in words)) if words else set()
    hidden = {c for c in alphabet if unicodedata.category(c) in INVISIBLE or c == "\t"}
    if hidden:
        having = [line for line, word in words if not hidden.isdisjoint(word)]
        listed = ", ".join(repr(printable(c)) for c in sorted(hidden)[:10]).replace("\\\\", "\\")
        notes.append(
            f"{numbered([line.number for line in having])}: a character that cannot be seen "
            f"({listed}) is a letter of the alphabet like any other"
        )
    if not any(unicodedata.combining(c) or not unicodedata.is_normalized("NFC", c)
               for c in alphabet):  # fmt: skip
        return
    apart = [line for line, word in words if not unicodedata.is_normalized("NFC", word)]
    if apart:
        forms: dict[str, set[str]] = {}
        for _, word in words:
            forms.setdefault(unicodedata.normalize("NFC", word), set()).add(word)
        twins = [word for word, written in forms.items() if len(written) > 1]
        same = (
            f"; {len(twins):,} words stand in the file in both forms, such as {twins[0][:40]!r}"
            if twins
            else ""
        )
        notes.append(
            f"{numbered([line.number for line in apart])}: accents that stand apart from their "
            f"letters (not Unicode's composed form, NFC){same}; `python3 -c 'import sys, "
            'unicodedata; sys.stdout.write(unicodedata.normalize("NFC", sys.stdin.read()))\' '
            f"< {shlex.quote(where)} > {OUTPUT_FILE}` composes them"
        )
