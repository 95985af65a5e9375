"""What the service costs, and how quickly it answers.

    python -m tests.benchmarks.service [requests] [submit] [watched] [idle] [--on postgresql]

Real `serve` processes over real studies. By default all four:

requests   requests a second for the list of 200 studies and for its page; one client, and eight
submit     seconds from a POST until the study's first trial starts, and until its first report
watched    a running study with nobody looking, with one page open and metrics scraped, and with 200
           pages open: examples that are trained in a second, and how long a writer waits
idle       the share of a processor of a service with 20 open studies and no workers

The clients run on the same machine. Prints one JSON document; about three minutes on two cores that
have nothing else to do.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import httpx
from sqlalchemy import func, select, text

from search.storage import tables
from search.trials import leases
from tests.benchmarks.service.place import Running, fill, places, serving, steady_study

Group = dict[str, Any]

STUDIES, OPEN, TRIALS = 180, 20, 40
ASKING_SECONDS = 5.0
SUBMISSIONS = 5
WINDOW_SECONDS, ROUNDS = 12.0, 3
SETTLING_SECONDS = 15.0
"""In which a service that was just started fits count models, and draws what is missing."""
IDLE_SECONDS = 60.0
STEADY = "steady"
EXAMPLES = 400_000
"""Of each trial of the running study: some tenths of a second."""
WRITE_EVERY = 0.1

LIST = "/live?q=&state=&page=1"
PAGE = f"/studies/{STEADY}/live"
WATCHERS: dict[str, list[Group]] = {
    "nobody": [],
    "one page and metrics": [
        {"path": PAGE, "clients": 1, "every": 2.0},
        {"path": "/metrics", "clients": 1, "every": 5.0},
    ],
    "200 pages": [
        {"path": PAGE, "clients": 100, "every": 2.0},
        {"path": LIST, "clients": 100, "every": 3.0},
    ],
}
"""Who looks at a running study, and how often the pages ask."""


def asking(service: Running, seconds: float, groups: Sequence[Group]) -> "subprocess.Popen[str]":
    """Clients in a process of their own; `answers` gives what became of them."""
    command = [sys.executable, "-m", "tests.benchmarks.service.clients", service.address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*command, str(seconds)], **pipes)
    process.stdin.write(json.dumps(list(groups)))
    process.stdin.close()
    process.stdin = None
    return process


def answers(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the clients were answered."""
    found: dict[str, Any] = json.loads(process.communicate(timeout=60)[0])
    return found


