"""WSGI middleware that decides which requests an application gets.

Each layer wraps an application and is independent of the others. From the outside in:

    security_headers   security headers on every response
    allowed_hosts      the Host header: names that are not this server's are refused
    require_token      a token, where one is needed (`auth`)
    read_only          GET and HEAD, nothing else
    same_origin        or, where changes are allowed: only from pages of this origin
"""

import ipaddress
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = list[tuple[str, str]]

SAFE_METHODS = ("GET", "HEAD")
STRICT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
HARDENING = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def text_response(
    environ: Environ,
    start_response: StartResponse,
    status: str,
    message: str,
    headers: Headers | None = None,
    kind: str = "text/plain",
) -> Iterable[bytes]:
    """A complete response of our own."""
    body = message.encode()
    start_response(
        status,
        [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *(headers or []),
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def map_headers(
    application: Application, change: Callable[[Environ, Headers], Headers]
) -> Application:
    """An application whose headers go through a function."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *more: Any) -> Any:
            return start_response(status, change(environ, headers), *more)

        return application(environ, start)

    return answer


def security_headers(application: Application) -> Application:
    """Security headers on every response; a strict policy on those that have none of their own."""

    def change(_environ: Environ, headers: Headers) -> Headers:
        ours = {name.lower() for name in HARDENING} | {"access-control-allow-origin"}
        theirs = [(name, value) for name, value in headers if name.lower() not in ours]
        if not any(name.lower() == "content-security-policy" for name, _ in theirs):
            theirs.append(("Content-Security-Policy", STRICT_POLICY))
        return [*theirs, *HARDENING.items()]

    return map_headers(application, change)


def allowed_hosts(application: Application, names: Collection[str], *, any_ip: bool) -> Application:
    """Refuses a Host header that is none of `names` (nor, with `any_ip`, an IP address).

    The owner of another site can have its name resolve to this address, and its pages would then
    be of this origin (DNS rebinding). With a bare address this is impossible: no DNS resolves it.
    """
    known = {name.lower() for name in names}

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        host = host_of(environ.get("HTTP_HOST", ""))
        if host in known or (any_ip and is_ip(host)):
            return application(environ, start_response)
        return text_response(
            environ,
            start_response,
            "403 Forbidden",
            "the Host header names another machine; this server's names: "
            f"{', '.join(sorted(known))}. Start the dashboard with --allow-host NAME to add one.\n",
        )

    return answer


def host_of(header: str) -> str:
    """The name in a Host header, without its port.

    >>> host_of("LocalHost:8080"), host_of("[::1]:80"), host_of("a@b")
    ('localhost', '::1', '')
    """
    try:
        parts = urlsplit(f"//{header}")
    except ValueError:
        return ""
    clean = not (parts.path or parts.query or parts.fragment or "@" in header)
    return (parts.hostname or "") if clean else ""


def is_ip(host: str) -> bool:
    """Whether a host is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def read_only(application: Application) -> Application:
    """GET and HEAD, nothing else."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in SAFE_METHODS:
            return application(environ, start_response)
        return text_response(
            environ,
            start_response,
            "405 Method Not Allowed",
            "this dashboard is read-only; start it with --writable to change studies\n",
            [("Allow", ", ".join(SAFE_METHODS))],
        )

    return answer


def same_origin(application: Application) -> Application:
    """Refuses changes that a page of another origin requests with a user's cookies (CSRF).

    Browsers send the origin of a request, and pages cannot change it. Other programs send none, and
    cannot be attacked in this way.
    """

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in SAFE_METHODS or _is_same_origin(environ):
            return application(environ, start_response)
        return text_response(
            environ,
            start_response,
            "403 Forbidden",
            "a page of another origin asked for this change; refused\n",
        )

    return answer


def _is_same_origin(environ: Environ) -> bool:
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
        return False
    origin = environ.get("HTTP_ORIGIN")
    host = environ.get("HTTP_HOST", "")
    return origin is None or (bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == host)
