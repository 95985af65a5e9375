"""`kill -9` of a real service: nothing that it answered is lost, and nothing is done twice."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from receiver import Handler, Receiver, accept, serving
from sqlalchemy import select
from workspace import Workspace, run_python, wait_until

from search.storage import tables
from search.study import study
from search.trials import confirmations, jobs

pytestmark = pytest.mark.long

SERVE = ("serve", "--port", 0, "--writable", "--private-webhooks")
DIES_BEFORE_SENDING = """
import os, signal, sys
from search import cli
from search.service import webhooks
webhooks.send = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(cli.main())
"""


def address_of(process: Any) -> str:
    """Where a service answers, as soon as it says so."""
    line = process.stderr.readline()
    assert " on http" in line, line + process.stderr.read()
    return str(line.split(" on ")[-1].split("/ ")[0])


@contextmanager
def service(bed: Workspace, workers: int) -> Iterator[tuple[Any, httpx.Client]]:
    """A service in a process of its own, and a client of it; ended by SIGTERM, if it is there."""
    process = bed.start(*SERVE, "--workers", workers)
    with httpx.Client(base_url=address_of(process), timeout=60) as client:
        yield process, client
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert 0 == process.returncode
    process.communicate()


def steady(name: str) -> dict[str, Any]:
    """A study of a few trials that each take some tenths of a second."""
    fixed = {"embedding_size": 8, "hidden_width": 64, "block_size": 3, "batch_size": 64}
    return {
        "study": {"name": name},
        "budget": {"trials": 3, "examples": 300_000},
        "search": fixed | {"schedule": "cosine"},
        "pruner": {"kind": "none"},
    }


def test_no_submission_and_no_confirmed_training_is_lost(bed: Workspace) -> None:
    """Every study that was answered is there, once; the next service finishes the confirmation,
    and trains nothing again that the first one had recorded."""
    names = [f"s{number}" for number in range(5)]
    done = "/api/v1/studies/s0"
    with service(bed, workers=1) as (process, client):
        for name in names:
            answer = client.post("/api/v1/studies", json={"study": steady(name)})
            assert 201 == answer.status_code, answer.text
        wait_until(lambda: "done" == client.get(done).json()["state"])
        assert 202 == client.post(f"{done}/confirm", json={"top": 2, "seeds": 3}).status_code
        first = wait_until(lambda: trainings(bed, "s0"))
        process.kill()
        process.communicate()
    with service(bed, workers=1) as (_, client):
        assert names == [each["study"] for each in client.get("/api/v1/studies").json()]
        again = client.post("/api/v1/studies", json={"study": steady(names[-1])})
        assert 200 == again.status_code
        job = wait_until(
            lambda: (job := client.get(done).json()["jobs"][0])["state"] not in jobs.ACTIVE and job
        )
    assert "done" == job["state"], job
    recorded = trainings(bed, "s0")
    assert 6 == len(recorded) and first == recorded & first
    assert job["progress"]["done"] <= 6 - len(first)
    assert [3, 3] == [candidate["seeds"] for candidate in job["result"]["candidates"]]


def trainings(bed: Workspace, name: str) -> set[Any]:
    """The confirmed trainings of a study that are recorded, with what each took."""
    return {*confirmations.models(bed.storage, study.resolve(bed.storage, name))}


def told_of(bed: Workspace, receiver: Receiver) -> set[str]:
    """A study that is done, and reached its target: the ids of its two events."""
    notify = {"url": receiver.url(), "target": 100.0}
    bed.work(bed.create(budget={"trials": 2}, notify=notify))
    return {row.id for row in outbox(bed)}


def outbox(bed: Workspace) -> Any:
    """The records of all events."""
    with bed.storage.read() as connection:
        return connection.execute(select(tables.outbox)).all()


def end_pauses(bed: Workspace) -> None:
    """Has every event that is not delivered be due at once."""
    o = tables.outbox
    with bed.storage.write() as connection:
        connection.execute(o.update().where(o.c.next_try_at.is_not(None)).values(next_try_at=0.0))


def deliver_all(bed: Workspace) -> None:
    """A service that delivers what is left."""
    end_pauses(bed)
    with service(bed, workers=0):
        wait_until(lambda: all(row.delivered_at for row in outbox(bed)))


def test_a_webhook_that_was_received_is_recorded_or_repeated(bed: Workspace) -> None:
    """The receiver has the event, and the outbox does not know: the next service sends it again,
    with the same id and body; there is one record of each event."""
    with serving(Receiver()) as receiver:
        expected = told_of(bed, receiver)
        assert 2 == len(expected)

        is_known = threading.Event()

        def kill(_: Handler) -> None:
            assert is_known.wait(60)
            process.kill()
            process.wait()

        receiver.answer = kill
        with service(bed, workers=0) as (process, _):
            is_known.set()
            process.wait(60)
        assert -signal.SIGKILL == process.returncode
        assert [None, None] == [row.delivered_at for row in outbox(bed)]
        ((_, headers, body),) = receiver.requests
        receiver.answer = accept
        deliver_all(bed)
    ids = Counter(sent["webhook-id"] for _, sent, _ in receiver.requests)
    repeated = headers["webhook-id"]
    assert {event: 1 + (event == repeated) for event in expected} == ids
    assert [body, body] == [
        again for _, sent, again in receiver.requests if repeated == sent["webhook-id"]
    ]
    assert sorted(expected) == sorted(row.id for row in outbox(bed))


def test_a_webhook_that_was_not_sent_is_sent_by_the_next_service(bed: Workspace) -> None:
    """The service dies when it has claimed an event, and before it connects: each is received once,
    and there is one record of each."""
    with serving(Receiver()) as receiver:
        expected = told_of(bed, receiver)
        process = run_python(DIES_BEFORE_SENDING, *bed.arguments(*SERVE, "--workers", 0))
        process.communicate(timeout=60)
        assert -signal.SIGKILL == process.returncode
        assert [] == receiver.requests and [0, 1] == sorted(row.tries for row in outbox(bed))
        deliver_all(bed)
    assert sorted(expected) == sorted(sent["webhook-id"] for _, sent, _ in receiver.requests)
    assert sorted(expected) == sorted(row.id for row in outbox(bed))