def requests(new: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Requests a second, by path and number of clients."""
    place, rows = new("requests"), []
    fill(place, STUDIES, OPEN, TRIALS)
    with serving(place, workers=0) as service:
        httpx.get(service.address, timeout=60)
        for path in ("/api/v1/studies", "/api/v1/studies?page=1", "/"):
            for clients in (1, 8):
                group = {"path": path, "clients": clients, "every": 0}
                found = answers(asking(service, ASKING_SECONDS, [group]))
                rows.append({"path": path, "clients": clients} | found)
                told(rows[-1])
    return rows


def submit(new: Callable[[str], Any]) -> dict[str, Any]:
    """Seconds from a submission to the first trial's start and first report; workers wait."""
    place, starts, reports = new("submit"), [], []
    storage = place.storage
    with serving(place, workers=2) as service, httpx.Client(base_url=service.address) as client:
        time.sleep(SETTLING_SECONDS / 3)  # the workers load what they need
        for number in range(SUBMISSIONS):
            body = {"study": {"name": f"s{number}"}, "budget": {"trials": 2}}
            began = time.time()
            answer = client.post("/api/v1/studies", json={"study": body}, timeout=60)
            assert 201 == answer.status_code, answer.text
            starts.append(_first_start(storage, number) - began)
            reports.append(_first_report(storage) - began)
            client.post(f"/api/v1/studies/s{number}/stop")
            while client.get(f"/api/v1/studies/s{number}").json()["workers"]:
                time.sleep(0.1)
            with storage.write() as connection:
                connection.execute(text("DELETE FROM trial_intermediate_values"))
    place.close()
    return told({"first start": median(starts), "first report": median(reports), "all": reports})


def _first_start(storage: Any, studies_before: int) -> float:
    a, s = tables.attempts, tables.studies
    name = f"s{studies_before}"
    query = select(func.min(a.c.started_at)).join(s, s.c.uid == a.c.study_uid)
    return float(_awaited(storage, query.where(s.c.name == name)))


def _first_report(storage: Any) -> float:
    _awaited(storage, text("SELECT max(step) FROM trial_intermediate_values"))
    return time.time()


def _awaited(storage: Any, query: Any) -> Any:
    """A value, as soon as there is one."""
    while True:
        with storage.read() as connection:
            value = connection.execute(query).scalar()
        if value is not None:
            return value
        time.sleep(0.01)


def watched(new: Callable[[str], Any]) -> list[dict[str, Any]]:
    """What a running study loses to those who look at it: medians of some rounds."""
    place = new("watched")
    fill(place, 19, 0, TRIALS)
    stored = steady_study(place, STEADY, EXAMPLES)
    writer = leases.register_worker(place.storage, stored)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in WATCHERS}
    with serving(place, workers=2) as service:
        _awaited(place.storage, text("SELECT max(step) FROM trial_intermediate_values"))
        time.sleep(SETTLING_SECONDS)
        for _ in range(ROUNDS):
            for name, groups in WATCHERS.items():
                rows[name].append(_window(place.storage, stored, writer, service, groups))
                told({name: rows[name][-1]})
    leases.end_worker(place.storage, writer)
    place.close()
    return [
        {"watched by": name, **{key: median(row[key] for row in found) for key in found[0]}}
        for name, found in rows.items()
    ]


def _window(
    storage: Any, stored: Any, writer: str, service: Running, groups: Sequence[Group]
) -> dict[str, Any]:
    """One stretch of time with some watchers."""
    process, waits = asking(service, WINDOW_SECONDS + 2, groups), []
    time.sleep(1.5)  # until all are connected
    cpu, began, ended = service.cpu_seconds(), time.time(), time.time() + WINDOW_SECONDS
    while (started := time.time()) < ended:
        leases.heartbeat(storage, stored, writer)
        waits.append(time.time() - started)
        time.sleep(WRITE_EVERY)
    seconds = time.time() - began
    cpu = (service.cpu_seconds() - cpu) / seconds
    found = answers(process)
    a = tables.attempts
    query = select(func.sum(a.c.examples)).where(a.c.ended_at.between(began, began + seconds))
    with storage.read() as connection:
        examples = connection.execute(query).scalar() or 0
    return {
        "examples a second": examples / seconds,
        "writer waits, median ms": 1e3 * median(waits),
        "writer waits at most, ms": 1e3 * max(waits),
        "service, share of a core": cpu,
        "answers a second": found["answers_a_second"],
        "slowest answer, ms": found["slowest_ms"],
        "failed": found["failed"],
    }


def idle(new: Callable[[str], Any]) -> dict[str, Any]:
    """The share of a processor that a service without workers uses."""
    place = new("idle")
    fill(place, 0, OPEN, TRIALS)
    with serving(place, workers=0) as service:
        time.sleep(4 * SETTLING_SECONDS)
        started, cpu = time.monotonic(), service.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        took = time.monotonic() - started
        return told({"open studies": OPEN, "share": (service.cpu_seconds() - cpu) / took})


def told(row: Any) -> Any:
    """A result, for whoever is waiting."""
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


PARTS: dict[str, Callable[[Callable[[str], Any]], Any]] = {
    "requests": requests,
    "submit": submit,
    "watched": watched,
    "idle": idle,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--on", choices=["sqlite", "postgresql"], default="sqlite")
    given = parser.parse_args()
    if unknown := {*given.parts} - PARTS.keys():
        parser.error(f"{', '.join(unknown)}: give some of {', '.join(PARTS)}")
    with places(given.on) as new:
        found = {name: PARTS[name](new) for name in given.parts or PARTS}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
