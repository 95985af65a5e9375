"""What README and docs/ show of a run, and whether the program still speaks like that.

Numbers, names and words that a model made up differ from run to run; what is left of a line without
them is its shape. A shown line is stale once the program prints no line of that shape.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

BLOCK = re.compile(
    r"(?P<head><!-- transcript: (?P<name>\w+) -->\n```text\n)(?P<text>.*?)(?P<tail>```\n)",
    re.DOTALL,
)
LEFT_OUT = "..."
MANY = 6
"""Of more lines of one kind, the first three and the last three are shown."""

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?:h\d+m|m\d+s|[hms])?(?![a-z])"
REPLACED = (
    (r" --data-dir [^\s,]+| --workers \d+", ""),
    (r"(?: · (?:unigram|bigram|\d+-gram|the lecture's) [\d.]+)+", " · BASELINES"),
    (r"\b(unigram|bigram|\d+-gram)\b", "COUNT"),
    (r"\b(quick|tiny)\b", "NAME"),
    (r"\S*NAME\.toml", "FILE"),
    (r"\b(adamw|sgd)\b", "OPTIMIZER"),
    (r"\b(constant|step|linear|cosine|inverse)\b", "SCHEDULE"),
    (r"\b(above|below|ahead of|behind|better|worse)\b", "SIDE"),
    (NUMBER, "N"),
    (r"\s+", " "),
)


def blocks(page: str) -> dict[str, str]:
    """The transcripts of a page, by name."""
    return {found["name"]: found["text"] for found in BLOCK.finditer(page)}


def replaced(pages: Mapping[Path, str], transcripts: Mapping[str, str]) -> dict[Path, str]:
    """The pages with other transcripts in the same places."""
    missing = transcripts.keys() - {name for page in pages.values() for name in blocks(page)}
    assert not missing, f"no page has a place for {missing}"
    return {
        path: BLOCK.sub(lambda m: f"{m['head']}{transcripts[m['name']]}{m['tail']}", page)
        for path, page in pages.items()
    }


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, word in REPLACED:
        line = re.sub(pattern, word, line)
    return line.strip()


def unknown(transcript: str, spoken: Sequence[str]) -> list[str]:
    """The lines of a transcript of whose shape no spoken line is; commands and gaps aside."""
    shapes = {shape(line) for line in spoken}
    return [
        line
        for line in transcript.splitlines()
        if not line.startswith("$ ") and line.strip() != LEFT_OUT and shape(line) not in shapes
    ]


def shortened(lines: Sequence[str], kind: str) -> list[str]:
    """Of many lines that begin alike, the first and the last."""
    alike = [index for index, line in enumerate(lines) if re.match(kind, line)]
    if len(alike) <= MANY:
        return list(lines)
    dropped = set(alike[MANY // 2 : -MANY // 2])
    first = min(dropped)
    indent = " " * (len(lines[first]) - len(lines[first].lstrip()))
    return [
        f"{indent}{LEFT_OUT}" if index == first else line
        for index, line in enumerate(lines)
        if index == first or index not in dropped
    ]


def report_labels(page: str) -> list[str]:
    """What the tiles and the sections of a report are called."""
    found = re.findall(r"<(dt|h2)\b[^>]*>([^<]*)</\1>", page)
    return list(dict.fromkeys(shape(text) for _, text in found))
