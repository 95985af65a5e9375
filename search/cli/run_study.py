"""The slow part of `run`: creates or resumes the study, and supervises its workers."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from makemore_core.data.corpus import Corpus
from makemore_core.data.corpus_format import CorpusFormat
from search.cli.common import live_view, location_options, print_notes, print_status
from search.cli.session import Session
from search.dashboard.trial_pictures import PicturePublisher
from search.errors import BadInput, Interrupted, SearchError, StorageUnavailable, together
from search.launch.supervisor import Launcher, Supervisor
from search.launch.workloads import StudyWorkload
from search.spec import sections, study_file
from search.spec.study_spec import StudySpec
from search.storage import artifact_stores
from search.storage.database import Storage
from search.study import create, memory, study
from search.study.opening import Predecessor
from search.study.study import StoredStudy
from search.system import file_errors
from search.terminal.display import closing_summary, describe_barren, ended_without_result, one_line
from search.terminal.live_view import LiveView
from search.trials import results, status
from search.worker.job import Job


@dataclass(frozen=True)
class RunOutcome:
    """The study of a run, and how the run ended."""

    storage: Storage
    stored: StoredStudy
    view: LiveView
    is_done: bool
    """False: a signal or `stop` interrupted the run."""


def run(
    session: Session,
    spec: StudySpec,
    artifacts: str | None,
    begin_from: str | None,
    launcher: Launcher,
    job: Job,
    workers_here: int | None,
) -> RunOutcome:
    """Creates a study, or continues it, until its budget is met.

    Args:
        workers_here: how many workers share this machine's memory; None: they run elsewhere.
    """
    if workers_here is not None:
        file_errors.ensure_writable(session.data_dir.all_checkpoints)
    storage, stored = create_or_resume(session, spec, artifacts, begin_from, workers_here)
    if workers_here is not None:
        study.ensure_writable(stored, session.data_dir)
    view = live_view(session, storage, stored)
    is_done = _supervise(session, storage, stored, launcher, job, view)
    return RunOutcome(storage, stored, view, is_done)


def print_result(
    session: Session, outcome: RunOutcome, file: Path, given: Mapping[str, str]
) -> None:
    """Prints the result of `run`, once its launcher is closed.

    Args:
        file, given: what leads another `run` to the same study; see `ending.describe_way_on`.

    Raises:
        Interrupted: the run was interrupted; the same command continues it.
        SearchError: every trial diverged or found no memory.
    """
    storage, stored = outcome.storage, outcome.stored
    if not outcome.is_done:
        raise _interrupted(session, storage, stored)
    print_status(session, storage, stored, str(file), given)
    view = status.status(storage, stored)
    if ended_without_result(view):
        raise SearchError(str(describe_barren(view)))
    _print_next_steps(session, storage, stored, outcome.view)


def read_with_overrides(
    file: Path,
    trials: int | None,
    timeout: str | None,
    corpus: str | None,
    seed: int | None,
    layout: CorpusFormat,
) -> StudySpec:
    """A study file with what the command line replaces.

    Raises:
        BadInput: all mistakes of the file and of the options, at once.
    """
    mistakes: list[BadInput] = []
    try:
        timeout = sections.parse_duration(timeout)
    except ValueError as error:
        mistakes.append(BadInput(f"--timeout: {error}"))
    try:
        spec = study_file.read(file, corpus)
    except BadInput as error:
        raise together(error, *mistakes) from None
    if mistakes:
        raise together(*mistakes)
    if corpus is not None and Path(corpus).is_file():
        corpus = str(Path(corpus).absolute())
    spec = spec.with_values("budget", trials=trials, timeout=timeout)
    return with_layout(spec.with_values("study", corpus=corpus, seed=seed), layout)


def with_layout(spec: StudySpec, layout: CorpusFormat) -> StudySpec:
    """The same study with what the command line says of its corpus file."""
    return spec.with_values(
        "study",
        column=layout.column,
        separator=layout.separator,
        count=layout.count,
        drop_unusable=layout.drop_unusable or None,
    )


def create_or_resume(
    session: Session,
    spec: StudySpec,
    artifacts: str | None,
    begin_from: str | None = None,
    workers_here: int | None = None,
) -> tuple[Storage, StoredStudy]:
    """The stored study of a file, created if there is none; refused if its corpus does not fit the
    memory of the workers on this machine."""
    spec, words = _with_corpus(session, spec)
    print_notes(words)
    predecessor = None if begin_from is None else _predecessor(session, spec, begin_from)
    if workers_here is not None:
        memory.ensure_corpus_fits(spec, words, workers_here)
    location = None if artifacts is None else artifact_stores.validate_location(artifacts)
    storage = session.create()
    stored = create.create_or_resume(storage, spec, words, session.data_dir, location, predecessor)
    return storage, stored


def _predecessor(session: Session, spec: StudySpec, begin_from: str) -> Predecessor:
    """The study of `--from`; without its configurations if the study to begin exists already.

    Raises:
        NotFound: there is no such study, or no trial of it is complete.
    """
    storage = session.open()
    existing = study.find(storage, spec.study.name)
    if existing is not None and existing.spec.began_from == begin_from:
        return Predecessor(begin_from, ())  # which may be gone by now
    found = study.resolve(storage, begin_from)
    if existing is not None:
        return Predecessor(found.name, ())
    best = results.best_configurations(storage, found, MAX_FROM_PREDECESSOR)
    return Predecessor(found.name, best)


MAX_FROM_PREDECESSOR = 5
"""Configurations of another study that a new one begins with."""


def _with_corpus(session: Session, spec: StudySpec) -> tuple[StudySpec, Corpus]:
    """A study with its corpus; if it exists, with the defaults that it was created with, and with
    its stored words if the file is gone."""
    # there is no storage yet; or creating it raises the same error again
    with contextlib.suppress(StorageUnavailable):
        storage = session.open()
        stored = study.find(storage, spec.study.name)
        if stored is not None:
            words = study.present_corpus(storage, stored, spec, session.data_dir)
            return spec.with_defaults(stored.spec.defaults), words
    return spec, study.load_corpus(spec, session.data_dir)


def with_stored_defaults(session: Session, spec: StudySpec) -> StudySpec:
    """A study with the defaults that it was created with, if it exists."""
    with contextlib.suppress(SearchError):  # a preview needs no storage
        stored = study.find(session.open(), spec.study.name)
        if stored is not None:
            return spec.with_defaults(stored.spec.defaults)
    return spec


def _supervise(
    session: Session,
    storage: Storage,
    stored: StoredStudy,
    launcher: Launcher,
    job: Job,
    view: LiveView,
) -> bool:
    """Runs workers until the budget is met; False if the run was interrupted."""
    publisher = PicturePublisher(storage, stored, session.data_dir)

    def watch() -> None:
        view.update()
        publisher.update()

    supervisor = Supervisor(
        storage, StudyWorkload(storage, stored), launcher, job, watch, view.stopping
    )
    with view:
        try:
            supervisor.run()
        except Interrupted:
            return False
        finally:
            view.update(last=True)
            publisher.finish()
    return True


def _interrupted(session: Session, storage: Storage, stored: StoredStudy) -> Interrupted:
    """The error of an interrupted run; StudyClosed if a `test` ended it."""
    if session.json:
        print_status(session, storage, stored)
    stored = study.by_uid(storage, stored.uid)
    study.ensure_open(stored)
    reached = one_line(status.status(storage, stored))
    return Interrupted(f"{reached}; the same command continues it")


def _print_next_steps(
    session: Session, storage: Storage, stored: StoredStudy, live: LiveView
) -> None:
    """Prints the summary to standard error; standard output holds the result."""
    if session.quiet or session.json:
        return
    verbs = ("best", "report", "confirm", "test")
    view = status.status(storage, stored)
    text = closing_summary(view, stored, live.others, verbs, location_options(session))
    session.console.print(text, markup=False)
