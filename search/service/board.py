"""The Optuna dashboard within the service, for what no route of our own answers.

Reading goes to a dashboard whose database connections refuse to write; a change goes to a second
one. A token's scope holds there too: a change needs `submit`, a deletion `admin`.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from search.dashboard import app as dashboard
from search.dashboard.middleware import SAFE_METHODS, Application
from search.paths import DataDir
from search.service import authentication, scopes
from search.service.context import ServiceContext
from search.storage.database import Storage, open_storage

THREADS = 3


class Board:
    """Optuna's dashboard as an ASGI application that asks for a scope first."""

    def __init__(self, reader: ASGIApp, writer: ASGIApp) -> None:
        self._reader, self._writer = reader, writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = scope_of(scope["method"])
        await authentication.caller_with(HTTPConnection(scope), needed)
        board = self._reader if needed == scopes.Scope.READ else self._writer
        await board(scope, receive, send)


def scope_of(method: str) -> scopes.Scope:
    """The scope that a request to Optuna's dashboard needs."""
    if method in SAFE_METHODS:
        return scopes.Scope.READ
    return scopes.Scope.ADMIN if method == "DELETE" else scopes.Scope.SUBMIT


def open_board(context: ServiceContext, stack: ExitStack) -> Board:
    """The dashboard over storages of its own, which the stack closes."""

    def opened(make: Callable[[Storage, DataDir], Application]) -> ASGIApp:
        storage = stack.enter_context(closing(open_storage(context.storage_url)))
        wsgi = WSGIMiddleware(cast(Any, make(storage, context.data_dir)), workers=THREADS)
        stack.callback(wsgi.executor.shutdown, wait=False)
        return cast(ASGIApp, wsgi)

    return Board(opened(dashboard.read_only_board), opened(dashboard.writable_board))
