"""The service: supervised workers for every open study of the storage, beside an HTTP server."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing

from search.dashboard.trial_pictures import AllStudiesPublisher
from search.errors import Interrupted
from search.launch.local import LocalLauncher
from search.launch.supervisor import TICK_SECONDS, OnTick, Supervisor, ending_signals
from search.launch.workloads import ServiceWorkload
from search.paths import DataDir
from search.storage.database import Storage
from search.trials.services import serving
from search.worker.job import Job

HttpServer = Callable[[Callable[[], int]], AbstractContextManager[str]]
"""Serves HTTP as long as its block lasts; receives how to count the workers that are alive, and
gives its address."""


def serve(
    storage: Storage,
    data_dir: DataDir,
    job: Job,
    workers: int,
    http_server: HttpServer,
    emit: Callable[[str], object],
) -> None:
    """Serves until SIGTERM or Ctrl-C, then drains: running trials are recorded as interrupted, and
    continue from their snapshots when the service is started again.

    Args:
        workers: 0 if others work on the studies.

    Raises:
        BadInput: the server's address is taken.
        WorkerCrashLoop: workers crash one after another and no trial finishes.
    """
    pictures = AllStudiesPublisher(storage, data_dir)
    with ExitStack() as stack:
        run: Callable[[], None]
        if workers:
            launcher = stack.enter_context(closing(LocalLauncher(data_dir, workers, job.threads)))
            service = stack.enter_context(serving(storage))

            def on_tick() -> None:
                service.heartbeat()
                pictures.update()

            supervisor = Supervisor(storage, ServiceWorkload(storage), launcher, job, on_tick)
            run, alive = supervisor.run, lambda: supervisor.workers
        else:
            run, alive = lambda: _wait_for_signal(pictures.update), lambda: 0
        address = stack.enter_context(http_server(alive))
        emit(f"serving {storage.redacted_url} on {address} with {workers} workers")
        try:
            run()
        except Interrupted:
            emit("drained; the same command goes on")


def _wait_for_signal(on_tick: OnTick) -> None:
    """Ticks until a signal asks this process to end.

    Raises:
        Interrupted: it did.
    """
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in ending_signals()}
    try:
        while not ended.wait(TICK_SECONDS):
            on_tick()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise Interrupted("interrupted")
