"""The page's templates: Jinja2 with autoescape, and the files beside them."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.templating import Jinja2Templates

from makemore_core.data.printable import printable

STATIC = Path(__file__).parent / "static"
"""Scripts, styles and pictures of the page, served under /assets."""
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


def _visible(value: Any) -> Any:
    """Text with escapes for characters that cannot be seen; markup of a template as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("search.service"),
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


TEMPLATES = Jinja2Templates(env=_environment())
PAGE_HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"}
"""The headers of a page of ours."""
