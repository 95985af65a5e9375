"""Studies that come over HTTP: their file is checked as the command line does, their corpus is a
built-in or an uploaded one, and the limits of their token hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from makemore_core.data.corpus import BUILT_IN, Corpus
from search.service import limits, uploads
from search.service.context import ServiceContext
from search.service.scopes import Caller
from search.spec import study_file
from search.spec.study_spec import StudySpec
from search.study import create, study
from search.study.study import StoredStudy
from search.trials import changes

WHERE = "study file"


@dataclass(frozen=True)
class Submission:
    """A study as it was sent, with its words."""

    spec: StudySpec
    words: Corpus


def read(context: ServiceContext, body: Mapping[str, Any]) -> Submission:
    """Reads {`toml`: text}, {`study`: document} or a document itself.

    Raises:
        StudyFileError: with every mistake.
        CorpusError: its corpus cannot be used.
    """
    storage, toml = context.storage, body.get("toml")

    def check(document: Mapping[str, Any]) -> list[tuple[str, str]]:
        return _mistakes_of_corpus(context, document)

    if isinstance(toml, str):
        spec = study_file.read_text(toml, WHERE, check)
    else:
        inner = body.get("study")
        if isinstance(inner, dict) and isinstance(inner.get("study"), dict):
            body = inner
        spec = study_file.read_document(body, WHERE, check)
    stored = study.find(storage, spec.study.name)
    words = _words_of(context, spec) if stored is None else _words_again(context, stored, spec)
    return Submission(spec, words.deduplicated() if spec.study.dedupe else words)


def _words_of(context: ServiceContext, spec: StudySpec) -> Corpus:
    return uploads.load(context.storage, spec.study.corpus, context.data_dir)


def _words_again(context: ServiceContext, stored: StoredStudy, spec: StudySpec) -> Corpus:
    """The words of a study that exists: what a package or a download contains now does not concern
    it."""
    same = spec.study.corpus == stored.spec.study.corpus
    if same and spec.study.dedupe == stored.spec.study.dedupe and spec.study.corpus in BUILT_IN:
        return study.corpus_of(context.storage, stored, context.data_dir)
    return _words_of(context, spec)


def _mistakes_of_corpus(
    context: ServiceContext, document: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The mistakes of a corpus over HTTP; files are never looked at."""
    section = document.get("study")
    if not isinstance(section, dict):
        return []
    name = section.get("corpus", BUILT_IN[0])
    mistakes = []
    if isinstance(name, str) and name not in BUILT_IN:
        is_fingerprint = uploads.FINGERPRINT.fullmatch(name) is not None
        if not is_fingerprint or uploads.find(context.storage, name) is None:
            mistakes.append(("study.corpus", f"is {uploads.NEITHER}; upload it first"))
    keys = ("column", "separator", "count", "drop_unusable")
    problem = "is of a file; say it where the corpus is uploaded"
    return [*mistakes, *((f"study.{key}", problem) for key in keys if section.get(key))]


def submit(
    context: ServiceContext, caller: Caller, submission: Submission
) -> tuple[StoredStudy, bool]:
    """Creates a study, or goes on with it, as `submit` does; returns it, and whether it is new.

    Raises:
        Problem: 403, a limit of the token would be exceeded.
        Refused: the stored study has another definition, is closed or was moved.
    """
    storage, spec = context.storage, submission.spec
    author, name = caller.author, spec.study.name
    created: list[str] = []

    def on_created(connection: Connection, uid: str) -> None:
        limits.check_study(connection, caller, spec)
        budget = {"trials": spec.budget.trials, "corpus": spec.study.corpus}
        changes.insert(storage, connection, author, "create", uid, name, **budget)
        created.append(uid)

    def on_resumed(connection: Connection, uid: str) -> None:
        if uid not in created:
            limits.check_budget(connection, caller, uid, spec)
            budget = {"trials": spec.budget.trials, "timeout": spec.budget.timeout}
            changes.insert(storage, connection, author, "resume", uid, name, **budget)

    if study.find(storage, name) is None:
        with storage.read() as connection:  # before the work that a creation is
            limits.check_study(connection, caller, spec)
    stored = create.create_or_resume(
        storage,
        spec,
        submission.words,
        context.data_dir,
        context.artifacts,
        on_created=on_created,
        on_resumed=on_resumed,
    )
    context.watch.forget(stored.uid)
    return stored, stored.uid in created
