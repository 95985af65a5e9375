"""What several verbs do on their way; light to import, as `launching` is."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.options import COMMON
from search.cli.session import Session
from search.errors import BadInput, Interrupted, together
from search.machine import usable_cpus
from search.worker.job import Job

if TYPE_CHECKING:
    from makemore_core.data.corpus import Corpus
    from search.evaluation.baselines import Baselines
    from search.spec.sections import StudySection
    from search.storage.database import Storage
    from search.study.study import StoredStudy
    from search.terminal.live_view import LiveView
    from search.trials.status import StatusView


T = TypeVar("T")


def beside(first: Callable[[], T], *others: Callable[[], object]) -> T:
    """What the first check finds, once all have passed; their mistakes are told at once."""
    wrong: list[BadInput] = []
    found: list[T] = []
    for check in (lambda: found.append(first()), *others):
        try:
            check()
        except BadInput as error:
            wrong.append(error)
    if wrong:
        raise together(*wrong)
    return found[0]


def check_device(device: str) -> None:
    """Refuses a device that this machine lacks."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"--device {device}: not to be had here ({reason})") from None


def show_notes(session: Session, corpus: "Corpus") -> "Corpus":
    """Says what a user should know about how the words were read; returns the corpus."""
    for note in corpus.notes:
        print(f"note: corpus {corpus.name}: {note}", file=sys.stderr)
    return corpus


def load_words(
    session: Session, section: "StudySection", layout: CorpusFormat, name: str | None = None
) -> "Corpus":
    """The corpus of a CONFIG file, with what the command line says of it."""
    from makemore_core.data import corpus as corpora

    own = section.layout
    merged = CorpusFormat(
        layout.column or own.column,
        layout.separator or own.separator,
        layout.count or own.count,
        layout.drop_unusable or own.drop_unusable,
    )
    place = session.data_dir.root
    found = corpora.load(name or section.corpus, place, merged, dedupe=section.dedupe)
    return show_notes(session, found)


def worker_count(asked: int | None, threads: int) -> int:
    """How many workers, where nobody said: as many as the cores it may use bear."""
    return asked or max(1, usable_cpus() // threads)


def new_job(session: Session, threads: int, device: str, study_uid: str | None = None) -> Job:
    """What a worker process is given; without a study it works on every open one."""
    root = str(session.data_dir.root.resolve())
    return Job(session.storage_url, root, study_uid, threads, device)


def ask(yes: bool, question: str, unasked: str) -> None:
    """Asks before what cannot be undone, unless `--yes` was given.

    Raises:
        BadInput: there is no terminal to ask on; `unasked` says what is missing.
        Interrupted: the answer is not yes.
    """
    if yes:
        return
    if not _is_terminal(sys.stdin):
        raise BadInput(unasked)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # the end of the input: the cursor still stands there
        print(file=sys.stderr)
    if answer.strip().lower() not in ("y", "yes"):
        raise Interrupted("nothing was done")


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a person may sit at a stream; one that the process began without is None."""
    return stream is not None and not stream.closed and stream.isatty()


def answer_status(
    session: Session,
    storage: "Storage",
    stored: "StoredStudy",
    file: str | None = None,
    given: Mapping[str, str] | None = None,
) -> None:
    """The answer of every verb that changes or shows how a study stands.

    Args:
        file, given: as of `ending.describe_way_on`.
    """
    from search.evaluation.baselines import kept_baselines
    from search.study import study
    from search.terminal.display import compare_best_with_counts, describe_barren, one_line
    from search.trials import status
    from search.trials.ending import describe_end, describe_way_on
    from search.trials.status import describe_audit

    view = status.status(storage, study.by_uid(storage, stored.uid))
    others = kept_baselines(storage, stored)
    barren = describe_barren(view)  # which more trials would not change
    lines = [
        one_line(view),
        *compare_best_with_counts(view, others),
        describe_audit(view),
        describe_end(view),
        barren or describe_way_on(view, same_place(session), file, given),
    ]
    session.answer(status_document(view, others), "\n".join(line for line in lines if line))


def same_place(session: Session) -> str:
    """The options that lead another command to the same place; a URL may hold a password."""
    root = session.data_dir.root
    told = "" if root == COMMON["data_dir"][1] else f" --data-dir {shlex.quote(str(root))}"
    if session.storage_url == session.data_dir.default_storage:
        return told
    if session.storage_url == os.environ.get("MAKEMORE_SEARCH_STORAGE"):
        return told  # where the next command will find it as well
    url = session.storage_url
    return f"{told} --storage {shlex.quote(url) if url.startswith('sqlite:') else '…'}"


def file_of(argument: str) -> str | None:
    """A STUDY argument, if it is the path of a study file."""
    return argument if argument.endswith(".toml") and Path(argument).is_file() else None


def status_document(view: "StatusView", others: "Baselines | None") -> dict[str, Any]:
    """A study's status as JSON, with the best count model as far as it is known."""
    return asdict(view) | {"count_model": None if others is None else others.count_model}


def shown_progress(
    session: Session, storage: "Storage", stored: "StoredStudy", **options: Any
) -> "LiveView":
    """The live view of a study, as far as the user wants one."""
    from search.terminal.live_view import LiveView

    return LiveView(
        storage,
        stored,
        session.console,
        quiet=session.quiet,
        data_dir=session.data_dir,
        **options,
    )
