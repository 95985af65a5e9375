"""The report: one HTML page about a study, complete in itself."""

import base64
import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from search.errors import BadInput
from search.finite import finite
from search.paths import DataDir, file_name
from search.report import conclusions, sections, space_plots, study_plots
from search.report.facts import ReportData, gather
from search.report.plotly_parts import Figure
from search.report.templating import environment, template_text
from search.storage.database import Storage
from search.study.study import StoredStudy


def write_report(
    storage: Storage, study: StoredStudy, data_dir: DataDir, path: Path | None
) -> Path:
    """Writes a study's report in one step; returns its path.

    Raises:
        BadInput: the file cannot be written.
    """
    target = (path or Path(f"{file_name(study.name)}-report.html")).absolute()
    html = page(gather(storage, study, data_dir))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(
            f"report {target}: cannot be written ({error.strerror}); give another place with -o"
        ) from None
    return target


def page(facts: ReportData) -> str:
    """The whole page."""
    documents = figures(facts)
    importances = documents.get("importances")
    return (
        environment()
        .get_template("report.html")
        .render(
            sections.context(facts),
            **conclusions.context(facts),
            figures=documents,
            importances=space_plots.importances_in_words(importances) if importances else "",
            time=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=version("makemore-search"),
            css=Markup(template_text("report.css")),  # ours, as the three below it
            js=Markup(template_text("report.js")),
            plotly=Markup(plotly_js()),
            figures_json=Markup(in_script(documents)),
        )
    )


def figures(facts: ReportData) -> dict[str, Figure]:
    """Every figure of the report as a plotly document, by its name; only those with data."""
    attempts, space, won = facts.attempts, facts.study.spec.space, facts.winner
    drawn: dict[str, Callable[[], Figure | None]] = {
        "history": lambda: study_plots.history_by_trial(attempts, facts.others),
        "history-time": lambda: study_plots.history_by_time(attempts, facts.others),
        "curves": lambda: study_plots.learning_curves(attempts, won.trial if won else None),
        "effort": lambda: study_plots.effort(attempts),
        "effort-reasons": lambda: study_plots.effort_by_reason(attempts),
    }
    if any(attempt.outcome == "complete" for attempt in attempts):
        drawn |= {
            "importances": lambda: space_plots.importances(attempts, space),
            "parallel": lambda: space_plots.parallel_coordinates(attempts, space),
        }
    if won is not None:
        drawn["winner-curve"] = lambda: study_plots.winner_curve(won)
    if won is not None and facts.model is not None:
        model = facts.model
        drawn["embedding"] = lambda: study_plots.embedding(model)
    if facts.confirmed:
        drawn["confirmed"] = lambda: study_plots.confirmation(
            [
                (
                    f"trial {each.trial}",
                    each.searched_dev_loss,
                    each.dev_loss_mean,
                    each.dev_loss_mean_ci95 and each.dev_loss_mean_ci95[1] - each.dev_loss_mean,
                )
                for each in facts.confirmed
            ]
        )
    made = {name: draw() for name, draw in drawn.items()}
    slices = space_plots.slice_plots(attempts, space)
    return {name: figure for name, figure in (made | slices).items() if figure}


def in_script(document: Any) -> str:
    """JSON of which no part can end the script element that it is in."""
    text = json.dumps(finite(document), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def plotly_js() -> str:
    """The drawing library, so that the page needs no network: gzip in base64, 2 MB of 4.8 MB.

    report.js unpacks it with the browser's DecompressionStream.
    """
    bundle = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(bundle, mtime=0)).decode()
