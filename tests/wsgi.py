"""Talks to a WSGI application without a network."""

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """Asks an application, as a browser on this machine would, unless told otherwise."""

    def __init__(self, application: Callable[..., Iterable[bytes]], **headers: str) -> None:
        self._application = application
        self._headers = {"Host": "localhost:8080"} | headers

    def __call__(self, method: str, address: str, body: Any = None, **headers: str) -> Reply:
        path, _, query = address.partition("?")
        payload = b"" if body is None else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(payload)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(payload),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in (self._headers | headers).items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            started.append((status, headers))

        parts = self._application(environ, start_response)
        try:
            answered = b"".join(parts)
        finally:
            if close := getattr(parts, "close", None):
                close()
        status, pairs = started[-1]
        return Reply(int(status.split()[0]), {k.lower(): v for k, v in pairs}, answered)

    def get(self, address: str, **headers: str) -> Reply:
        return self("GET", address, **headers)
