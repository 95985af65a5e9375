"""The real optuna-dashboard over the storage: on loopback, and read-only unless asked otherwise."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

import waitress
from optuna_dashboard import wsgi

from search.errors import BadInput
from search.storage import Storage

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SCHEMA_MIGRATION = "/incompatible-rdb-schema"


def guarded(application: Application, *, writable: bool) -> Application:
    """Wraps a WSGI application: GET and HEAD only unless writable; never a schema migration."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        migrates = environ.get("PATH_INFO", "").rstrip("/").endswith(SCHEMA_MIGRATION)
        if method not in ("GET", "HEAD") and (migrates or not writable):
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"this dashboard is read-only; start it with --writable to change studies\n"]
        return application(environ, start_response)

    return answer


def serve(storage: Storage, host: str, port: int, *, writable: bool) -> None:
    """Serves the dashboard until it is interrupted.

    Raises:
        BadInput: the address is taken, or is not this machine's.
    """
    if host not in LOOPBACK:
        raise BadInput(
            f"dashboard: --host {host}: the dashboard has no login, so it is served on "
            "127.0.0.1 only; forward the port with ssh to reach it from elsewhere"
        )
    application = guarded(wsgi(storage.optuna), writable=writable)
    try:
        server = waitress.create_server(application, host=host, port=port, threads=4)
    except (OSError, socket.gaierror) as error:
        raise BadInput(
            f"dashboard: cannot listen on {host}:{port} ({error.strerror or error}); "
            "choose another --port"
        ) from None
    server.run()
