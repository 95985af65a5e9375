"""Threads and connections of a service: what waits for what."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from service import Service
from sqlalchemy import event
from workspace import Workspace, some_words, tiny, wait_until

from search.service import health, results
from search.service.app import THREADS
from search.service.context import HEALTH_THREADS
from search.storage.connections import MAX_CONNECTIONS

Serve = Callable[..., Service]
API = "/api/v1/studies/tiny"
READ = (
    *("/", "/live", "/compare?study=tiny", "/corpora", "/submit", "/submit?like=tiny"),
    *("/studies/tiny", "/studies/tiny/live", "/studies/tiny/trials", "/studies/tiny/trials/3"),
    *(f"/studies/tiny/{action}" for action in ("resume", "confirm", "test", "delete")),
    *("/api/v1/studies", API, f"{API}/trials", f"{API}/trials/3", f"{API}/best", f"{API}/model"),
    *("/api/v1/corpora", "/healthz", "/readyz", "/metrics"),
)


def test_whoever_asks_how_it_does_waits_for_no_other_request(
    finished: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All threads are taken by requests that last, and `/healthz` answers all the same."""
    service, goes_on, begun = serve(finished), threading.Event(), list[int]()

    def wait(*_: Any) -> None:
        begun.append(1)
        assert goes_on.wait(60)
        raise NotADirectoryError

    monkeypatch.setattr(results.results, "require_best", wait)
    with ThreadPoolExecutor(THREADS) as waiting:
        for _ in range(THREADS):
            waiting.submit(service.client().get, f"{API}/best")
        wait_until(lambda: THREADS == len(begun))
        try:
            assert 200 == service.client().get("/healthz").status_code
        finally:
            goes_on.set()


def test_a_storage_that_says_nothing_is_not_waited_for(
    finished: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/readyz` is 503 in time, although the connection hangs."""
    client, goes_on = serve(finished).client(), threading.Event()

    def hang(*_: Any) -> None:
        assert goes_on.wait(60)

    event.listen(finished.storage.engine, "before_cursor_execute", hang)
    with monkeypatch.context() as impatient:
        impatient.setattr(health, "STORAGE_SECONDS", 0.2)
        answer = client.get("/readyz")
    event.remove(finished.storage.engine, "before_cursor_execute", hang)
    goes_on.set()
    assert 503 == answer.status_code
    assert 200 == client.get("/readyz").status_code


def test_no_request_needs_two_connections_at_once(finished: Workspace, serve: Serve) -> None:
    """So none holds one that others wait for while it waits itself; and there are as many as
    threads in any case."""
    held, most = Counter[int](), [0]

    def taken(*_: Any) -> None:
        held[threading.get_ident()] += 1
        most.append(held[threading.get_ident()])

    def given_back(*_: Any) -> None:
        held[threading.get_ident()] -= 1

    event.listen(finished.storage.engine, "checkout", taken)
    event.listen(finished.storage.engine, "checkin", given_back)
    service = serve(finished)
    client = service.client(service.token("admin", trials=10**6, corpus_bytes=10**6))
    for path in READ:
        assert 200 == client.get(path).status_code, path
    uploaded = client.post("/api/v1/corpora", content="\n".join(some_words()))
    made = tiny(study={"name": "second", "corpus": uploaded.json()["fingerprint"]})
    for expected, method, path, body in (
        (201, "POST", "/api/v1/studies", {"study": made}),
        (200, "POST", "/api/v1/studies", {"study": made}),
        (202, "POST", "/api/v1/studies/second/stop", None),
        (202, "POST", "/api/v1/studies/second/resume", {"trials": 20}),
        (204, "DELETE", "/api/v1/studies/second?confirm=second", None),
        (204, "DELETE", f"/api/v1/corpora/{uploaded.json()['fingerprint']}", None),
    ):
        answer = client.request(method, path, json=body)
        assert expected == answer.status_code, (path, answer.text)
    assert 1 == max(most)
    assert MAX_CONNECTIONS >= THREADS + HEALTH_THREADS + len(("jobs", "notifier"))
