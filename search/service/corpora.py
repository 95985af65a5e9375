"""Routes of corpora: upload a list of words, list them, see what is in one."""

import tempfile
from http import HTTPStatus
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from makemore_core.data import corpus as core_corpus
from makemore_core.data.corpus import BUILT_IN, Corpus
from makemore_core.data.corpus_format import CorpusFormat
from makemore_core.data.printable import printable
from search.service import calls, uploads
from search.service.authentication import Admin, Reader, Submitter
from search.service.context import Context
from search.service.documents import json_answer
from search.service.problems import Problem, responses
from search.service.uploads import Upload

router = APIRouter(prefix="/corpora", tags=["corpora"])

MAX_UPLOAD = 32 * 10**6
"""Bytes of an uploaded corpus."""
IN_MEMORY = 10**6
FIELD = "file"
"""The field of a form that holds the words."""

Fingerprint = Annotated[
    str, Path(min_length=1, max_length=64, description="A fingerprint, or a built-in name.")
]


def _layout(
    column: Annotated[
        int | None, Query(ge=1, le=10_000, description="In a table: the column of the words.")
    ] = None,
    separator: Annotated[
        str | None, Query(min_length=1, max_length=20, description="Between columns.")
    ] = None,
    count: Annotated[
        int | None, Query(ge=1, le=10_000, description="In a table: the column of counts.")
    ] = None,
    drop_unusable: Annotated[
        bool, Query(description="Leave out lines that cannot be words.")
    ] = False,
) -> CorpusFormat:
    return CorpusFormat(column, separator, count, drop_unusable)


Layout = Annotated[CorpusFormat, Depends(_layout)]


@router.get("", responses=responses(401, 403, 503))
def list_corpora(context: Context, caller: Reader) -> Response:
    """The built-in corpora, and those that were uploaded."""
    built_in = [{"name": name, "fingerprint": None, "built_in": True} for name in BUILT_IN]
    uploaded = [vars(each) | {"built_in": False} for each in uploads.all_uploads(context.storage)]
    return json_answer([*built_in, *uploaded])


@router.post(
    "",
    status_code=201,
    max_body_size=MAX_UPLOAD + 10_000,  # a form has a header
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {FIELD: {"type": "string", "format": "binary"}},
                        "required": [FIELD],
                    }
                },
            },
        }
    },
    responses={
        200: {"description": "These words were uploaded before.", "model": Upload},
        201: {"model": Upload},
        **responses(400, 401, 403, 408, 413, 422, 503),
    },
)
async def upload_corpus(
    request: Request,
    context: Context,
    caller: Submitter,
    layout: Layout,
    name: Annotated[str, Query(min_length=1, max_length=100)] = "upload",
) -> Response:
    """Keeps a list of words, one on each line of UTF-8 text, as the body or as a form's `file`.

    A study names it by its `fingerprint`.
    """
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        given_name = await _received(request, file)
        file.seek(0)
        async with context.parsing:
            words = await run_in_threadpool(_parsed, file, given_name or name, layout)
    upload, is_new = await run_in_threadpool(uploads.add, context.storage, words, caller)
    notes = {"notes": list(words.notes), "words": len(words.words)}
    return json_answer(vars(upload) | notes, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


async def _received(request: Request, file: IO[bytes]) -> str | None:
    """Writes what was sent to a file; returns the name of a form's file."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=10) as form:
            sent = form.get(FIELD)
            if not isinstance(sent, UploadFile):
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"request: {FIELD}: is missing")
            while chunk := await sent.read(IN_MEMORY):
                await run_in_threadpool(file.write, chunk)
            return (sent.filename or "").rpartition("/")[2].rpartition(".")[0][:100] or None
    async for chunk in request.stream():
        if chunk:
            await run_in_threadpool(file.write, chunk)
    return None


def _parsed(file: IO[bytes], name: str, layout: CorpusFormat) -> Corpus:
    shown = printable(name)
    return core_corpus.parse(file.read(), shown, shown, layout)


@router.get("/{fingerprint}", responses=responses(400, 401, 403, 404, 422, 503))
async def show_corpus(
    context: Context,
    caller: Reader,
    fingerprint: Fingerprint,
    split_seed: Annotated[int, Query(ge=0, lt=2**63)] = 42,
    block_size: Annotated[int, Query(ge=1, le=64)] = 3,
) -> Response:
    """What is in a corpus: its words' number, alphabet and splits."""
    words = await run_in_threadpool(uploads.load, context.storage, fingerprint, context.data_dir)
    description = await context.quick_helper.call(
        calls.describe_corpus, words, split_seed, block_size
    )
    return json_answer(description)


@router.delete(
    "/{fingerprint}",
    status_code=204,
    response_class=Response,
    responses=responses(401, 403, 404, 422, 503),
)
def delete_corpus(context: Context, caller: Admin, fingerprint: Fingerprint) -> Response:
    """Deletes an uploaded corpus; the studies of it keep their words."""
    uploads.remove(context.storage, fingerprint, caller)
    return Response(status_code=HTTPStatus.NO_CONTENT)
