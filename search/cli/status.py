"""Verbs that show what a storage holds: `status`, `trials`, `best` and `report`."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from search.cli.common import answer_status, file_of, shown_progress, status_document
from search.cli.options import AnyStudyName, StudyName
from search.cli.session import Session
from search.errors import BadInput
from search.evaluation.baselines import baselines, kept_baselines
from search.storage.database import Storage
from search.study import study
from search.study.study import StoredStudy
from search.terminal.display import one_line
from search.terminal.live_view import HINT_WATCH
from search.trials import results
from search.trials import status as status_module


def status(
    session: Session,
    name: AnyStudyName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it.")] = False,
) -> None:
    """How a study stands; without STUDY a list of all."""
    storage = session.open()
    if name is None:
        every = [study.resolve(storage, each) for each in results.study_names(storage)]
        views = [status_module.status(storage, each) for each in every]
        text = "\n".join(one_line(view) for view in views) or "no studies yet"
        documents = [
            status_document(view, kept_baselines(storage, each))
            for view, each in zip(views, every, strict=True)
        ]
        session.answer(documents, text)
        return
    stored = study.resolve(storage, name)
    if watch:
        _watch(session, storage, stored)
    answer_status(session, storage, stored, file_of(name))


def trials(
    session: Session,
    name: StudyName,
    format: Annotated[str | None, typer.Option(help="json or csv.")] = None,
) -> None:
    """Every trial of a study, flat."""
    from search.terminal import answers

    if format not in (None, "json", "csv"):
        raise BadInput(f"--format {format}: give json or csv")
    storage = session.open()
    views = results.trials(storage, study.resolve(storage, name))
    session = replace(session, json=session.json or format == "json")
    text = answers.trials_csv(views) if format == "csv" else answers.trials(views)
    session.answer([asdict(view) for view in views], text)


def best(
    session: Session,
    name: StudyName,
    toml: Annotated[bool, typer.Option("--toml", help="As the file that `train` takes.")] = False,
) -> None:
    """The winner of a study: of `confirm` if there was one, else the best complete trial."""
    from search.terminal import answers

    storage = session.open()
    stored = study.resolve(storage, name)
    view = results.require_best(storage, stored)
    if toml and not session.json:
        session.answer({}, study.config_file(stored, view.config))
        return
    others = baselines(storage, stored, session.data_dir)
    session.answer(asdict(view) | {"count_model": others.count_model}, answers.best(view, others))


def report(
    session: Session,
    name: StudyName,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: STUDY-report.html here.")
    ] = None,
) -> None:
    """One self-contained page with everything that a study found."""
    from search.report import page

    storage = session.open()
    path = page.write_report(storage, study.resolve(storage, name), session.data_dir, output)
    session.answer({"path": str(path)}, str(path))


def _watch(session: Session, storage: Storage, stored: StoredStudy) -> None:
    with shown_progress(session, storage, stored, hint=HINT_WATCH) as shown:
        while status_module.status(storage, study.by_uid(storage, stored.uid)).state == "open":
            shown.update()
            time.sleep(1.0)
        shown.update(last=True)
