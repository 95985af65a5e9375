"""The application: its routes, its middleware, and what runs beside it.

/                page      the page for people: all studies; study_page, action_pages, submit_page
/sign-in         sessions  a token for a cookie
/api/v1          studies, trials, results, corpora
/healthz, ...    health    for those who run it
everything else  board     the Optuna dashboard
"""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from search.dashboard.app import LOOPBACK, MAX_UPLOAD
from search.service import (
    action_pages,
    authentication,
    corpora,
    health,
    openapi,
    page,
    pages,
    problems,
    results,
    sessions,
    studies,
    study_page,
    submit_page,
    trials,
)
from search.service.board import open_board
from search.service.context import ServiceContext
from search.service.jobs import running_jobs
from search.service.middleware import (
    AllowedHosts,
    Deadlines,
    Failures,
    HeadAsGet,
    SameOrigin,
    SecurityHeaders,
)
from search.service.notifier import delivering
from search.service.problems import Problem
from search.service.templating import STATIC

API = "/api/v1"
THREADS = 8
"""How many requests may wait for the storage or the disk at the same time."""
MAX_BODY = 1_000_000
"""Bytes of a request, where its route says nothing else."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def create_app(context: ServiceContext) -> FastAPI:
    """The application over an open storage."""
    app = FastAPI(
        title="makemore-search",
        version=version("makemore-search"),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # their scripts come from another host
        redoc_url=None,
        lifespan=_lifespan,
        max_body_size=MAX_BODY,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    for router in (studies.router, trials.router, results.router, corpora.router):
        app.include_router(router, prefix=API)
    for router in (health.router, sessions.router):
        app.include_router(router)
    for router in (page.router, study_page.router, action_pages.router, submit_page.router):
        app.include_router(router)
    app.mount("/assets", StaticFiles(directory=STATIC), name="assets")
    app.mount("/", _fallback, name="board")
    openapi.describe(app)
    problems.handle_problems(app, context.redacted, _page_instead)
    _add_middleware(app, context)
    return app


def _page_instead(request: Request, problem: Problem) -> Response | None:
    """What a browser sees in place of a problem document."""
    return sessions.sign_in_instead(request, problem) or pages.problem_page(request, problem)


def _add_middleware(app: FastAPI, context: ServiceContext) -> None:
    """Each wraps those before it, so that the last is the outermost."""
    app.add_middleware(sessions.TokenInLink)
    app.add_middleware(authentication.Strangers, instead=_page_instead)
    app.add_middleware(Deadlines)
    app.add_middleware(SameOrigin)
    any_ip = context.access.host not in LOOPBACK
    app.add_middleware(AllowedHosts, names=context.access.names, any_ip=any_ip)
    app.add_middleware(Failures)
    app.add_middleware(HeadAsGet)
    app.add_middleware(SecurityHeaders)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What runs as long as the application does."""
    context: ServiceContext = app.state.context
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    with ExitStack() as stack:
        board = open_board(context, stack)
        if context.notifications is not None:
            stack.enter_context(delivering(context.storage, context.notifications))
        app.state.board = RequestBodyLimitMiddleware(board, max_body_size=MAX_UPLOAD)
        stack.callback(context.close)
        stack.enter_context(running_jobs(context))
        yield


async def _fallback(scope: Scope, receive: Receive, send: Send) -> None:
    """The Optuna dashboard, for what is no path of our own."""
    app: FastAPI = scope["app"]
    if scope["type"] != "http":
        return
    allowed = _other_methods(app, scope)
    if allowed:
        message = f"{scope['method']} is not allowed here; allowed are {', '.join(allowed)}"
        headers = {"Allow": ", ".join(allowed)}
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, message, headers)
    if scope["path"].startswith(f"{API}/"):
        raise Problem(HTTPStatus.NOT_FOUND, f"no such path; {API}/openapi.json lists them")
    await app.state.board(scope, receive, send)


def _other_methods(app: FastAPI, scope: Scope) -> list[str]:
    """The methods of our routes with this path, which the request's is none of."""
    own = [route for route in app.router.routes if not isinstance(route, Mount)]
    return [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] == Match.FULL for route in own)
    ]
