"""What several verbs share; light to import, as every module of this package is."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.options import COMMON
from search.cli.session import Session
from search.errors import BadInput, Interrupted, together
from search.system.machine import usable_cpus
from search.worker.job import Job

if TYPE_CHECKING:
    from makemore_core.data.corpus import Corpus
    from search.spec.sections import StudySection
    from search.storage.database import Storage
    from search.study.study import StoredStudy
    from search.terminal.live_view import LiveView


T = TypeVar("T")


def check_all(first: Callable[[], T], *others: Callable[[], object]) -> T:
    """Runs every check, and returns the result of the first.

    Raises:
        BadInput: the mistakes of all checks, at once.
    """
    mistakes: list[BadInput] = []
    results: list[T] = []
    for check in (lambda: results.append(first()), *others):
        try:
            check()
        except BadInput as error:
            mistakes.append(error)
    if mistakes:
        raise together(*mistakes)
    return results[0]


def check_device(device: str) -> None:
    """Refuses a device that this machine lacks."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        kind = "CUDA " if device.startswith("cuda") else ""
        raise BadInput(
            f"--device {device}: no such {kind}device is available ({reason}); give cpu"
        ) from None


def print_notes(corpus: "Corpus") -> "Corpus":
    """Prints what a user should know about how the words were read; returns the corpus."""
    for note in corpus.notes:
        print(f"note: corpus {corpus.name}: {note}", file=sys.stderr)
    return corpus


def load_words(
    session: Session, section: "StudySection", layout: CorpusFormat, name: str | None = None
) -> "Corpus":
    """The corpus of a CONFIG file, with what the command line says of it."""
    from makemore_core.data.corpus import load

    own = section.layout
    merged = CorpusFormat(
        layout.column or own.column,
        layout.separator or own.separator,
        layout.count or own.count,
        layout.drop_unusable or own.drop_unusable,
    )
    root = session.data_dir.root
    return print_notes(load(name or section.corpus, root, merged, dedupe=section.dedupe))


def worker_count(asked: int | None, threads: int) -> int:
    """The number of workers: as asked for, or the usable cores divided by the threads."""
    return asked or max(1, usable_cpus() // threads)


def new_job(session: Session, threads: int, device: str, study_uid: str | None = None) -> Job:
    """The job of a worker process; without a study it works on every open one."""
    root = str(session.data_dir.root.resolve())
    return Job(session.storage_url, root, study_uid, threads, device)


def ask(yes: bool, question: str, unasked: str) -> None:
    """Asks for confirmation of what cannot be undone, unless `--yes` was given.

    Raises:
        BadInput: there is no terminal to ask on; `unasked` is the message.
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
    """Whether a stream is a terminal; None is a stream that was closed when the process began."""
    return stream is not None and not stream.closed and stream.isatty()


def print_status(
    session: Session,
    storage: "Storage",
    stored: "StoredStudy",
    file: str | None = None,
    given: Mapping[str, str] | None = None,
) -> None:
    """Prints the status of a study, the result of every verb that changes or shows it.

    Args:
        file, given: as of `ending.describe_way_on`.
    """
    from search.evaluation.baselines import stored_baselines
    from search.evaluation.documents import status_document
    from search.study import study
    from search.terminal.display import compare_best_with_counts, describe_barren, one_line
    from search.trials.ending import describe_end, describe_way_on
    from search.trials.status import describe_audit, describe_beginning, status

    view = status(storage, study.by_uid(storage, stored.uid))
    others = stored_baselines(storage, stored)
    barren = describe_barren(view)  # more trials would not change this
    lines = [
        one_line(view),
        describe_beginning(view),
        *compare_best_with_counts(view, others),
        describe_audit(view),
        describe_end(view),
        barren or describe_way_on(view, location_options(session), file, given),
    ]
    document = status_document(storage, stored, view)
    session.print_result(document, "\n".join(line for line in lines if line))


def location_options(session: Session) -> str:
    """The options with which another command uses the same storage; a URL may hold a password."""
    root = session.data_dir.root
    options = "" if root == COMMON["data_dir"][1] else f" --data-dir {shlex.quote(str(root))}"
    if session.storage_url == session.data_dir.default_storage:
        return options
    if session.storage_url == os.environ.get("MAKEMORE_SEARCH_STORAGE"):
        return options  # the next command reads it from there as well
    url = session.storage_url
    return f"{options} --storage {shlex.quote(url) if url.startswith('sqlite:') else '…'}"


def file_of(argument: str) -> str | None:
    """A STUDY argument, if it is the path of a study file."""
    return argument if argument.endswith(".toml") and Path(argument).is_file() else None


def live_view(
    session: Session, storage: "Storage", stored: "StoredStudy", **options: Any
) -> "LiveView":
    """The live view of a study; it shows nothing with `--quiet`."""
    from search.terminal.live_view import LiveView

    return LiveView(
        storage,
        stored,
        session.console,
        quiet=session.quiet,
        data_dir=session.data_dir,
        **options,
    )
