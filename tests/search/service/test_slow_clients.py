"""Clients that take their time, against a real server: they hold up nobody, and not for ever."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from workspace import Workspace

from search.dashboard.app import Access
from search.service import middleware, server
from search.service.context import ServiceContext


@pytest.fixture
def address(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Of a real server with little patience."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.4)
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.4)
    access = Access(port=0, writable=True)
    context = ServiceContext(finished.storage, finished.url, finished.data_dir, access)
    with server.serving_http(context) as url:
        yield "127.0.0.1", int(url.rstrip("/").rpartition(":")[2])


def answer_to(sent: bytes, address: tuple[str, int]) -> bytes:
    """All that a server says to a client that then sends nothing more."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(sent)
        parts = []
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_slow_clients_are_left(address: tuple[str, int]) -> None:
    """A header that does not end is dropped, a body that does not come is 408, a header that is too
    long is refused; meanwhile others are answered."""
    assert b"" == answer_to(b"GET / HTTP/1.1\r\nHost: local", address)
    head = b"POST /api/v1/corpora HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
    assert answer_to(head + b"few", address).startswith(b"HTTP/1.1 408")
    long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000
    assert answer_to(long, address).startswith(b"HTTP/1.1 4")
    with socket.create_connection(address) as dripping:
        for byte in b"GET /":
            dripping.send(bytes([byte]))
            url = f"http://{address[0]}:{address[1]}/healthz"
            assert 200 == httpx.get(url).status_code
            time.sleep(0.02)
