"""The service's HTTP server: uvicorn in a thread, beside the supervisor of the workers."""

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from search.dashboard import app as dashboard
from search.errors import SearchError
from search.service.app import create_app
from search.service.context import ServiceContext

HEADER_SECONDS = 10.0
"""How long a client may take to send the header of a request."""
MAX_HEADER = 32_768
"""Bytes of a request's header."""
MAX_CONNECTIONS = 1_000
"""At the same time, where the process may open twice as many files; else half of those."""
CLOSING_SECONDS = 3
"""How long requests under way may go on when the service ends."""


class Protocol(H11Protocol):
    """HTTP/1.1 with a deadline for each request's header, which uvicorn has none for.

    Answers are sent at once: asyncio leaves that to us for a socket that was made without the
    number of its protocol, and the end of an answer would wait 40 ms for the client's
    acknowledgment of its beginning.
    """

    _header_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way and self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None
        elif not under_way and self._header_deadline is None:
            self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()
        super().connection_lost(exc)

    def _await_header(self) -> None:
        self._header_deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)


@contextmanager
def serving_http(context: ServiceContext) -> Iterator[str]:
    """Serves HTTP in a thread until the block ends; gives the service's address.

    Raises:
        BadInput: the address is taken, or is not this machine's.
    """
    with dashboard.listen(context.access) as listening:
        server = uvicorn.Server(config_of(context))
        thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise SearchError("service: the HTTP server could not start; its log shows why")
            time.sleep(0.01)
        try:
            yield dashboard.address(listening.getsockname()[1], context.access)
        finally:
            server.should_exit = True
            thread.join(2 * CLOSING_SECONDS)


def config_of(context: ServiceContext) -> uvicorn.Config:
    """The configuration of the HTTP server."""
    return uvicorn.Config(
        create_app(context),
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,  # logs are the program's
        access_log=False,
        proxy_headers=False,  # whoever forwards is no caller on this machine
        server_header=False,
        limit_concurrency=_max_connections(),
        h11_max_incomplete_event_size=MAX_HEADER,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )


def _max_connections() -> int:
    """How many connections are accepted, so that files are left for the storage and the models."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, limit // 2)
