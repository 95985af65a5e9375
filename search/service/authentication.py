"""Who sends a request: by a bearer token, a browser's session, or as the one user of loopback.

Without a token a request counts as loopback's only as long as the storage has no token, the service
listens on loopback alone, and neither the connection nor a header of a proxy shows that the request
comes from elsewhere.
"""

import hashlib
import hmac
import ipaddress
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from search.dashboard.app import LOOPBACK as LOOPBACK_NAMES
from search.dashboard.auth import constant_time_equal
from search.service import tokens
from search.service.context import ServiceContext, context_of
from search.service.problems import Problem
from search.service.scopes import LOOPBACK, NOBODY, TOKEN_FILE, Caller, Scope

PROXY_HEADERS = ("forwarded", "via", "x-real-ip", "x-forwarded-", "x-client-ip", "true-client-ip")
"""How the names of headers begin that a proxy adds to the requests that it passes on."""


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
        caller = _by_token(context, given.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise unauthorized("the token is not known here, or was revoked")
        return caller
    session = connection.cookies.get(session_cookie(context, connection))
    caller = None if session is None else _by_session(context, session)
    return caller or _without_token(context, connection)


def by_token(context: ServiceContext, given: str) -> Caller | None:
    """The caller of a token; None if there is no such token."""
    return _by_token(context, given)


def _by_token(context: ServiceContext, given: str) -> Caller | None:
    own = context.access.token
    if own is not None and constant_time_equal(given, own):
        return Caller(TOKEN_FILE, Scope.ADMIN)
    found = tokens.find(context.storage, given)
    return None if found is None else _caller(found, by_cookie=False)


def _by_session(context: ServiceContext, session: str) -> Caller | None:
    own = context.access.token
    if own is not None and constant_time_equal(session, token_file_session(own)):
        return Caller(TOKEN_FILE, Scope.ADMIN, by_cookie=True)
    found = tokens.of_session(context.storage, session)
    return None if found is None else _caller(found, by_cookie=True)


def _caller(token: tokens.Token, *, by_cookie: bool) -> Caller:
    return Caller(token.name, Scope[token.scope.upper()], token.id, by_cookie, token.limits)


def _without_token(context: ServiceContext, connection: HTTPConnection) -> Caller:
    access = context.access
    if access.token is not None or access.host not in LOOPBACK_NAMES:
        return NOBODY
    if not _is_from_here(connection) or tokens.exist(context.storage):
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
