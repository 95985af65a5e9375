"""Workers as Ray actors, on whatever cluster the user has. The only module that knows Ray.

Ray places each actor and notices when its node dies; the supervisor then starts another in its
place, as it does for a process that died, and Ray puts that where there is room. Ray's own
`max_restarts` would start it again without a word, for ever, also where everything dies.
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
from search.processes import thread_limits
from search.storage.urls import parse_url, sqlite_path
from search.worker.job import Job

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
CONNECT_SECONDS = 30.0
"""For an address that answers, but not as Ray does."""
SETTLING_SECONDS = 5.0
"""A cluster takes so long to notice that a node is gone; its workers may be missed sooner."""
NODE_DIED = "a node of the cluster died"


@dataclass(frozen=True)
class WorkerResources:
    """What Ray sets aside for each worker: cores and GPUs, whole ones or a fraction of one.

    Raises:
        BadInput: it is an amount that Ray cannot count with.
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
        """Works until nothing is left to do or the call is cancelled.

        The job holds the storage's URL, perhaps with a password. It comes with a call because Ray
        keeps the arguments of constructors, and shows environments and names.

        Returns:
            The exit status that a worker process would have, and one line on why.
        """
        os.environ |= thread_limits(job.threads)
        from search.worker import process  # only now: it loads torch

        try:
            process.run_until(job, ray.get_runtime_context().is_canceled)
        except SearchError as error:
            return process.status_of(error), str(error)
        return 0, ""

    def node(self) -> str:
        """The node that it is on."""
        return str(ray.get_runtime_context().get_node_id())


class RayWorkerHandle:
    """One actor at work; see `supervisor.WorkerHandle`."""

    log_location: str | None = "Ray's logs"

    def __init__(self, actor: Any, job: Job) -> None:
        self._actor = actor  # Ray ends an actor once nobody holds it
        self._node = actor.node.remote()
        self._call = actor.work.remote(job)
        self._words = ""
        self._died_at: float | None = None

    def poll(self) -> int | None:
        if not self._has_ended(0) or not self._is_settled():
            return None
        try:
            status, self._words = ray.get(self._call)
        except TaskCancelledError:
            return Interrupted.exit_status
        except RayError as error:  # its process or its node died, or an error of ours
            self._words = _error_text(error)
            return 1
        return int(status)

    def _is_settled(self) -> bool:
        """Whether the cluster has had the time to notice that a node is gone."""
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
        """Its node died, with all that was on it."""
        if self._died_at is None:
            return None
        try:
            node = ray.get(self._node, timeout=0)
        except RayError:
            return None  # it died before it was anywhere
        alive = {each["NodeID"] for each in ray.nodes() if each["Alive"]}
        return None if node in alive else NODE_DIED

    def terminate(self) -> None:
        ray.cancel(self._call)

    def wait_or_kill(self, seconds: float) -> None:
        if not self._has_ended(seconds):
            ray.kill(self._actor)

    def last_log_line(self) -> str:
        return self._words

    def _has_ended(self, seconds: float) -> bool:
        ended, _ = ray.wait([self._call], timeout=seconds)
        return bool(ended)


class RayLauncher:
    """Starts workers on the cluster that this process is connected to."""

    host: str | None = None

    def __init__(self, share: WorkerResources, workers: int | None) -> None:
        """`workers` is how many there will be; None: as many as the cluster has room for."""
        room = _capacity(share)
        self.workers = workers or max(1, room)
        self._new = ray.remote(WorkerActor).options(num_cpus=share.cpus, num_gpus=share.gpus)
        if self.workers > room:
            log.warning("the cluster has room for %d of %d workers now", room, self.workers)

    def start(self, job: Job) -> RayWorkerHandle:
        return RayWorkerHandle(self._new.remote(), replace(job, storage=_absolute_url(job.storage)))

    def storage_warnings(self) -> list[str]:
        """None: this process uses the same storage, and says itself what troubles it."""
        return []


@contextlib.contextmanager
def connect(
    address: str, storage_url: str, share: WorkerResources, workers: int | None
) -> Iterator[RayLauncher]:
    """A launcher on a cluster; `address` as `ray.init` takes it: host:port, auto, local, ray://...

    Raises:
        BadInput: it cannot be reached, or has nodes that cannot reach the storage.
    """
    _connect(address)
    try:
        _check_storage_reachable(storage_url)
        yield RayLauncher(share, workers)
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Joins a cluster, or starts one on this machine."""
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody need know of it
        _init(address, include_dashboard=False)
        return
    _probe(address)
    failed: list[str] = []
    connecting = threading.Thread(target=_connect_in_thread, args=(address, failed), daemon=True)
    connecting.start()
    connecting.join(CONNECT_SECONDS)
    if failed or connecting.is_alive():
        raise _unreachable(address, "".join(failed) or "it does not answer as Ray does")


def _connect_in_thread(address: str, failed: list[str]) -> None:
    """In a thread, because Ray tries for minutes, and then ends the process."""
    try:
        _init(address)
    except BaseException as error:  # noqa: BLE001  the launcher tells, and ends in good order
        failed.append(str(error))


def _init(address: str, **options: Any) -> None:
    with contextlib.chdir("/"):  # Ray has its workers import from the working directory first
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)


def _probe(address: str) -> None:
    """Refuses at once an address where nobody listens; Ray would try for minutes."""
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
    """A SQLite database is a file of this machine; a worker elsewhere would not find it."""
    elsewhere = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    elsewhere -= {socket.gethostname()}
    url = parse_url(storage_url)
    if elsewhere and sqlite_path(url) is not None:
        raise BadInput(
            f"--ray: SQLite storage {url} is a file of this host, and the cluster has others "
            f"({', '.join(sorted(elsewhere)[:4])}); give --storage postgresql+psycopg://HOST/NAME"
        )


def _absolute_url(storage_url: str) -> str:
    """The URL of a storage for processes that run in other directories."""
    url = parse_url(storage_url)
    path = sqlite_path(url)
    if path is not None:
        url = url.set(database=str(path.absolute()))
    return url.render_as_string(hide_password=False)


def _capacity(share: WorkerResources) -> int:
    """How many workers fit on the cluster as it is, whatever else runs there."""
    cluster = ray.cluster_resources()
    needs = {"CPU": share.cpus, "GPU": share.gpus}
    return int(min(cluster.get(kind, 0) // need for kind, need in needs.items() if need))


def _error_text(error: RayError) -> str:
    """One line: of an error in the worker's code the error itself, else what Ray says."""
    if isinstance(error, RayTaskError):
        return str(error).strip().splitlines()[-1][:160]
    return " ".join(str(error).split())[:300]
