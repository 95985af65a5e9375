"""Clients that take their time, against a real server: they hold up nobody, and not for ever."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from workspace import Workspace

from search.dashboard.app import Access
from search.service import middleware, server
from search.service.context import ServiceContext


@pytest.fixture
def address(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Of a real server with little patience."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 1.5)
    monkeypatch.setattr(middleware, "BODY_SECONDS", 1.5)
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
            with contextlib.suppress(OSError):  # it may be dropped by now
                dripping.send(bytes([byte]))
            url = f"http://{address[0]}:{address[1]}/healthz"
            assert 200 == httpx.get(url).status_code
            time.sleep(0.02)


def test_the_end_of_an_answer_does_not_wait_for_the_client(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections have no delay (Nagle's), which would cost each page 40 ms."""
    found, made = [], server.Protocol.connection_made

    def noted(self: server.Protocol, transport: Any) -> None:
        made(self, transport)
        accepted = transport.get_extra_info("socket")
        found.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(server.Protocol, "connection_made", noted)
    httpx.get(f"http://{address[0]}:{address[1]}/healthz")
    assert [1] == found


@pytest.mark.parametrize(("limit", "expected"), [(256, 128), (1 << 20, 1000), (-1, 1000)])
def test_connections_leave_files_for_the_rest(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch, limit: int, expected: int
) -> None:
    """Of those that the process may open, half; however many that are, not more than a thousand."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    context = ServiceContext(finished.storage, finished.url, finished.data_dir, Access(port=0))
    assert expected == server.config_of(context).limit_concurrency
