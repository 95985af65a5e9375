"""Sign-in with a token: in a bearer header, or once in the link, as Jupyter does."""

import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, PackageLoader

from search.dashboard.middleware import (
    SAFE_METHODS,
    STRICT_POLICY,
    Application,
    Environ,
    StartResponse,
    text_response,
)

TEMPLATES = Environment(loader=PackageLoader("search.dashboard"), autoescape=True)


def require_token(application: Application, token: str) -> Application:
    """Asks for a token: as a bearer header, or once in the link (`?token=`).

    The link sets a strict, http-only cookie and redirects to itself without the token. The cookie
    holds a keyed hash, so it is of no use elsewhere, and another token ends every session.
    """
    session = hmac.new(token.encode(), b"makemore-search session", hashlib.sha256).hexdigest()

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        name = f"makemore-search-{environ.get('SERVER_PORT', '')}"
        given = _token_in_link(environ)
        if given is not None and constant_time_equal(given, token):
            cookie = f"{name}={session}; HttpOnly; SameSite=Strict; Path=/"
            headers = [("Location", _without_token(environ)), ("Set-Cookie", cookie)]
            return text_response(environ, start_response, "303 See Other", "", headers)
        if _bearer_is(environ, token) or constant_time_equal(_cookie(environ, name), session):
            return application(environ, start_response)
        return _ask_for_token(environ, start_response)

    return answer


def constant_time_equal(given: str, expected: str) -> bool:
    """Compares in a time that depends neither on where they differ nor on their lengths."""
    digests = (
        hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, expected)
    )
    return hmac.compare_digest(*digests)


def _token_in_link(environ: Environ) -> str | None:
    if environ["REQUEST_METHOD"] not in SAFE_METHODS:
        return None
    return dict(parse_qsl(environ.get("QUERY_STRING", ""))).get("token")


def _without_token(environ: Environ) -> str:
    """The same address without the token; always a path of this origin."""
    path = "/" + environ.get("PATH_INFO", "").lstrip("/\\")
    left = [pair for pair in parse_qsl(environ.get("QUERY_STRING", "")) if pair[0] != "token"]
    return quote(path, safe="/") + (f"?{urlencode(left)}" if left else "")


def _bearer_is(environ: Environ, token: str) -> bool:
    scheme, _, given = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return scheme.lower() == "bearer" and constant_time_equal(given.strip(), token)


def _cookie(environ: Environ, name: str) -> str:
    for part in str(environ.get("HTTP_COOKIE", "")).split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _ask_for_token(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """401: a form for people, one line for programs."""
    headers = [("WWW-Authenticate", 'Bearer realm="makemore-search"')]
    status = "401 Unauthorized"
    if "text/html" not in str(environ.get("HTTP_ACCEPT", "")):
        message = "a token is needed: Authorization: Bearer TOKEN\n"
        return text_response(environ, start_response, status, message, headers)
    policy = f"{STRICT_POLICY}; form-action 'self'; base-uri 'none'"
    headers.append(("Content-Security-Policy", policy))
    # A browser sends no strict cookie when a link on another site leads here. It sends the cookie
    # from a page of this origin, so for such a visitor this page loads the dashboard once more.
    came_from_elsewhere = environ.get("HTTP_SEC_FETCH_SITE") == "cross-site"
    page = TEMPLATES.get_template("token_form.html").render(
        reload="/dashboard" if came_from_elsewhere else None, wrong=bool(_token_in_link(environ))
    )
    return text_response(environ, start_response, status, page, headers, "text/html")
