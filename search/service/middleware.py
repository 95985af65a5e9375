"""ASGI middleware that decides which requests the service takes, and how long they may take.

From the outside in:

    SecurityHeaders   security headers on every response
    HeadAsGet         HEAD is GET without its body
    Failures          an error that nothing expected: 500, without a word about its cause
    AllowedHosts      the Host header: names that are not this server's are refused (DNS rebinding)
    SameOrigin        changes only from pages of this origin, or from programs (CSRF)
    Deadlines         slow clients, and storages that do not answer
"""

import asyncio
import logging
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from makemore_core.data.printable import printable
from search.dashboard.middleware import HARDENING, SAFE_METHODS, STRICT_POLICY, host_of, is_ip
from search.retry import patience
from search.service.problems import Problem, problem_of, response_of

log = logging.getLogger(__name__)

STORAGE_SECONDS = 5.0
"""How long a request waits for a storage that is locked or away."""
REFERRERS = {"Referrer-Policy": "same-origin"}
"""With none at all, browsers would hide the origin of our own forms, which `SameOrigin` reads."""
BODY_SECONDS = 120.0
"""How long a client may take to send a body, and to read each part of an answer."""


class SecurityHeaders:
    """Security headers on every response; a strict policy on those that have none of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                del headers["access-control-allow-origin"]
                headers.update(HARDENING | REFERRERS)
                headers.setdefault("Content-Security-Policy", STRICT_POLICY)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class HeadAsGet:
    """Answers HEAD with the header of GET's answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})  # the end also of a stream without one

        await self.app({**scope, "method": "GET"}, receive, send_header)


class Failures:
    """Answers errors that nothing expected with 500, and logs them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = complete = False

        async def watched(message: Message) -> None:
            nonlocal started, complete
            started = started or message["type"] == "http.response.start"
            await send(message)
            is_body = message["type"] == "http.response.body"
            complete = complete or (is_body and not message.get("more_body", False))

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:  # nobody is there to be answered
            return
        except Exception as error:
            problem = problem_of(error)
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                log.exception("%s", printable(f"{scope.get('method')} {scope.get('path')}"))
            if complete:  # as of the dashboard, whose own answer says that there was an error
                return
            if started:
                raise
            await response_of(problem)(scope, receive, send)


class AllowedHosts:
    """Refuses a Host header that is none of `names` (nor, with `any_ip`, an IP address).

    Starlette's own middleware knows no rule for addresses: with a bare address no DNS is asked, so
    that it needs no list.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], any_ip: bool) -> None:
        self.app, self.any_ip = app, any_ip
        self.names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        host = host_of(hosts[0]) if len(hosts) == 1 else ""
        if host in self.names or (self.any_ip and is_ip(host)):
            await self.app(scope, receive, send)
            return
        problem = Problem(
            HTTPStatus.FORBIDDEN,
            "the Host header names another machine; this server's names: "
            f"{', '.join(sorted(self.names))}; start it with --allow-host NAME to add one",
        )
        await response_of(problem)(scope, receive, send)


class SameOrigin:
    """Refuses changes that a page of another origin requests with a user's cookies, or on loopback.

    Browsers say where a request comes from, and pages cannot change that. Programs say nothing;
    they have no cookies, so a request that has one must say where it comes from.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        if is_same_origin(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        message = "a page of another origin asked for this change; refused"
        await response_of(Problem(HTTPStatus.FORBIDDEN, message))(scope, receive, send)


def is_same_origin(headers: Headers) -> bool:
    """Whether a request was made by a page of this origin, or by a program.

    A browser says of a secure origin, loopback among them, how the page is related to it; of others
    it names the page's origin alone.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return "cookie" not in headers
    netloc = urlsplit(origin).netloc
    return bool(netloc) and netloc == headers.get("host")


class Deadlines:
    """Limits how long a client may take, and how long a request waits for the storage."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop, complete = asyncio.get_running_loop(), False
        deadline = loop.time() + BODY_SECONDS

        async def received() -> Message:
            nonlocal complete
            if complete:  # what is awaited now is the client's disconnecting
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"request: its body took longer than {BODY_SECONDS:.0f} s",
                    {"Connection": "close"},
                ) from None
            complete = not message.get("more_body", False)
            return message

        async def sent(message: Message) -> None:
            async with asyncio.timeout(BODY_SECONDS):
                await send(message)

        with patience(STORAGE_SECONDS):
            await self.app(scope, received, sent)
