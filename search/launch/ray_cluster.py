"""Workers as Ray actors on a cluster of the user. The only module that imports Ray.

Ray places each actor and notices when its node fails; the supervisor then starts another in its
place, as it does for a process that crashed, and Ray puts that where there is room. Ray's own
`max_restarts` would restart it silently and without end, also where every worker crashes.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    RayError,
    RayTaskError,
    TaskCancelledError,
)

from search.errors import BadInput, Interrupted, SearchError
from search.storage.urls import parse_url, sqlite_path
from search.system.processes import thread_limits
from search.worker.job import Job

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
CONNECT_SECONDS = 30.0
"""For an address that answers, but not with Ray's protocol."""
SETTLING_SECONDS = 5.0
"""The time in which a cluster notices that a node has failed; its workers may be missed sooner."""
NODE_DIED = "a node of the cluster died"


@dataclass(frozen=True)
class WorkerResources:
    """The resources that Ray reserves for each worker: cores and GPUs, or a fraction of one.

    Raises:
        BadInput: Ray cannot reserve such an amount.
    """

    cpus: float
    gpus: float

    def __post_init__(self) -> None:
        for kind, amount in asdict(self).items():
            if amount % 1 and (amount > 1 or round(amount, 4) != amount):
                raise BadInput(
                    f"--{kind}-per-worker {amount}: give a whole number, or 0.5, 0.25, ..."
                )


class WorkerActor:
    """The actor: one worker, in a process of its own on the node that Ray chose."""

    def work(self, job: Job) -> tuple[int, str]:
        """Runs a job until nothing is left to do or the call is canceled.

        The job holds the storage's URL, perhaps with a password. It comes with a call because Ray
        keeps the arguments of constructors, and shows environments and names.

        Returns:
            The exit status that a worker process would have, and one line on why.
        """
        os.environ |= thread_limits(job.threads)
        from search.worker import process  # imported late: it loads torch

        try:
            process.run_until(job, ray.get_runtime_context().is_canceled)
        except SearchError as error:
            return process.status_of(error), str(error)
        return 0, ""

    def node(self) -> str:
        """The id of the node that the actor runs on."""
        return str(ray.get_runtime_context().get_node_id())


class RayWorkerHandle:
    """The handle of one running actor; see `supervisor.WorkerHandle`."""

    log_location: str | None = "Ray's logs"

    def __init__(self, actor: Any, job: Job) -> None:
        self._actor = actor  # Ray ends an actor that no variable refers to
        self._node = actor.node.remote()
        self._call = actor.work.remote(job)
        self._reason = ""
        self._died_at: float | None = None

    def poll(self) -> int | None:
        if not self._has_ended(0) or not self._is_settled():
            return None
        try:
            status, self._reason = ray.get(self._call)
        except TaskCancelledError:
            return Interrupted.exit_status
        except RayError as error:  # its process or its node failed, or an error of ours
            self._reason = _error_text(error)
            return 1
        return int(status)

    def _is_settled(self) -> bool:
        """Whether the cluster has had the time to notice that a node has failed."""
        try:
            ray.get(self._call)
        except (ActorDiedError, ActorUnavailableError):
            self._died_at = self._died_at or time.monotonic()
            waited = time.monotonic() - self._died_at
            return self.shared_cause() is not None or waited > SETTLING_SECONDS
        except RayError:
            return True
        return True

    def shared_cause(self) -> str | None:
        """Names its node, if that failed with all that ran on it."""
        if self._died_at is None:
            return None
        try:
            node = ray.get(self._node, timeout=0)
        except RayError:
            return None  # it failed before it was placed
        alive = {each["NodeID"] for each in ray.nodes() if each["Alive"]}
        return None if node in alive else NODE_DIED

    def terminate(self) -> None:
        ray.cancel(self._call)

    def wait_or_kill(self, seconds: float) -> None:
        if not self._has_ended(seconds):
            ray.kill(self._actor)

    def last_log_line(self) -> str:
        return self._reason

    def _has_ended(self, seconds: float) -> bool:
        ended, _ = ray.wait([self._call], timeout=seconds)
        return bool(ended)


