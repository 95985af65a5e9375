"""A token to enter with: in a bearer header, or once in the link, as Jupyter does."""

import hashlib
import hmac
from collections.abc import Iterable
from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from search.dashboard.middleware import (
    SAFE_METHODS,
    STRICT_POLICY,
    Application,
    Environ,
    StartResponse,
    text_response,
)


def require_token(application: Application, token: str) -> Application:
    """Asks for a token: as a bearer header, or once in the link (`?token=`).

    The link sets a strict, http-only cookie and leads on to itself without the token. The cookie
    holds a keyed hash, so it opens nothing else, and another token ends every session.
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
    """Compares in a time that tells nothing of where they differ, nor of their lengths."""
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
        told = "a token is needed: Authorization: Bearer TOKEN\n"
        return text_response(environ, start_response, status, told, headers)
    policy = f"{STRICT_POLICY}; form-action 'self'; base-uri 'none'"
    headers.append(("Content-Security-Policy", policy))
    # A strict cookie stays behind when a link on another site leads here. A step from a page of
    # this origin brings it along, so such a visitor takes one more step before being asked.
    came_from_elsewhere = environ.get("HTTP_SEC_FETCH_SITE") == "cross-site"
    step = '<meta http-equiv="refresh" content="0; url=/dashboard">' if came_from_elsewhere else ""
    wrong = "That token is not the one. " if _token_in_link(environ) else ""
    page = LOGIN_PAGE.replace("<!--step-->", step).replace("<!--wrong-->", escape(wrong))
    return text_response(environ, start_response, status, page, headers, "text/html")


LOGIN_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<!--step--><title>makemore-search: sign in</title><style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;margin:0}
form{max-width:24rem;padding:2rem}h1{font-size:1.3rem;margin:0 0 .5rem}
input,button{font:inherit;padding:.5rem .7rem;width:100%;box-sizing:border-box;margin-top:.6rem}
</style></head><body><form action="/dashboard" method="get">
<h1>This dashboard needs a token</h1>
<p><!--wrong-->Whoever started it has it, in the file named by <code>--token-file</code>.</p>
<label>Token<input type="password" name="token" autocomplete="current-password" required autofocus>
</label><button>Sign in</button></form></body></html>
"""
