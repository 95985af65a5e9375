"""The rest of `run`: the study is made or resumed, and supervised until its budget is met."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from makemore_core.data.corpus import Corpus
from makemore_core.data.corpus_format import CorpusFormat
from search import file_errors
from search.cli.common import answer_status, same_place, show_notes, shown_progress
from search.cli.session import Session
from search.dashboard.trial_pictures import PicturePublisher
from search.errors import BadInput, Interrupted, SearchError, StorageUnavailable, together
from search.launch.supervisor import Launcher, Supervisor
from search.launch.workloads import StudyWorkload
from search.spec import sections, study_file
from search.spec.study_file import StudySpec
from search.storage import artifact_stores
from search.storage.database import Storage
from search.study import create, memory, study
from search.study.study import StoredStudy
from search.terminal.display import closing_summary, describe_barren, format_failed
from search.terminal.live_view import LiveView
from search.trials import status
from search.worker.job import Job


@dataclass(frozen=True)
class RunOutcome:
    """A study that workers were at, and how that ended."""

    storage: Storage
    stored: StoredStudy
    shown: LiveView
    is_done: bool
    """False: a signal or `stop` interrupted them."""


def run(
    session: Session,
    spec: StudySpec,
    artifacts: str | None,
    launcher: Launcher,
    job: Job,
    workers_here: int | None,
) -> RunOutcome:
    """Creates a study, or goes on with it, until its budget is met.

    Args:
        workers_here: how many are to share this machine's memory; None: they are elsewhere.
    """
    if workers_here is not None:
        file_errors.ensure_writable(session.data_dir.all_checkpoints)
    storage, stored = create_or_resume(session, spec, artifacts, workers_here)
    if workers_here is not None:
        study.ensure_writable(stored, session.data_dir)
    shown = shown_progress(session, storage, stored)
    is_done = _supervise(session, storage, stored, launcher, job, shown)
    return RunOutcome(storage, stored, shown, is_done)


def print_result(
    session: Session, course: RunOutcome, file: Path, given: Mapping[str, str]
) -> None:
    """The answer of `run`, once its launcher is closed.

    Args:
        file, given: what leads another `run` to the same study; see `ending.describe_way_on`.

    Raises:
        Interrupted: it was; the same command goes on.
        SearchError: every trial diverged or found no memory.
    """
    storage, stored = course.storage, course.stored
    if not course.is_done:
        raise _interrupted(session, storage, stored)
    answer_status(session, storage, stored, str(file), given)
    view = status.status(storage, stored)
    if format_failed(view):
        raise SearchError(str(describe_barren(view)))
    _print_next_steps(session, storage, stored, course.shown)


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
    wrong: list[BadInput] = []
    try:
        timeout = sections.parse_duration(timeout)
    except ValueError as error:
        wrong.append(BadInput(f"--timeout: {error}"))
    try:
        spec = study_file.read(file, corpus)
    except BadInput as error:
        raise together(error, *wrong) from None
    if wrong:
        raise together(*wrong)
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
    session: Session, spec: StudySpec, artifacts: str | None, workers_here: int | None = None
) -> tuple[Storage, StoredStudy]:
    """The study of a file, as far as it is not stored yet; refused if its words are too many for
    the workers that are to be here."""
    words = show_notes(session, _corpus(session, spec))
    if workers_here is not None:
        memory.ensure_corpus_fits(spec, words, workers_here)
    checked = None if artifacts is None else artifact_stores.validate_location(artifacts)
    storage = session.create()
    return storage, create.create_or_resume(storage, spec, words, session.data_dir, checked)


def _corpus(session: Session, spec: StudySpec) -> Corpus:
    """The words of a study file: those that its study keeps, where that exists and the file of the
    corpus does not."""
    with contextlib.suppress(
        StorageUnavailable
    ):  # there is none yet; or creating it says what it is
        storage = session.open()
        stored = study.find(storage, spec.study.name)
        if stored is not None:
            return study.present_corpus(storage, stored, spec, session.data_dir)
    return study.load_corpus(spec, session.data_dir)


def _supervise(
    session: Session,
    storage: Storage,
    stored: StoredStudy,
    launcher: Launcher,
    job: Job,
    shown: LiveView,
) -> bool:
    """Has workers at work until the budget is met; False if something interrupted them."""
    illustrator = PicturePublisher(storage, stored, session.data_dir)

    def watch() -> None:
        shown.update()
        illustrator.update()

    supervisor = Supervisor(
        storage, StudyWorkload(storage, stored), launcher, job, watch, shown.stopping
    )
    with shown:
        try:
            supervisor.run()
        except Interrupted:
            return False
        finally:
            shown.update(last=True)
            illustrator.finish()
    return True


def _interrupted(session: Session, storage: Storage, stored: StoredStudy) -> Interrupted:
    """How an interrupted run ends; StudyClosed if a `test` is what ended it."""
    if session.json:
        answer_status(session, storage, stored)
    study.ensure_open(study.by_uid(storage, stored.uid))
    return Interrupted(
        f"study {stored.name}: interrupted; the same command goes on where it stopped"
    )


def _print_next_steps(
    session: Session, storage: Storage, stored: StoredStudy, shown: LiveView
) -> None:
    """To people only; standard output holds the answer."""
    if session.quiet or session.json:
        return
    verbs = ("best", "report", "confirm", "test")
    view = status.status(storage, stored)
    text = closing_summary(view, stored, shown.others, verbs, same_place(session))
    session.console.print(text, markup=False)
