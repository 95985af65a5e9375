"""Files that are not lists of words: tables, JSON, comments, numbered lists. The error says what a
file looks like, and which option or command makes words of it.

A real list of words must not be refused: nearly all lines must look alike, words of several parts
are words, and `--separator none` reads any file as it is.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from makemore_core.data.corpus_lines import (
    AS_IT_IS,
    HEADERS,
    MAJORITY,
    MAX_INSPECTED,
    NEARLY_ALL,
    OUTPUT_FILE,
    Line,
    fraction,
    is_number,
    numbered,
    quoted,
    split_fields,
    whole_number,
)
from makemore_core.errors import CorpusError


def check_layout(lines: Sequence[Line], text: str, where: str) -> None:
    """Raises CorpusError, with the remedy, where most lines look like something else."""
    inspected = lines[:MAX_INSPECTED]
    problem = inspected and (
        _json(inspected, text, where)
        or _all_on_a_line(inspected, where)
        or _comments(inspected, where)
        or _table(inspected)
        or _numbers_beside(inspected, where)
        or _decorated(inspected, where)
    )
    if problem:
        raise CorpusError(
            f"corpus {where}: {problem}; if its lines are words as they stand, give "
            f'--separator {AS_IT_IS} (separator = "{AS_IT_IS}" in a study file)'
        )


def _json(lines: Sequence[Line], text: str, where: str) -> str | None:
    start = lines[0].text.strip()
    if len(lines) > 1 and fraction(lambda line: _is_object(line.text), lines) >= NEARLY_ALL:
        return f"lines of JSON, such as {quoted(lines[0])}; {_jq(json.loads(start), where)}"
    if start[0] not in "[{":
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if isinstance(document, list):
        item = document[0] if document else ""
        key = ".[]" + (_json_key(item) if isinstance(item, dict) else "")
        return f"one JSON array; `{_command('jq -r', key, where)}` makes words of it"
    return f"one JSON object; `{_command('jq -r', 'keys[]', where)}` makes words of its keys"


def _is_object(text: str) -> bool:
    text = text.strip()
    if not (text[:1] in "[{" and text[-1:] in "]}"):
        return False
    try:
        return isinstance(json.loads(text), (dict, list))
    except ValueError:
        return False


def _jq(document: Any, where: str) -> str:
    key = _json_key(document) if isinstance(document, dict) else ".[0]"
    return f"`{_command('jq -r', key, where)}` makes words of them"


def _json_key(document: dict[str, Any]) -> str:
    """The first entry that may be a word, as jq names it."""
    keys = [key for key, value in document.items() if isinstance(value, str)]
    key = next((key for key in keys if key.casefold() in HEADERS), (keys or list(document))[0])
    return f".{key}" if re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) else f".[{json.dumps(key)}]"


def _comments(lines: Sequence[Line], where: str) -> str | None:
    marked = [line.number for line in lines if line.text.lstrip().startswith("#")]
    if not 0 < len(marked) < len(lines) / 2:
        return None
    command = f"grep -v '^[[:space:]]*#' {shlex.quote(where)} > {OUTPUT_FILE}"
    return f"{numbered(marked)}: comments, which begin with '#'; `{command}` leaves them out"


def _table(lines: Sequence[Line]) -> str | None:
    """Columns: most lines have as many fields, with letters in them, between the same sign."""
    texts = [line.text for line in lines]
    for separator in ("\t", ";", "|", ","):
        rows = [split_fields(text, separator) for text in texts]
        size, times = Counter(map(len, rows)).most_common(1)[0]
        lettered = fraction(lambda text: any(map(str.isalpha, text)), texts) >= NEARLY_ALL
        if size > 1 and times >= MAJORITY * len(rows) and lettered:
            return _describe_table([row for row in rows if len(row) == size], separator, lines[0])
    if fraction(lambda text: len(text) > 2 and text.strip()[0] == text.strip()[-1] == '"', texts) \
            >= NEARLY_ALL:  # fmt: skip
        return f"words in quotes, such as {quoted(lines[0])}; give --column 1 --separator ,"
    return None


def _describe_table(rows: Sequence[Sequence[str]], separator: str, first: Line) -> str:
    """What a table looks like, and the options that take its words."""
    body = rows[1:] or rows
    columns = list(zip(*body, strict=True))
    numeric = [place for place, cells in enumerate(columns)
               if fraction(is_number, cells) >= NEARLY_ALL]  # fmt: skip
    words = max(
        (place for place in range(len(columns)) if place not in numeric),
        key=lambda place: (len(set(columns[place])), -place),
        default=0,
    )
    name = {"\t": "tab", " ": "blanks"}.get(separator, shlex.quote(separator))
    options = f"--column {words + 1} --separator {name}"
    in_file = f'column = {words + 1}, separator = "{name.strip(chr(39))}"'
    label = {"\t": "tabs", " ": "blanks"}.get(separator, repr(separator))
    counts = [
        place
        for place in numeric
        if len(set(columns[place])) > 1
        and all(whole_number(cell) is not None for cell in columns[place])
    ]
    last = counts[-1] + 1 if counts else 0
    more = f", and --count {last} where column {last} says how often a word occurs" * bool(last)
    return (
        f"{len(columns)} columns between {label}, such as {quoted(first)}; give {options} "
        f"({in_file} in a study file){more}"
    )


NUMBERS_BESIDE = (
    (  # "1. emma", "20355 emma"
        r"[-+]?\d[\d.,]*%?[.):]?\s+.*[^\W\d_].*",
        "sed -E 's/^[[:space:]]*[^[:space:]]+[[:space:]]+//'",
    ),
    (  # "emma 20355"
        r".*[^\W\d_].*\s[-+]?\d[\d.,]*%?",
        "sed -E 's/[[:space:]]+[^[:space:]]+[[:space:]]*$//'",
    ),
    (  # "1.emma"
        r"\d+[.):]\s*[^\W\d_].*",
        "sed -E 's/^[[:space:]]*[0-9]+[.):][[:space:]]*//'",
    ),
    (  # "emma: 20355"
        r".*[^\W\d_].*[:=/]\s*\d[\d.,]*",
        "sed -E 's/[[:space:]]*[:=\\/][^:=\\/]*$//'",
    ),
)
"""How numbers stand beside words, and the command that removes them."""


def _numbers_beside(lines: Sequence[Line], where: str) -> str | None:
    """A number or a mark before or after each word, between blanks or other signs."""
    texts = [line.text.strip() for line in lines]
    rows = [text.split() for text in texts]
    size, times = Counter(map(len, rows)).most_common(1)[0]
    same_size = [row for row in rows if len(row) == size]
    for separator in ":=":
        pairs = [split_fields(text, separator) for text in texts]
        named = [row for row in pairs if len(row) == 2 and row[0] and is_number(row[1])]
        if len(named) >= NEARLY_ALL * len(pairs) and not all(is_number(row[0]) for row in named):
            return _describe_table(named, separator, lines[0])
    for pattern, command in NUMBERS_BESIDE:
        if fraction(re.compile(pattern).fullmatch, texts) < NEARLY_ALL:
            continue
        if size > 1 and times == len(rows) and r"\s" in pattern and _has_word(same_size):
            return _describe_table(same_size, " ", lines[0])
        command = f"{command} {shlex.quote(where)} > {OUTPUT_FILE}"
        return f"numbers beside the words, such as {quoted(lines[0])}; `{command}` removes them"
    flags = [row[1].upper() for row in same_size] if size == 2 else []
    if flags and times >= NEARLY_ALL * len(rows) and set(flags) <= {"F", "M"}:
        return _describe_table(same_size, " ", lines[0])
    return None


def _has_word(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a single column of the rows has the words, the others being numbers or marks."""
    columns = list(zip(*rows, strict=True))
    wordy = [cells for cells in columns if fraction(is_number, cells) < NEARLY_ALL]
    return sum(len(set(cells)) > 2 or len(columns) == 2 for cells in wordy) == 1


