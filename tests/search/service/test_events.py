"""The events of a study, from a real server, which sends each as soon as it is made."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from workspace import Workspace

from search.dashboard.app import Access
from search.service import feed, server, tokens
from search.service.context import ServiceContext
from search.study import study
from search.trials import leases

EVENTS = "api/v1/studies/tiny/events"


@pytest.fixture
def url(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a real server that looks often."""
    monkeypatch.setattr(feed, "SECONDS_BETWEEN_POLLS", 0.1)
    monkeypatch.setattr(feed, "SECONDS_BETWEEN_CHECKS", 0.0)
    monkeypatch.setattr(feed, "SECONDS_BETWEEN_COMMENTS", 0.1)
    context = ServiceContext(bed.storage, bed.url, bed.data_dir, Access(port=0))
    with server.serving_http(context) as address:
        yield address


def events_of(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    """The events of a stream, with their data; a comment has the name `:` and none."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield ":", None
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_running_study_sends_its_status_and_each_trial_once(bed: Workspace, url: str) -> None:
    """While a worker works on it; the end comes when nobody does any more."""
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    with httpx.stream("GET", url + EVENTS, timeout=60) as answer:
        assert "text/event-stream" in answer.headers["content-type"]
        events = events_of(answer)
        name, first = next(events)
        assert ("status", "open", 1) == (name, first["state"], first["workers"])
        bed.work(stored)
        leases.end_worker(bed.storage, worker)
        sent = [*events]
    assert ("end", {}) == sent[-1]
    assert "done" == [data["state"] for name, data in sent if name == "status"][-1]
    ended = [data for name, data in sent if name == "trial"]
    assert bed.json("trials", "tiny") == sorted(ended, key=lambda trial: trial["number"])


def test_a_study_that_is_deleted_sends_the_end(bed: Workspace, url: str) -> None:
    """As does one whose name another one has now."""
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    with httpx.stream("GET", url + EVENTS, timeout=60) as answer:
        events = events_of(answer)
        next(events)
        leases.end_worker(bed.storage, worker)
        study.delete_study(bed.storage, stored, bed.data_dir)
        leases.register_worker(bed.storage, bed.create())
        assert ("end", {}) == [*events][-1]


def test_a_token_that_is_revoked_hears_no_more(bed: Workspace, url: str) -> None:
    """The stream is closed, without an end; with the token it went on, with comments at least."""
    stored = bed.create()
    leases.register_worker(bed.storage, stored)
    _, secret = tokens.create(bed.storage, "ann", "read")
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.stream("GET", url + EVENTS, headers=headers, timeout=60) as answer:
        events = events_of(answer)
        assert ["status", ":", ":"] == [next(events)[0] for _ in range(3)]
        tokens.revoke(bed.storage, "ann")
        assert "end" not in [name for name, _ in events]


def test_there_are_not_more_listeners_than_allowed(
    bed: Workspace, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is 503, and told to poll."""
    leases.register_worker(bed.storage, bed.create())
    monkeypatch.setattr(feed, "MAX_LISTENERS", 1)
    with httpx.stream("GET", url + EVENTS, timeout=60) as answer:
        events = events_of(answer)  # the stream is closed with it
        next(events)
        refused = httpx.get(url + EVENTS, timeout=60)
        assert 503 == refused.status_code and "poll" in refused.json()["detail"]
