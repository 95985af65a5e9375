"""Verbs that show what a storage holds: `status`, `trials`, `best`, `report` and `export`."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.common import file_of, live_view, print_status
from search.cli.options import AnyStudyName, StudyName
from search.cli.session import Session
from search.errors import BadInput

if TYPE_CHECKING:
    from search.storage.database import Storage
    from search.study.study import StoredStudy


def status(
    session: Session,
    name: AnyStudyName = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep showing it until the study ends.")
    ] = False,
) -> None:
    """Show the progress of a study; without STUDY, of every study."""
    from search.study import study

    storage = session.open()
    if name is None:
        _print_all(session, storage)
        return
    stored = study.resolve(storage, name)
    if watch:
        _watch(session, storage, stored)
    print_status(session, storage, stored, file_of(name))


def _print_all(session: Session, storage: "Storage") -> None:
    from search.evaluation.documents import status_document
    from search.study import study
    from search.terminal.display import one_line
    from search.trials import results
    from search.trials.status import status as status_of

    studies = [study.resolve(storage, name) for name in results.study_names(storage)]
    views = [status_of(storage, each) for each in studies]
    documents = [
        status_document(storage, each, view) for view, each in zip(views, studies, strict=True)
    ]
    session.print_result(documents, "\n".join(map(one_line, views)) or "no studies yet")


def _watch(session: Session, storage: "Storage", stored: "StoredStudy") -> None:
    from search.study import study
    from search.terminal.live_view import HINT_WATCH
    from search.trials.status import status as status_of

    with live_view(session, storage, stored, hint=HINT_WATCH) as view:
        while status_of(storage, study.by_uid(storage, stored.uid)).state == "open":
            view.update()
            time.sleep(1.0)
        view.update(last=True)


def trials(
    session: Session,
    name: StudyName,
    format: Annotated[str | None, typer.Option(help="json or csv.")] = None,
) -> None:
    """List every trial of a study."""
    from search.study import study
    from search.terminal import answers
    from search.trials import results

    if format not in (None, "json", "csv"):
        raise BadInput(f"--format {format}: give json or csv")
    storage = session.open()
    views = results.trials(storage, study.resolve(storage, name))
    session = replace(session, json=session.json or format == "json")
    text = answers.trials_csv(views) if format == "csv" else answers.trials(views)
    session.print_result([asdict(view) for view in views], text)


def best(
    session: Session,
    name: StudyName,
    toml: Annotated[
        bool, typer.Option("--toml", help="Write the file that `train` takes.")
    ] = False,
) -> None:
    """Show the winner of a study: of `confirm` if there was one, else the best complete trial."""
    from search.evaluation.baselines import baselines
    from search.study import study
    from search.terminal import answers
    from search.trials import results

    storage = session.open()
    stored = study.resolve(storage, name)
    view = results.require_best(storage, stored)
    if toml and not session.json:
        session.print_result({}, study.config_file(stored, view.config))
        return
    others = baselines(storage, stored, session.data_dir)
    document = asdict(view) | {"count_model": others.count_model}
    session.print_result(document, answers.best(view, others))


def report(
    session: Session,
    name: StudyName,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page. Default: STUDY-report.html here."),
    ] = None,
) -> None:
    """Write one self-contained HTML page with everything that a study found."""
    from search.report.page import write_report
    from search.study import study

    storage = session.open()
    path = write_report(storage, study.resolve(storage, name), session.data_dir, output)
    session.print_result({"path": str(path)}, str(path))


def export(
    session: Session,
    name: StudyName,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="A directory to be created."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="All trials and their curves instead: csv, jsonl or parquet."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="mlflow: the study, its trials and its model as MLflow's runs."),
    ] = None,
) -> None:
    """Write the winner as files, all trials with their curves as tables, or all of it to MLflow.

    The winner's files are its model, configuration, vocabulary and a card about it.
    """
    from search.study import study

    if to is not None:
        _check_destination(to, output, format)
    elif output is None:
        raise BadInput("export: give -o DIR, a directory to be created, or --to mlflow")
    storage = session.open()
    stored = study.resolve(storage, name)
    if output is None:
        _export_to_mlflow(session, storage, stored)
        return
    files = _exported(session, storage, stored, output, format)
    session.print_result(
        {"path": str(output), "files": [str(file) for file in files]},
        "\n".join(map(str, files)),
    )


def _check_destination(to: str, output: Path | None, format: str | None) -> None:
    if to != "mlflow":
        raise BadInput(f"--to {to}: give mlflow")
    if output is not None or format is not None:
        raise BadInput("--to mlflow: takes neither --output nor --format")


def _exported(
    session: Session, storage: "Storage", stored: "StoredStudy", output: Path, format: str | None
) -> list[Path]:
    if format is not None:
        from search.evaluation.export_tables import export_tables

        return export_tables(storage, stored, output, format)
    from search.evaluation.export import export_winner

    return export_winner(storage, stored, session.data_dir, output)


def _export_to_mlflow(session: Session, storage: "Storage", stored: "StoredStudy") -> None:
    from search.evaluation.mlflow_export import export_to_mlflow

    done = export_to_mlflow(storage, stored, session.data_dir)
    session.print_result(
        asdict(done),
        f"{stored.name}: {done.trials} trials added to {done.path}, "
        f"experiment {done.experiment}, run {done.run}",
    )