def _decorated(lines: Sequence[Line], where: str) -> str | None:
    """Markup, or the sign of a list before each word."""
    texts = [line.text.strip() for line in lines]
    if fraction(lambda text: text[0] == "<" and text[-1] == ">", texts) >= NEARLY_ALL:
        command = f"sed -E 's/<[^>]*>//g' {shlex.quote(where)} > {OUTPUT_FILE}"
        return f"markup, such as {quoted(lines[0])}; `{command}` removes it"
    for sign in "-*•+":
        if fraction(re.compile(rf"[{sign}]\s.*").fullmatch, texts) >= NEARLY_ALL:
            command = f"sed -E 's/^[[:space:]]*[{sign}][[:space:]]+//' {shlex.quote(where)}"
            return (
                f"a list with {sign!r} before each word, such as {quoted(lines[0])}; "
                f"`{command} > {OUTPUT_FILE}` removes it"
            )
    return None


def _all_on_a_line(lines: Sequence[Line], where: str) -> str | None:
    """A few lines that hold many words each."""
    if len(lines) >= 10:
        return None
    for separator, class_ in (
        (",", ","),
        (";", ";"),
        ("|", "|"),
        ("\t", "\\t"),
        (" ", "[:space:]"),
    ):
        for line in lines:
            if len(split_fields(line.text, separator)) >= 10:
                command = f"tr '{class_}' '\\n' < {shlex.quote(where)} > {OUTPUT_FILE}"
                return f"many words on line {line.number}; `{command}` gives each its own line"
    return None


def _command(program: str, what: str, where: str) -> str:
    return f"{program} {shlex.quote(what)} {shlex.quote(where)} > {OUTPUT_FILE}"
