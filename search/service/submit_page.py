"""The form for a new study, and the corpora to choose from.

A study file is checked first; the button that starts it appears beside its cost. A file that was
changed since is checked again instead of started.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from makemore_core.data.corpus import BUILT_IN
from makemore_core.data.corpus_format import CorpusFormat
from search.errors import Mistake, StudyFileError
from search.service import corpora, pages, studies, uploads
from search.service.authentication import Reader, Submitter
from search.service.context import Context, ServiceContext
from search.service.studies import SubmittedStudy
from search.service.templating import study_path
from search.spec import toml_writer
from search.spec.new_study_file import example_names, study_file_text
from search.spec.sections import LAYOUT_FIELDS
from search.study import study
from search.study.memory import format_bytes

router = APIRouter(include_in_schema=False)

MAX_TEXT = 200_000
"""Characters of a study file."""
MIN_ROWS, MAX_ROWS = 16, 40
CORPUS_LINE = re.compile(r"^[ \t]*corpus[ \t]*=.*$", re.MULTILINE)
STUDY_TABLE = re.compile(r"^[ \t]*\[[ \t]*study[ \t]*\].*$", re.MULTILINE)

Corpus = Annotated[str, Form(max_length=100)]
Text = Annotated[str, Form(max_length=2 * MAX_TEXT)]


@router.get("/submit")
def form(
    request: Request,
    context: Context,
    caller: Submitter,
    template: str = "",
    like: str = "",
) -> Response:
    """The form with a template, an example, or the definition of a study."""
    text = _definition(context, like) if like else _template(template)
    return _page(request, context, caller, text)


def _template(name: str) -> str:
    known = name if name in example_names() else "my-study"
    return study_file_text(known, None, CorpusFormat(), Path())


def _definition(context: ServiceContext, name: str) -> str:
    """The file of a study like one that exists, under another name."""
    stored = study.find(context.storage, name)
    if stored is None:
        return _template("")
    document = stored.spec.as_file()
    for key in LAYOUT_FIELDS:  # of a file; what is uploaded has words alone
        document["study"].pop(key.partition(".")[2], None)
    document["study"] |= {"name": f"{stored.name}-2", "corpus": _usable_corpus(context, stored)}
    return toml_writer.document(_without_none(document))


def _usable_corpus(context: ServiceContext, stored: study.StoredStudy) -> str:
    """A built-in corpus by its name; any other by its fingerprint, under which it may be known."""
    named = stored.spec.study.corpus
    return named if named in BUILT_IN else stored.fingerprint


def _without_none(document: Any) -> Any:
    if isinstance(document, dict):
        return {k: _without_none(v) for k, v in document.items() if v is not None}
    return document


@router.post("/submit")
async def submit(
    request: Request,
    context: Context,
    caller: Submitter,
    toml: Text = "",
    corpus: Corpus = "",
    action: Annotated[str, Form()] = "check",
    checked: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Checks a study file and shows its cost; or starts one that was checked and not changed."""
    text = with_corpus(toml.replace("\r\n", "\n"), corpus)
    body = SubmittedStudy(toml=text, study=None)
    is_checked = action == "start" and checked == _digest(text)
    try:
        answer = await studies.submit_study(context, caller, body, dry_run=not is_checked)
    except pages.ERRORS as error:
        return await run_in_threadpool(_page, request, context, caller, text, error=error)
    document = json.loads(bytes(answer.body))
    if is_checked:
        word = "submitted" if answer.status_code == HTTPStatus.CREATED else "resumed"
        return pages.done_at(study_path(document["study"]), word)
    return await run_in_threadpool(_page, request, context, caller, text, cost=document)


