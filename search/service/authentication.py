"""Who sends a request: by a bearer token, a browser's session, or as the one user of loopback.

Without a token a request counts as loopback's only as long as the storage has no token, the service
listens on loopback alone, and neither the connection nor a header of a proxy shows that the request
comes from elsewhere.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from search.dashboard.app import LOOPBACK as LOOPBACK_NAMES
from search.dashboard.auth import constant_time_equal
from search.dashboard.middleware import SAFE_METHODS
from search.service import tokens
from search.service.context import ServiceContext, context_of
from search.service.problems import Problem, response_of
from search.service.scopes import LOOPBACK, NOBODY, TOKEN_FILE, Caller, Scope

T = TypeVar("T")

PROXY_HEADERS = ("forwarded", "via", "x-real-ip", "x-forwarded-", "x-client-ip", "true-client-ip")
"""How the names of headers begin that a proxy adds to the requests that it passes on."""


OPEN_PATHS = ("/sign-in", "/sign-out")
"""Where somebody without a token may send something: a token, which is short."""
CHALLENGE = 'Bearer realm="makemore-search"'


def session_cookie(context: ServiceContext, connection: HTTPConnection) -> str:
    """The name of the session's cookie; cookies are shared by all ports of a host."""
    server = connection.scope.get("server")
    return f"makemore-search-{server[1] if server else context.access.port}"


def token_file_session(token: str) -> str:
    """The session of the token in `--token-file`: a keyed hash, which another token ends."""
    return hmac.new(token.encode(), b"makemore-search session", hashlib.sha256).hexdigest()


def identify(context: ServiceContext, connection: HTTPConnection) -> Caller:
    """The caller of a request; it may wait for the storage.

    Raises:
        Problem: 401, a token was given and is not known.
    """
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme:
        is_bearer = scheme.lower() == "bearer"
        caller = by_token(context, connection, given.strip()) if is_bearer else None
        if caller is None:
            raise unauthorized("the token is not known here, or was revoked")
        return caller
    session = connection.cookies.get(session_cookie(context, connection))
    caller = None if session is None else _by_session(context, connection, session)
    return caller or _without_token(context, connection)


def _known(
    context: ServiceContext, connection: HTTPConnection, ask: Callable[..., T], *arguments: str
) -> T:
    """What the storage knows of tokens. For those who only read, it may be a second old: many
    pages that are kept up to date make no writer wait."""
    if connection.scope["method"] not in SAFE_METHODS:
        return ask(context.storage, *arguments)
    return context.known_tokens.get((ask, *arguments), lambda: ask(context.storage, *arguments))


def by_token(context: ServiceContext, connection: HTTPConnection, given: str) -> Caller | None:
    """The caller of a token; None if there is no such token."""
    own = context.access.token
    if own is not None and constant_time_equal(given, own):
        return Caller(TOKEN_FILE, Scope.ADMIN)
    found = _known(context, connection, tokens.find, given)
    return None if found is None else _caller(found, by_cookie=False)


def _by_session(context: ServiceContext, connection: HTTPConnection, session: str) -> Caller | None:
    own = context.access.token
    if own is not None and constant_time_equal(session, token_file_session(own)):
        return Caller(TOKEN_FILE, Scope.ADMIN, by_cookie=True)
    found = _known(context, connection, tokens.of_session, session)
    return None if found is None else _caller(found, by_cookie=True)


def _caller(token: tokens.Token, *, by_cookie: bool) -> Caller:
    return Caller(token.name, Scope[token.scope.upper()], token.id, by_cookie, token.limits)


def _without_token(context: ServiceContext, connection: HTTPConnection) -> Caller:
    access = context.access
    if access.token is not None or access.host not in LOOPBACK_NAMES:
        return NOBODY
    if not _is_from_here(connection) or _known(context, connection, tokens.exist):
        return NOBODY
    return Caller(LOOPBACK, Scope.SUBMIT if access.writable else Scope.READ)


def _is_from_here(connection: HTTPConnection) -> bool:
    if any(name.startswith(PROXY_HEADERS) for name in connection.headers):
        return False
    return connection.client is None or _is_loopback(connection.client.host)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def unauthorized(detail: str) -> Problem:
    """401, with how to sign in."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": CHALLENGE})


def require(caller: Caller, scope: Scope) -> Caller:
    """The caller, if its scope suffices.

    Raises:
        Problem: 401 without a token, 403 with one of too small a scope.
    """
    if caller.scope >= scope:
        return caller
    if caller is NOBODY:
        raise unauthorized("a token is needed: Authorization: Bearer TOKEN")
    if caller.name == LOOPBACK:
        remedy = (
            "start the service with --writable"
            if scope == Scope.SUBMIT
            else f"create one: `makemore-search token create NAME --scope {scope.word}`"
        )
        raise Problem(HTTPStatus.FORBIDDEN, f"this needs a token of scope {scope.word}; {remedy}")
    raise Problem(
        HTTPStatus.FORBIDDEN,
        f"token {caller.name}: has scope {caller.scope.word}, and this needs {scope.word}",
    )


async def caller_with(connection: HTTPConnection, scope: Scope) -> Caller:
    """The caller of a request, if its scope suffices; see `require`."""
    caller = await run_in_threadpool(identify, context_of(connection), connection)
    return require(caller, scope)


class Strangers:
    """Middleware that refuses what a stranger sends before it is read: it would take memory, and
    place on a disk."""

    def __init__(
        self, app: ASGIApp, instead: Callable[[Request, Problem], Response | None]
    ) -> None:
        """`instead` may give another answer than a problem document."""
        self.app, self.instead = app, instead

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        reads = scope["type"] != "http" or scope["method"] in SAFE_METHODS
        if reads or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            await caller_with(request, Scope.READ)
        except Problem as problem:
            answer = self.instead(request, problem) or response_of(problem)
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Requires:
    """A dependency: the caller of a route, whose scope must suffice."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, connection: HTTPConnection) -> Caller:
        return await caller_with(connection, self.scope)


Anyone = Annotated[Caller, Depends(Requires(Scope.NONE))]
Reader = Annotated[Caller, Depends(Requires(Scope.READ))]
Submitter = Annotated[Caller, Depends(Requires(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(Requires(Scope.ADMIN))]
