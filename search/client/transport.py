"""Requests to the service, repeated where that cannot do a thing twice."""

import random
import time
from collections.abc import Mapping
from typing import Any

import httpx

from search.client.errors import ServiceUnavailable, error_of
from search.errors import BadInput

PATIENCE_SECONDS = 60.0
"""How long a request is repeated: a service that is started again is back within that."""
MAX_PAUSE = 5.0
TRANSIENT = (429, 502, 503, 504)


class Transport:
    """A connection to one service."""

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        patience: float,
        http: httpx.Client | None = None,
    ) -> None:
        """`http`: what sends the requests, in place of a client of its own."""
        self.url = _checked(url)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = http or httpx.Client(timeout=timeout, follow_redirects=False)
        self._headers = headers | {"Accept": "application/json"}
        self._patience = patience

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        repeat: bool | None = None,
        query: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> httpx.Response:
        """One request, whose answer is a success.

        Args:
            path: below `/api/v1`, with its names percent-encoded.
            repeat: whether it may be sent again when its answer was lost; GET may.

        Raises:
            SearchError: of the kind that the answer stands for.
        """
        parameters = {key: value for key, value in (query or {}).items() if value is not None}
        may_repeat = method == "GET" if repeat is None else repeat
        deadline, pause = time.monotonic() + self._patience, 0.2
        while True:
            wanted: float | None = None
            try:
                response = self._http.request(
                    method,
                    f"{self.url}/api/v1{path}",
                    params=parameters,
                    headers=self._headers,
                    **body,
                )
                if response.is_success:
                    return response
                error: Exception = error_of(response)
                may_pass = response.status_code in TRANSIENT
                wanted = _retry_after(response)
            except httpx.TransportError as failure:
                error, may_pass = _unreachable(self.url, failure), True
                may_repeat = may_repeat or isinstance(failure, httpx.ConnectError)
            pause = max(pause, min(wanted or 0.0, MAX_PAUSE))
            if not (may_repeat and may_pass) or time.monotonic() + pause > deadline:
                raise error from None
            time.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2 * pause, MAX_PAUSE)


def _checked(url: str) -> str:
    """The address without a trailing slash.

    Raises:
        BadInput: it is none of HTTP, or holds a password.
    """
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parts = httpx.URL("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise BadInput("url: is not an address such as https://HOST or http://127.0.0.1:8080")
    if parts.userinfo or parts.query or parts.fragment:
        raise BadInput(f"url: give https://{parts.host} alone, and the token as its own argument")
    return str(parts).rstrip("/")


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _unreachable(url: str, failure: httpx.TransportError) -> ServiceUnavailable:
    reason = str(failure).strip().splitlines() or [type(failure).__name__]
    return ServiceUnavailable(f"service {url}: cannot be reached ({reason[0]})")
