"""A confirmation as a job of the service; and the events of a study."""

import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from service import Service
from sqlalchemy import update
from workspace import Workspace, wait_until

from search.dashboard.app import Access
from search.service.context import ServiceContext
from search.service.jobs import running_jobs
from search.storage import tables
from search.study import study
from search.trials import jobs

Serve = Callable[..., Service]
CONFIRM = "/api/v1/studies/tiny/confirm"


def events_of(answer: Any) -> Iterator[tuple[str, Any]]:
    """The events of a stream, with their data."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def job_of(client: Any) -> dict[str, Any]:
    """The latest job of `tiny`."""
    job: dict[str, Any] = client.get("/api/v1/studies/tiny").json()["jobs"][0]
    return job


def test_a_confirmation_says_its_cost_and_is_done(finished: Workspace, serve: Serve) -> None:
    """`dry_run` tells the cost; the job's result is what `confirm` prints, which then has nothing
    left to train. A second one with other arguments is refused as long as it runs."""
    client = serve(finished, writable=True).client()
    cost = client.post(f"{CONFIRM}?dry_run=1", json={"top": 1, "seeds": 2}).json()
    assert 2 == cost["trainings"] and cost["estimated_seconds"] > 0
    assert [] == client.get("/api/v1/studies/tiny").json()["jobs"]
    assert 202 == client.post(CONFIRM, json={"top": 1, "seeds": 2}).status_code
    assert 202 == client.post(CONFIRM, json={"top": 1, "seeds": 2}).status_code
    assert 409 == client.post(CONFIRM, json={"top": 2, "seeds": 2}).status_code
    done = wait_until(lambda: (job := job_of(client))["state"] not in jobs.ACTIVE and job)
    assert "done" == done["state"], done
    assert 2 == done["progress"]["done"] and "loopback" == done["token"]
    expected = finished.json("confirm", "tiny", "--top", 1, "--seeds", 2)
    assert None is expected["announced_seconds"]
    same = ("winner", "candidates", "optimism")
    assert {key: expected[key] for key in same} == {key: done["result"][key] for key in same}
    assert client.get("/api/v1/studies/tiny/best").json()["confirmed"]


def test_a_study_at_rest_sends_its_status_and_ends(finished: Workspace, serve: Serve) -> None:
    """Whoever listens to a study that nobody works on gets its status, and the end."""
    with serve(finished).client().stream("GET", "/api/v1/studies/tiny/events") as answer:
        (first, status), (last, _) = events_of(answer)
    assert ("status", "tiny", "end") == (first, status["study"], last)


def test_a_job_goes_to_one_process_at_a_time(finished: Workspace) -> None:
    """A job is claimed once; of a process that died it is claimed again, three times in all."""
    stored = study.resolve(finished.storage, "tiny")
    asked = jobs.request(finished.storage, stored, "confirm", {"top": 1}, "ann", 1.0)
    first = jobs.claim(finished.storage, asked.id)
    assert first is not None and None is jobs.claim(finished.storage, asked.id)
    assert None is jobs.next_id(finished.storage)
    for _ in range(2):
        orphan(finished, asked.id)
        assert asked.id == jobs.next_id(finished.storage)
        again = jobs.claim(finished.storage, asked.id)
        assert again is not None
    assert not jobs.heartbeat(finished.storage, first, {})  # it is another process' now
    jobs.release(finished.storage, again)
    assert jobs.claim(finished.storage, asked.id) is not None
    orphan(finished, asked.id)
    assert None is jobs.claim(finished.storage, asked.id)
    (shown,) = jobs.of_study(finished.storage, stored)
    assert "failed" == shown.state and "died 3 times" in str(shown.error)


def orphan(bed: Workspace, job_id: str) -> None:
    """Has the process that claimed a job be one that has ended."""
    with bed.storage.write() as connection:
        gone = update(tables.jobs).where(tables.jobs.c.id == job_id).values(pid=2**22 - 1)
        connection.execute(gone)


def test_a_job_that_cannot_be_started_is_tried_again_later(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no process to be had, or it dies at once, the next try follows after a pause;
    the thread lives on."""
    stored = study.resolve(finished.storage, "tiny")
    asked = jobs.request(finished.storage, stored, "confirm", {"top": 1}, "ann", 1.0)
    started, pauses = list[str](), list[None]()

    def start(arguments: list[str], **options: Any) -> Any:
        started.append(arguments[-1])
        if len(started) == 1:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        options["stdin"] = subprocess.PIPE
        return popen([sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(1)"], **options)

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    context = ServiceContext(finished.storage, finished.url, finished.data_dir, Access())
    monkeypatch.setattr(context.job_requested, "wait", lambda _: pauses.append(time.sleep(0.1)))
    with running_jobs(context):
        wait_until(lambda: 3 <= len(started))
    context.close()
    assert len(pauses) >= len(started) - 1 and "could not be started" in caplog.text
    assert asked.id == jobs.next_id(finished.storage)
