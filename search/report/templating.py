"""The report's templates: Jinja2 with autoescape, so that no text of a study becomes markup."""

from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from makemore_core.data.printable import printable


def environment() -> Environment:
    """The environment of the templates beside report.css."""
    made = html_environment("search.report")
    made.filters |= {"cell": format_cell, "number": is_number}
    return made


def html_environment(*packages: str) -> Environment:
    """The environment of packages' templates for pages, of the first that has one of a name; text
    with what cannot be seen is shown with escapes."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def template_text(name: str) -> str:
    """A file beside the templates, as it is."""
    return (files("search.report") / "templates" / name).read_text(encoding="utf-8")


def _visible(value: Any) -> Any:
    """Text with escapes for characters that cannot be seen; markup of a template as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def is_number(value: Any) -> bool:
    """Whether a cell's value is aligned to the right."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def format_cell(value: Any) -> str:
    """A cell's value: numbers with four significant decimals and separated thousands."""
    if value is None:
        return "-"
    if not is_number(value):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"
