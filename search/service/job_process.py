"""python -m search.service.job_process: does one job; the order, as JSON, on standard input.

It comes there because a storage URL may hold a password, which a process list would show. The
process gives its job back when it is told to end, and when the service has ended.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from makemore_core.errors import CoreError
from search.errors import SearchError
from search.finite import finite
from search.paths import DataDir
from search.storage.database import Storage, open_storage
from search.study import study
from search.trials import jobs
from search.trials.jobs import ClaimedJob

log = logging.getLogger("search.service.job_process")

HEARTBEAT_SECONDS = 2.0
MAX_LINES = 20


class Told(Exception):
    """The process was told to end, or its service has ended."""


class Progress:
    """What a job has said so far; its claim is renewed as long as this process works."""

    def __init__(self, storage: Storage, job: ClaimedJob) -> None:
        self._storage, self._job = storage, job
        self._lines: list[str] = []
        self._parent = os.getppid()
        self._ended = threading.Event()

    def emit(self, line: str) -> None:
        self._lines.append(line.strip())

    def document(self) -> dict[str, Any]:
        """The lines, and how many trainings are done: each is announced by one, after the first."""
        return {"done": max(0, len(self._lines) - 1), "lines": self._lines[-MAX_LINES:]}

    @contextmanager
    def renewed(self) -> Iterator[None]:
        thread = threading.Thread(target=self._renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _renew(self) -> None:
        while True:
            is_ours = jobs.heartbeat(self._storage, self._job, self.document())
            if self._ended.wait(HEARTBEAT_SECONDS):
                return
            if not is_ours or os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return


def confirm(storage: Storage, job: ClaimedJob, order: dict[str, Any], progress: Progress) -> Any:
    """The job `confirm`."""
    from search.dashboard.trial_pictures import PicturePublisher
    from search.evaluation.confirm import run

    stored = study.by_uid(storage, job.study_uid)
    study.ensure_not_moved(stored)
    data_dir, wanted = DataDir(Path(order["data_dir"])), job.arguments
    asked = (wanted["top"], wanted["seeds"], wanted["ensemble"])
    means = (order["workers"], order["threads"])
    confirmation = run(storage, stored, data_dir, *asked, *means, progress.emit)
    candidates = [candidate["trial"] for candidate in confirmation.candidates]
    PicturePublisher(storage, stored, data_dir).finish(also=candidates)
    return asdict(confirmation)


KINDS = {"confirm": confirm}


def do(storage: Storage, job: ClaimedJob, order: dict[str, Any]) -> None:
    """Does a job and records how it ended."""
    progress = Progress(storage, job)
    try:
        with progress.renewed():
            result = KINDS[job.kind](storage, job, order, progress)
            jobs.heartbeat(storage, job, progress.document())
        jobs.finish(storage, job, finite(result))
    except Told:
        jobs.release(storage, job)
        log.info("job %s: given back", job.id)
    except (SearchError, CoreError) as error:
        log.warning("job %s: %s", job.id, error)
        jobs.fail(storage, job, str(error))
    except Exception as error:
        log.exception("job %s", job.id)
        jobs.fail(storage, job, f"an error of the service ({type(error).__name__})")


def _leave(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Told


def main() -> None:
    """Reads the order from standard input, claims its job, and does it."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    order = json.loads(sys.stdin.read())
    with closing(open_storage(order["storage"])) as storage:
        job = jobs.claim(storage, order["job_id"])
        if job is not None:
            signal.signal(signal.SIGTERM, _leave)
            do(storage, job, order)


if __name__ == "__main__":
    main()
