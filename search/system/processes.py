"""Identifies processes across hosts, and tells whether one is still alive."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

INITIAL_PID_NAMESPACE = "pid:[4026531836]"


def _host() -> str:
    """This host's name; within a container that counts its own processes, with its number."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return socket.gethostname()
    if namespace == INITIAL_PID_NAMESPACE:
        return socket.gethostname()
    return f"{socket.gethostname()} {namespace}"


HOST = _host()
"""The scope of a process id: the host, or the container within it."""


@dataclass(frozen=True)
class Launch:
    """One start of a worker process; its launcher sees it end and records the cause."""

    id: str
    host: str
    """The launcher's host."""
    pid: int


def thread_limits(threads: int) -> dict[str, str]:
    """Returns the environment variables that limit a worker's threads before torch is loaded."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def is_dead(host: str, pid: int) -> bool:
    """Whether a process is known to be dead; a process of another host never is."""
    if host != HOST:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended but its parent has not reaped it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("Z", "X")


class LeaseObserver:
    """Decides whether this process has watched a storage closely enough to call a lease expired.

    A lease expires too when no process could renew it (the database was locked, the disk full, the
    host asleep), or when the database's clock was set. After such a gap an observer gives the
    others the time of a whole lease to renew theirs first.
    """

    def __init__(self) -> None:
        self._last_observation = time.time()
        self._gap_ended = float("-inf")
        self._clock_ahead: float | None = None

    def observe(self, lease_seconds: float, database_clock: float | None = None) -> bool:
        """Returns whether an expired lease may be acted on; call it at each look at the leases."""
        now = time.time()
        is_late = not 0 <= now - self._last_observation <= lease_seconds / 3
        if is_late or self._has_jumped(lease_seconds, database_clock):
            self._gap_ended = now
        self._last_observation = now
        return now - self._gap_ended >= lease_seconds

    def _has_jumped(self, lease_seconds: float, database_clock: float | None) -> bool:
        """Whether the database's clock, which may be another host's, was set meanwhile."""
        if database_clock is None:
            return False
        ahead, before = database_clock - time.monotonic(), self._clock_ahead
        self._clock_ahead = ahead
        return before is not None and abs(ahead - before) > lease_seconds / 3
