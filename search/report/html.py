"""A few pieces of HTML; whatever comes from a study or a user is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from makemore_core.data.printable import printable


def text(value: Any) -> str:
    """Words as they are: no part of them is markup."""
    return escape(printable(str(value)))


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph; `words` is markup."""
    return f'<p class="{kind}">{words}</p>' if kind else f"<p>{words}</p>"


def section(anchor: str, title: str, *parts: str) -> str:
    """A section with its heading; empty parts are left out."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{text(title)}</h2>\n'
        f"{body}\n</section>"
    )


def plot(anchor: str, told: str, caption: str) -> str:
    """A place for a figure; `told` is what it shows, for those who do not see it."""
    return (
        f'<figure><div class="plot" id="{anchor}" role="img" aria-label="{text(told)}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[Any]], best: int | None = None
) -> str:
    """A table; numbers stand at the right, and row `best` in bold."""
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td{_side(value)}>{format_cell(value)}</td>" for value in row)
        kind = ' class="best"' if index == best else ""
        lines.append(f"<tr{kind}>{cells}</tr>")
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    return (
        f'<div class="scroll"><table><caption>{text(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _side(value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return ' class="n"' if number else ""


def format_cell(value: Any) -> str:
    """A cell's value: four significant decimals, thousands apart."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def tiles(rows: Iterable[tuple[str, str, str]]) -> str:
    """Headline numbers: (what, value, remark)."""
    cells = [
        f'<div class="{"" if index else "first"}"><dt>{text(what)}</dt>'
        f"<dd>{text(value)}<small>{text(remark)}</small></dd></div>"
        for index, (what, value, remark) in enumerate(rows)
    ]
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def word_list(words: Iterable[str]) -> str:
    """Words in columns."""
    items = "".join(f"<li>{text(word) or '<i>(empty)</i>'}</li>" for word in words)
    return f'<ul class="words">{items}</ul>'


def code_block(source: str) -> str:
    """Code, as it is."""
    lines = "\n".join(map(text, source.split("\n")))
    return f"<pre><code>{lines}</code></pre>"
