"""The report's figures as plotly figures, for a notebook."""

import re
from typing import Any

from plotly.graph_objects import Figure

from search.paths import DataDir
from search.report import page
from search.report.facts import gather
from search.report.templating import template_text
from search.storage.database import Storage
from search.study.study import StoredStudy


def report_figures(storage: Storage, study: StoredStudy, data_dir: DataDir) -> dict[str, Figure]:
    """Every figure that the study's report shows, by its name there, in the colors of its light
    theme."""
    colors = _light_theme()
    documents = page.figures(gather(storage, study, data_dir))
    return {name: Figure(_colored(document, colors)) for name, document in documents.items()}


def _light_theme() -> dict[str, str]:
    """The color behind each name, as the page's style sheet has it: "@accent" to "#1f6feb"."""
    css = template_text("report.css")
    return {f"@{name}": color for name, color in re.findall(r"--(\w+): (#\w+);", css.split("}")[0])}


def _colored(document: Any, colors: dict[str, str]) -> Any:
    """A plotly document with the names of colors replaced."""
    if isinstance(document, dict):
        return {key: _colored(value, colors) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_colored(value, colors) for value in document]
    return colors.get(document, document) if isinstance(document, str) else document