def with_corpus(text: str, corpus: str) -> str:
    """A study file with another corpus; without one, as it is."""
    if not corpus:
        return text
    line = f"corpus = {json.dumps(corpus)}"
    if CORPUS_LINE.search(text):
        return CORPUS_LINE.sub(lambda _: line, text, count=1)
    if STUDY_TABLE.search(text):
        return STUDY_TABLE.sub(lambda found: f"{found[0]}\n{line}", text, count=1)
    return f"{text.rstrip()}\n\n[study]\n{line}\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _page(
    request: Request,
    context: ServiceContext,
    caller: Any,
    text: str,
    cost: dict[str, Any] | None = None,
    error: Exception | None = None,
) -> Response:
    line, status = ("", int(HTTPStatus.OK)) if error is None else pages.error_of(request, error)
    mistakes = _mistakes(error, text.split("\n")) if isinstance(error, StudyFileError) else []
    count = text.count("\n") + 1
    content = {
        "toml": text,
        "lines": count,
        "rows": min(max(count, MIN_ROWS), MAX_ROWS),
        "longest": MAX_TEXT,
        "error": line,
        "mistakes": mistakes,
        "marked": {each["line"] for each in mistakes},
        "cost": cost and cost | {"memory_words": _memory_words(cost["memory"])},
        "exists": cost is not None and study.find(context.storage, cost["study"]) is not None,
        "checked": _digest(text) if cost else "",
        "corpora": _choices(context),
        "examples": example_names(),
    }
    return pages.page(request, caller, "submit.html", status, **content)


def _mistakes(error: StudyFileError, lines: Sequence[str]) -> list[dict[str, Any]]:
    """The mistakes of a file, each with the text of its line."""

    def text_at(mistake: Mistake) -> str:
        is_there = mistake.line is not None and 0 < mistake.line <= len(lines)
        return lines[mistake.line - 1] if is_there and mistake.line is not None else ""

    return [each._asdict() | {"text": text_at(each)} for each in error.mistakes]


def _memory_words(need: dict[str, Any]) -> str:
    return f"A worker may use up to {format_bytes(need['worker_bytes'])} of memory."


def _choices(context: ServiceContext) -> list[tuple[str, str]]:
    uploaded = uploads.all_uploads(context.storage)
    return [
        *((name, f"{name} (built in)") for name in BUILT_IN),
        *((each.fingerprint, f"{each.name} (uploaded by {each.token})") for each in uploaded),
    ]


@router.get("/corpora")
def show_corpora(
    request: Request,
    context: Context,
    caller: Reader,
    done: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """The corpora, and a form to upload one."""
    return _corpora_page(request, context, caller, done=done)


def _corpora_page(
    request: Request,
    context: ServiceContext,
    caller: Any,
    done: str = "",
    error: Exception | None = None,
) -> Response:
    line, status = ("", int(HTTPStatus.OK)) if error is None else pages.error_of(request, error)
    content = {
        "built_in": BUILT_IN,
        "uploads": uploads.all_uploads(context.storage),
        "limit": corpora.MAX_UPLOAD,
        "done": pages.DONE.get(done),
        "error": line,
    }
    return pages.page(request, caller, "corpora.html", status, **content)


@router.post("/corpora", max_body_size=corpora.MAX_UPLOAD + 10_000)
async def upload(
    request: Request,
    context: Context,
    caller: Submitter,
    file: UploadFile,
    column: Annotated[int | None, Form(ge=1, le=10_000)] = None,
    separator: Annotated[str | None, Form(max_length=20)] = None,
    count: Annotated[int | None, Form(ge=1, le=10_000)] = None,
    drop_unusable: Annotated[bool, Form()] = False,
) -> Response:
    """Keeps the words of a file."""
    layout = CorpusFormat(column, separator or None, count, drop_unusable)
    try:
        answer = await corpora.upload_corpus(request, context, caller, layout)
    except pages.ERRORS as error:
        return await run_in_threadpool(_corpora_page, request, context, caller, error=error)
    is_new = answer.status_code == HTTPStatus.CREATED
    return pages.done_at("/corpora", "uploaded" if is_new else "known")
