"""The service: the dashboard, and supervised workers for every open study of the storage."""

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from search.dashboard import app
from search.dashboard.app import Access
from search.dashboard.middleware import Environ, StartResponse, text_response
from search.dashboard.trial_pictures import AllStudiesPublisher
from search.errors import Interrupted
from search.launch.local import LocalLauncher
from search.launch.supervisor import Supervisor
from search.launch.workloads import ServiceWorkload
from search.paths import DataDir
from search.retry import error_summary
from search.storage import tables
from search.storage.database import Storage, open_storage
from search.trials.services import serving
from search.worker.job import Job


def serve(
    storage: Storage,
    data_dir: DataDir,
    job: Job,
    access: Access,
    workers: int,
    emit: Callable[[str], object],
) -> None:
    """Serves until SIGTERM or Ctrl-C, then drains: running trials are recorded as interrupted, and
    continue from their snapshots when the service is started again.

    Raises:
        BadInput: the dashboard's address is taken.
        WorkerCrashLoop: workers crash one after another and no trial finishes.
    """
    work = ServiceWorkload(storage)
    with ExitStack() as stack:
        launcher = stack.enter_context(closing(LocalLauncher(data_dir, workers, job.threads)))
        service = stack.enter_context(serving(storage))
        pictures = AllStudiesPublisher(storage, data_dir)

        def on_tick() -> None:
            service.heartbeat()
            pictures.update()

        supervisor = Supervisor(storage, work, launcher, job, on_tick)
        health = _health(storage, supervisor, workers)
        access = replace(access, public={**access.public, "/healthz": health})
        # A storage of its own: the dashboard's connections are read-only.
        dashboard_storage = stack.enter_context(closing(open_storage(job.storage)))
        server = stack.enter_context(closing(app.make_server(dashboard_storage, data_dir, access)))
        threading.Thread(target=server.run, name="dashboard", daemon=True).start()
        address = app.address(server, access)
        emit(f"serving {storage.redacted_url} on {address} with {workers} workers")
        try:
            supervisor.run()
        except Interrupted:
            emit("drained; the same command goes on")


def _health(
    storage: Storage, supervisor: Supervisor, workers: int
) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """`GET /healthz`: 200 while the storage answers and every worker is alive, else 503."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        problem = None
        try:
            with storage.read() as connection:
                connection.execute(select(tables.schema.c.version)).one()
        except SQLAlchemyError as error:
            problem = error_summary(error)
        alive = supervisor.workers
        healthy = problem is None and alive == workers
        state = {
            "status": "ok" if healthy else "degraded",
            "workers": {"alive": alive, "wanted": workers},
            "storage": problem or "ok",
        }
        status = "200 OK" if healthy else "503 Service Unavailable"
        return text_response(
            environ, start_response, status, json.dumps(state), kind="application/json"
        )

    return answer