class RayLauncher:
    """A launcher of workers on the cluster that this process is connected to."""

    host: str | None = None

    def __init__(self, resources: WorkerResources, workers: int | None) -> None:
        """`workers` is how many to start; None: as many as the cluster has room for."""
        capacity = _capacity(resources)
        self.workers = workers or max(1, capacity)
        self._new = ray.remote(WorkerActor).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus
        )
        if self.workers > capacity:
            log.warning("the cluster has room for %d of %d workers now", capacity, self.workers)

    def start(self, job: Job) -> RayWorkerHandle:
        return RayWorkerHandle(self._new.remote(), replace(job, storage=_absolute_url(job.storage)))

    def storage_warnings(self) -> list[str]:
        """Empty: this process uses the same storage, and logs that it is unavailable itself."""
        return []


@contextlib.contextmanager
def connect(
    address: str, storage_url: str, resources: WorkerResources, workers: int | None
) -> Iterator[RayLauncher]:
    """A launcher on a cluster; `address` as `ray.init` takes it: host:port, auto, local, ray://...

    Raises:
        BadInput: it cannot be reached, or has nodes that cannot reach the storage.
    """
    _connect(address)
    try:
        _check_storage_reachable(storage_url)
        yield RayLauncher(resources, workers)
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Joins a cluster, or starts one on this machine."""
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage report
        _init(address, include_dashboard=False)
        return
    _probe(address)
    failed: list[str] = []
    connecting = threading.Thread(target=_connect_in_thread, args=(address, failed), daemon=True)
    connecting.start()
    connecting.join(CONNECT_SECONDS)
    if failed or connecting.is_alive():
        raise _unreachable(address, "".join(failed) or "what answers there is not Ray")


def _connect_in_thread(address: str, failed: list[str]) -> None:
    """In a thread, because Ray tries for minutes, and then ends the process."""
    try:
        _init(address)
    except BaseException as error:  # noqa: BLE001  the caller raises it as BadInput
        failed.append(str(error))


def _init(address: str, **options: Any) -> None:
    with contextlib.chdir("/"):  # Ray has its workers import from the working directory first
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)


def _probe(address: str) -> None:
    """Raises BadInput at once for an address without a listener; Ray would try for minutes."""
    if address in ("auto", "local"):
        return
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname is None or place.port is None:
            raise ValueError("give host:port, ray://host:port, auto or local")
        socket.create_connection((place.hostname, place.port), PROBE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> BadInput:
    return BadInput(f"--ray {address}: no such cluster ({why[:200]}); `ray start --head` makes one")


def _check_storage_reachable(storage_url: str) -> None:
    """Raises BadInput for a SQLite file where the cluster has nodes on other hosts."""
    elsewhere = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    elsewhere -= {socket.gethostname()}
    url = parse_url(storage_url)
    if elsewhere and sqlite_path(url) is not None:
        raise BadInput(
            f"--ray: SQLite storage {url} is a file of this host, and the cluster has others "
            f"({', '.join(sorted(elsewhere)[:4])}); give --storage postgresql+psycopg://HOST/NAME"
        )


def _absolute_url(storage_url: str) -> str:
    """A storage URL that is valid in every working directory."""
    url = parse_url(storage_url)
    path = sqlite_path(url)
    if path is not None:
        url = url.set(database=str(path.absolute()))
    return url.render_as_string(hide_password=False)


def _capacity(resources: WorkerResources) -> int:
    """How many workers the cluster's total resources hold, whatever else runs there."""
    cluster = ray.cluster_resources()
    needs = {"CPU": resources.cpus, "GPU": resources.gpus}
    return int(min(cluster.get(kind, 0) // need for kind, need in needs.items() if need))


def _error_text(error: RayError) -> str:
    """An error as one line: that of the worker's own code, or else Ray's message."""
    if isinstance(error, RayTaskError):
        return str(error).strip().splitlines()[-1][:160]
    return " ".join(str(error).split())[:300]
