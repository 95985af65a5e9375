"""One page that says what a study found: self-contained, for a colleague or for the record."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from search.errors import BadInput
from search.finite import finite
from search.paths import DataDir, file_name
from search.report import conclusions, sections, space_plots, study_plots
from search.report.facts import ReportData, gather, importances
from search.report.plotly_parts import Figure
from search.spec import toml_writer
from search.spec.study_file import StudySpec
from search.storage.database import Storage
from search.study.study import StoredStudy, config_file

LINKS = (
    ("course", "How it went"),
    ("findings", "What matters"),
    ("winner", "Winner"),
    ("confirmation", "Confirmation"),
    ("test", "Test split"),
    ("reproduce", "Reproduce"),
)


def write_report(
    storage: Storage, study: StoredStudy, data_dir: DataDir, path: Path | None
) -> Path:
    """Writes a study's report, whole or not at all; returns where it lies.

    Raises:
        BadInput: the file cannot be written.
    """
    target = (path or Path(f"{file_name(study.name)}-report.html")).absolute()
    whole = page(gather(storage, study, data_dir))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(whole, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(
            f"report {target}: cannot be written ({error.strerror}); give another place with -o"
        ) from None
    return target


def page(facts: ReportData) -> str:
    """The whole page."""
    shares = importances(facts)
    study, won = facts.study, facts.winner
    config = config_file(study, won.config) if won else ""
    body = [
        sections.headline(facts),
        sections.progress_section(facts),
        sections.findings(facts, shares),
        sections.winner(facts),
        conclusions.confirmation(facts),
        conclusions.test_split(facts),
        conclusions.reproduce(facts, definition(study.spec), config),
    ]
    text = "\n".join(body)
    links = [f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in LINKS]
    shown = [
        link for link, (anchor, _) in zip(links, LINKS, strict=True) if f'id="{anchor}"' in text
    ]
    return Template(_piece("report.html")).substitute(
        title=escape(f"{study.name}: report"),
        name=escape(study.name),
        lead=sections.lead(facts),
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("makemore-search"),
        links="".join(shown),
        sections=text,
        css=_piece("report.css"),
        js=_piece("report.js"),
        plotly=plotly_js(),
        figures=in_script(figures(facts, shares, text)),
    )


def figures(facts: ReportData, shares: dict[str, float], text: str) -> dict[str, Figure]:
    """Every figure that the text has a place for."""
    attempts, search, won = facts.attempts, facts.study.spec.space, facts.winner
    drawn: dict[str, Callable[[], Figure | None]] = {
        "history": lambda: study_plots.history(attempts, facts.others),
        "curves": lambda: study_plots.learning_curves(attempts, won.trial if won else None),
        "effort": lambda: study_plots.effort(attempts),
        "importances": lambda: study_plots.importances(shares),
        "isolation": lambda: space_plots.slice_plot(attempts, search),
        "parallel": lambda: space_plots.parallel_coordinates(attempts, search),
        "winner-curve": lambda: study_plots.winner_curve(won) if won else None,
        "embedding": lambda: study_plots.embedding(facts.model) if facts.model else None,
        "confirmed": lambda: study_plots.confirmation(
            [
                (
                    f"trial {c.trial}",
                    c.searched_dev_loss,
                    c.dev_loss_mean,
                    c.dev_loss_mean_ci95 and c.dev_loss_mean_ci95[1] - c.dev_loss_mean,
                )
                for c in facts.confirmed
            ]
        ),
    }
    made = {name: draw() for name, draw in drawn.items() if f'id="{name}"' in text}
    return {name: figure for name, figure in made.items() if figure}


def in_script(document: Any) -> str:
    """JSON that no part of can end the script it stands in."""
    whole = json.dumps(finite(document), separators=(",", ":"), allow_nan=False)
    return whole.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def definition(spec: StudySpec) -> str:
    """The study file again, with every default filled in."""
    document = spec.as_document()
    return toml_writer.document({name: values for name, values in document.items() if values})


def plotly_js() -> str:
    """The drawing library itself, so that the page needs no network."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _piece(name: str) -> str:
    return (files("search.report") / "templates" / name).read_text(encoding="utf-8")
