"""What all pages share: how they are rendered, kept up to date, and how they show an error."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from makemore_core.errors import CoreError
from search.errors import SearchError
from search.service.context import context_of
from search.service.problems import Problem, problem_of
from search.service.scopes import NOBODY, Caller, Scope
from search.service.templating import PAGE_HEADERS, TEMPLATES

ERRORS = (Problem, SearchError, CoreError)
"""What a form may be answered with: one line for its user."""

DONE = {
    "stopped": "Its workers were asked to stop.",
    "resumed": "It goes on.",
    "opened": "The test split was opened; the answer is below.",
    "tested": "The test split was opened before; this is the recorded answer.",
    "confirming": "The confirmation was asked for; it is shown below.",
    "deleted": "The study was deleted; the record of its test opening stays.",
    "submitted": "The study was created; it begins as soon as a worker is free.",
    "uploaded": "The words were uploaded.",
    "known": "These words had been uploaded before.",
}
"""What was done, by the word that a form's answer leads to the next page with."""


def page(
    request: Request, caller: Caller, template: str, status: int = HTTPStatus.OK, **content: Any
) -> Response:
    """A whole page."""
    everything = _shared(caller) | {"place": request.url.path} | content
    return TEMPLATES.TemplateResponse(request, template, everything, int(status), PAGE_HEADERS)


def fragment(request: Request, html: str) -> Response:
    """A part of a page that a script asks for again and again: 304 while it stays the same."""
    version = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
    headers = {**PAGE_HEADERS, "ETag": version}
    if request.headers.get("if-none-match") == version:
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    return Response(html, headers=headers, media_type="text/html")


def rendered(caller: Caller, template: str, content: Mapping[str, Any]) -> str:
    """A template as text."""
    return TEMPLATES.get_template(template).render(_shared(caller) | dict(content))


def _shared(caller: Caller) -> dict[str, Any]:
    return {
        "caller": caller,
        "may_submit": caller.scope >= Scope.SUBMIT,
        "may_admin": caller.scope >= Scope.ADMIN,
    }


def done_at(path: str, word: str) -> Response:
    """Leads the browser to a page that says what was done."""
    return RedirectResponse(f"{path}?done={word}", HTTPStatus.SEE_OTHER)


def error_of(request: Request, error: Exception) -> tuple[str, int]:
    """The one line of an error, and its HTTP status."""
    problem = problem_of(error)
    return context_of(request).redacted(problem.detail), problem.status


def problem_page(request: Request, problem: Problem) -> Response | None:
    """An error as a page, where a browser asked for one of our pages."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if not wants_page or request.url.path.startswith("/api/"):
        return None
    title = HTTPStatus(problem.status).phrase.capitalize()
    answer = page(
        request, NOBODY, "problem.html", problem.status, title=title, detail=problem.detail
    )
    answer.headers.update(problem.headers)
    return answer
