"""Has the jobs of a storage done, one after the other, each by a process of its own.

Such a process ends when the service does, however that ends; the next one takes the job up.
"""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from search.errors import SearchError
from search.service.context import ServiceContext
from search.trials import jobs

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5.0
ENDING_SECONDS = 10.0


@contextmanager
def running_jobs(context: ServiceContext) -> Iterator[None]:
    """Runs jobs in a thread as long as the block lasts."""
    runner = _Runner(context)
    thread = threading.Thread(target=runner.run, name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        runner.end()
        thread.join(2 * ENDING_SECONDS)


class _Runner:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._ended = threading.Event()

    def run(self) -> None:
        """Looks for jobs until the service ends."""
        while not self._ended.is_set():
            try:
                job_id = jobs.next_id(self._context.storage)
                if job_id is not None and self._run(job_id):
                    continue
            except SearchError as error:  # the storage is away
                log.warning("jobs: %s", error)
            except Exception:  # such as too little memory for a process; it may pass
                log.exception("jobs: one could not be started; it is tried again")
            self._context.job_requested.wait(SECONDS_BETWEEN_LOOKS)
            self._context.job_requested.clear()

    def end(self) -> None:
        self._ended.set()
        self._context.job_requested.set()

    def _run(self, job_id: str) -> bool:
        """Has a process do a job; returns whether that ended well, whatever became of the job."""
        context = self._context
        order = {
            "storage": context.storage_url,
            "data_dir": str(context.data_dir.root.resolve()),
            "job_id": job_id,
            "workers": context.processes,
            "threads": context.threads,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "search.service.job_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the service alone, which ends it
        )
        assert process.stdin is not None
        with process.stdin:
            json.dump(order, process.stdin)
        while process.poll() is None and not self._ended.wait(0.2):
            pass
        if process.poll() is None:
            process.terminate()
            self._wait_or_kill(process)
        context.watch.forget()
        return process.returncode == 0

    def _wait_or_kill(self, process: "subprocess.Popen[str]") -> None:
        try:
            process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
