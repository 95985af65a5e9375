"""Signing in and out in a browser: a token is exchanged once for a cookie."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from search.dashboard.middleware import STRICT_POLICY
from search.service import authentication, tokens
from search.service.context import Context, ServiceContext, context_of
from search.service.problems import Problem
from search.service.scopes import TOKEN_FILE, Caller
from search.service.templating import TEMPLATES

router = APIRouter(include_in_schema=False)

MAX_BODY = 10_000
SIGN_IN_POLICY = f"{STRICT_POLICY}; form-action 'self'; base-uri 'none'"


@router.get("/sign-in")
def sign_in_form(request: Request, wrong: bool = False) -> Response:
    """The form for a token."""
    return sign_in_page(request, HTTPStatus.UNAUTHORIZED if wrong else HTTPStatus.OK, wrong)


@router.post("/sign-in", max_body_size=MAX_BODY)
def sign_in(
    request: Request, context: Context, token: Annotated[str, Form(max_length=1000)]
) -> Response:
    """Exchanges a token for a session's cookie."""
    caller = authentication.by_token(context, request, token.strip())
    if caller is None:
        return sign_in_page(request, HTTPStatus.UNAUTHORIZED, wrong=True)
    return _signed_in(request, context, caller, "/")


@router.post("/sign-out", max_body_size=MAX_BODY)
def sign_out(request: Request, context: Context) -> Response:
    """Ends the browser's session."""
    name = authentication.session_cookie(context, request)
    if (session := request.cookies.get(name)) is not None:
        tokens.end_session(context.storage, session)
        context.known_tokens.clear()
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(name, httponly=True, samesite="strict")
    return answer


class TokenInLink:
    """Exchanges a token in the link of a page (`?token=`), as Jupyter does, for a session's cookie;
    the browser is sent to the same page without it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"token=" in scope["query_string"]:
            answer = await run_in_threadpool(_exchanged, Request(scope))
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _exchanged(request: Request) -> Response | None:
    if request.method != "GET" or request.url.path.startswith("/api/v1/"):
        return None
    context = context_of(request)
    given = request.query_params.get("token", "")
    caller = authentication.by_token(context, request, given)
    if caller is None:
        return None
    left = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
    place = own_path(request) + (f"?{urlencode(left)}" if left else "")
    return _signed_in(request, context, caller, place)


def own_path(request: Request) -> str:
    """The path of a request, with which a link cannot lead to another host."""
    return quote("/" + request.url.path.lstrip("/\\"), safe="/")


def _signed_in(request: Request, context: ServiceContext, caller: Caller, place: str) -> Response:
    answer = RedirectResponse(place, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
    answer.set_cookie(
        authentication.session_cookie(context, request),
        _new_session(context, caller),
        httponly=True,
        samesite="strict",
        secure=request.headers.get("x-forwarded-proto") == "https",
    )
    return answer


def _new_session(context: ServiceContext, caller: Caller) -> str:
    if caller.name == TOKEN_FILE:
        return authentication.token_file_session(str(context.access.token))
    return tokens.begin_session(context.storage, str(caller.token_id))


def sign_in_page(request: Request, status: int, wrong: bool = False) -> Response:
    """The form for a token; for a visitor whose cookie another site's link withheld, the same page
    once more, with which the browser sends it."""
    reload = request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site"
    headers = {"Content-Security-Policy": SIGN_IN_POLICY, "Cache-Control": "no-store"}
    headers["WWW-Authenticate"] = authentication.CHALLENGE
    content = {"wrong": wrong, "reload": own_path(request) if reload else None}
    return TEMPLATES.TemplateResponse(request, "sign_in.html", content, int(status), headers)


def sign_in_instead(request: Request, problem: Problem) -> Response | None:
    """The form for a token, where a browser asked for a page without one."""
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if problem.status != HTTPStatus.UNAUTHORIZED or not wants_page:
        return None
    return sign_in_page(request, HTTPStatus.UNAUTHORIZED)
