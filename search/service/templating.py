"""The page's templates: Jinja2 with autoescape, and the files beside them."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup, escape
from starlette.templating import Jinja2Templates

from makemore_core.data.printable import printable
from search.formatting import format_duration
from search.report.templating import html_environment
from search.study.memory import format_bytes
from search.terminal.display import format_searched_values

STATIC = Path(__file__).parent / "static"
"""Scripts, styles and pictures of the page, served under /assets."""
CODE = re.compile(r"`([^`]+)`")
PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


def format_cell(value: Any) -> str:
    """A number of a table: four decimals, or separated thousands; nothing as a dash."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def format_seconds(seconds: float | None) -> str:
    """A duration; a short one with a decimal, nothing as a dash."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f}s" if seconds < 10 else format_duration(seconds)


def format_moment(iso: str) -> str:
    """A time for people, in UTC as it is stored."""
    return f"{iso[:10]} {iso[11:16]} UTC"


def _lines(text: str) -> Markup:
    """Text of several lines; what cannot be seen in each stands there with escapes."""
    return Markup("\n").join(printable(line) for line in text.split("\n"))


def _words(text: str) -> Markup:
    """A line of this program, with what it puts between backticks as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(printable(text)))))


def _environment() -> Environment:
    made = html_environment("search.service", "search.dashboard")
    made.filters |= {
        "bytes": format_bytes,
        "cell": format_cell,
        "duration": format_seconds,
        "exactly": escape,
        "lines": _lines,
        "markup": Markup,  # of pictures that this program draws
        "moment": format_moment,
        "study_path": study_path,
        "words": _words,
        "values_of": lambda config, study: format_searched_values(study, config),
    }
    return made


def study_path(name: str) -> str:
    """The path of a study's page."""
    return f"/studies/{quote(name, safe='')}"


TEMPLATES = Jinja2Templates(env=_environment())
PAGE_HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"}
"""The headers of a page of ours."""
