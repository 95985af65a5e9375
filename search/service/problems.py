"""Errors as problem documents (RFC 9457): their `detail` is the command line's one line."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DatabaseError, InterfaceError, TimeoutError
from starlette.exceptions import HTTPException

from makemore_core.data.printable import printable
from makemore_core.errors import CheckpointError, CoreError, CorpusError
from search.errors import (
    BadInput,
    FilesUnusable,
    Interrupted,
    NotFound,
    Refused,
    SearchError,
    StorageLost,
    StorageUnavailable,
    StudyFileError,
)
from search.retry import error_summary

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS_OF: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (StudyFileError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (CorpusError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (CheckpointError, HTTPStatus.NOT_FOUND),
    (StorageUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (StorageLost, HTTPStatus.SERVICE_UNAVAILABLE),
    (FilesUnusable, HTTPStatus.SERVICE_UNAVAILABLE),
    (Interrupted, HTTPStatus.SERVICE_UNAVAILABLE),
    (Refused, HTTPStatus.CONFLICT),
    (BadInput, HTTPStatus.BAD_REQUEST),
    (CoreError, HTTPStatus.BAD_REQUEST),
    (SearchError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The HTTP status of each error; the first class that fits."""

STORAGE_ERRORS = (DatabaseError, InterfaceError, StorageInternalError, TimeoutError)
"""Errors of a storage that nothing tries again."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "mistakes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "key": {"type": "string"},
                    "problem": {"type": "string"},
                    "line": {"type": ["integer", "null"]},
                },
                "required": ["key", "problem", "line"],
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}
"""The schema of a problem document."""


class Problem(Exception):
    """An answer that is no success, with its HTTP status and its one line."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        self.status, self.detail = status, detail
        self.headers, self.more = dict(headers or {}), more
        super().__init__(detail)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents of a route, for the OpenAPI document."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def problem_of(error: Exception) -> Problem:
    """The problem that an error becomes; of an unknown error it says nothing."""
    if isinstance(error, Problem):
        return error
    for kind, status in STATUS_OF:
        if isinstance(error, kind):
            problem = Problem(status, _one_line(str(error)))
            if isinstance(error, StudyFileError):
                problem.more["mistakes"] = _mistakes(error)
            return problem
    if isinstance(error, STORAGE_ERRORS):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"storage: {error_summary(error)}")
    if isinstance(error, RequestValidationError):
        return _invalid_request(error)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _one_line(str(error.detail)), error.headers)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the service; its log shows where")


def response_of(problem: Problem) -> Response:
    """A problem as a response."""
    status = HTTPStatus(problem.status)
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": problem.detail,
        **problem.more,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return JSONResponse(document, int(status), headers, media_type=MEDIA_TYPE)


def handle_problems(
    app: FastAPI,
    redacted: Callable[[str], str],
    instead: Callable[[Request, Problem], Response | None],
) -> None:
    """Has an application answer every error that it raises on purpose with a problem document.

    Args:
        redacted: takes out of a line what the client must not learn.
        instead: may give another answer to a request, such as a page.
    """

    def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        problem.detail = redacted(problem.detail)
        return instead(request, problem) or response_of(problem)

    ours: tuple[type[Exception], ...] = (Problem, SearchError, CoreError)
    for kind in (*ours, *STORAGE_ERRORS, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _mistakes(error: StudyFileError) -> list[dict[str, Any]]:
    return [mistake._asdict() for mistake in error.mistakes]


def _invalid_request(error: RequestValidationError) -> Problem:
    """422 with one mistake for each part of a request that has another form than the document's."""
    mistakes = [
        {
            "key": ".".join(str(part) for part in each["loc"][1:]) or str(each["loc"][0]),
            "problem": _one_line(each["msg"]),
            "line": None,
        }
        for each in error.errors()
    ]
    detail = "; ".join(f"{each['key']}: {each['problem']}" for each in mistakes)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"request: {detail}", mistakes=mistakes)
