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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from search.errors import BadInput, Interrupted, SearchError
from search.job import Job, thread_limits
from search.storage import parse_url, sqlite_path

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
CONNECT_SECONDS = 30.0
"""For an address that answers, but not as Ray does."""
FEWEST_DEATHS_IN_A_ROW = 5


@dataclass(frozen=True)
class Share:
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


class RayWorker:
    """The actor: one worker, in a process of its own on the node that Ray chose."""

    def work(self, job: Job) -> tuple[int, str]:
        """Works until nothing is left to do or the call is cancelled.

        The job holds the storage's URL, perhaps with a password. It comes with a call because Ray
        keeps the arguments of constructors, and shows environments and names.

        Returns:
            The exit status that a worker process would have, and one line on why.
        """
        os.environ |= thread_limits(job.threads)
        from search import worker  # only now: it loads torch

        try:
            worker.run_until(job, ray.get_runtime_context().is_canceled)
        except SearchError as error:
            return error.exit_status, str(error)
        return 0, ""


class RemoteWorker:
    """One actor at work; see `supervisor.RunningWorker`."""

    pid: int | None = None
    logged_in = "Ray's logs"

    def __init__(self, actor: Any, job: Job) -> None:
        self._actor = actor  # Ray ends an actor once nobody holds it
        self._call = actor.work.remote(job)
        self._words = ""

    def poll(self) -> int | None:
        if not self._has_ended(0):
            return None
        try:
            status, self._words = ray.get(self._call)
        except TaskCancelledError:
            return Interrupted.exit_status
        except RayError as error:  # its process or its node died, or an error of ours
            self._words = _told(error)
            return 1
        return int(status)

    def ask_to_end(self) -> None:
        ray.cancel(self._call)

    def end(self, seconds: float) -> None:
        if not self._has_ended(seconds):
            ray.kill(self._actor)

    def last_words(self) -> str:
        return self._words

    def _has_ended(self, seconds: float) -> bool:
        ended, _ = ray.wait([self._call], timeout=seconds)
        return bool(ended)


class RayLauncher:
    """Starts workers on the cluster that this process is connected to."""

    host: str | None = None

    def __init__(self, share: Share, workers: int | None) -> None:
        """`workers` is how many there will be; None: as many as the cluster has room for."""
        room = _room(share)
        self.workers = workers or max(1, room)
        # a node takes all its workers with it: no sign that every worker dies
        self.most_deaths_in_a_row = max(FEWEST_DEATHS_IN_A_ROW, 2 * self.workers)
        self._new = ray.remote(RayWorker).options(num_cpus=share.cpus, num_gpus=share.gpus)
        if self.workers > room:
            log.warning("the cluster has room for %d of %d workers now", room, self.workers)

    def start(self, job: Job) -> RemoteWorker:
        return RemoteWorker(self._new.remote(), replace(job, storage=_absolute(job.storage)))

    def notices(self) -> list[str]:
        """None: this process uses the same storage, and says itself what troubles it."""
        return []


@contextlib.contextmanager
def connected(
    address: str, storage_url: str, share: Share, workers: int | None
) -> Iterator[RayLauncher]:
    """A launcher on a cluster; `address` as `ray.init` takes it: host:port, auto, local, ray://...

    Raises:
        BadInput: it cannot be reached, or has nodes that cannot reach the storage.
    """
    _connect(address)
    try:
        _refuse_out_of_reach(storage_url)
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
    connecting = threading.Thread(target=_try, args=(address, failed), daemon=True)
    connecting.start()
    connecting.join(CONNECT_SECONDS)
    if failed or connecting.is_alive():
        raise _unreachable(address, "".join(failed) or "it does not answer as Ray does")


def _try(address: str, failed: list[str]) -> None:
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


def _refuse_out_of_reach(storage_url: str) -> None:
    """A SQLite database is a file of this machine; a worker elsewhere would not find it."""
    elsewhere = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    elsewhere -= {socket.gethostname()}
    url = parse_url(storage_url)
    if elsewhere and sqlite_path(url) is not None:
        raise BadInput(
            f"--ray: SQLite storage {url} is a file of this host, and the cluster has others "
            f"({', '.join(sorted(elsewhere)[:4])}); give --storage postgresql+psycopg://HOST/NAME"
        )


def _absolute(storage_url: str) -> str:
    """The URL of a storage for processes that run in other directories."""
    url = parse_url(storage_url)
    path = sqlite_path(url)
    if path is not None:
        url = url.set(database=str(path.absolute()))
    return url.render_as_string(hide_password=False)


def _room(share: Share) -> int:
    """How many workers fit on the cluster as it is, whatever else runs there."""
    cluster = ray.cluster_resources()
    needs = {"CPU": share.cpus, "GPU": share.gpus}
    return int(min(cluster.get(kind, 0) // need for kind, need in needs.items() if need))


def _told(error: RayError) -> str:
    """One line: of an error in the worker's code the error itself, else what Ray says."""
    if isinstance(error, RayTaskError):
        return str(error).strip().splitlines()[-1][:160]
    return " ".join(str(error).split())[:300]
