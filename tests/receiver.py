"""A real HTTP server that receives webhooks, and keeps what it was sent."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Receiver(http.server.ThreadingHTTPServer):
    """Stands for whoever is told: keeps what it was sent, and answers as the test wants."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[Handler], None] = accept

    def url(self, path: str = "/T0/secret", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_address[1]}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Keeps a request, and has the receiver answer it."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.answer(self)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def accept(handler: Handler) -> None:
    """Answers that it was received."""
    handler.send_response(204)
    handler.end_headers()


@contextmanager
def serving(receiver: Receiver) -> Iterator[Receiver]:
    """Has a receiver listen until the block ends."""
    thread = threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
