"""Whether a process that left its mark in the database still lives."""

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
"""Where a process id means the same process."""


@dataclass(frozen=True)
class Launch:
    """One start of a worker process: whoever made it sees the process end, and says how."""

    id: str
    host: str
    """Of the launcher."""
    pid: int


def thread_limits(threads: int) -> dict[str, str]:
    """What a worker's environment needs before torch is loaded."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def is_dead(host: str, pid: int) -> bool:
    """Whether a process is known to be dead; of other hosts nothing is known."""
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
    """Whether a process has ended and only waits for its parent to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("Z", "X")


class LeaseObserver:
    """Whether this process has watched a storage closely enough to call a lease expired.

    A lease also runs out when nobody could renew it: the database was locked, the disk full, the
    host asleep; and when the clock that leases are read from jumped. Whoever finds such a gap
    behind it first gives the others time to renew theirs.
    """

    def __init__(self) -> None:
        self._looked = time.time()
        self._gap_ended = float("-inf")
        self._clock_ahead: float | None = None

    def observe(self, lease_seconds: float, database_clock: float | None = None) -> bool:
        """Says, at each observation, whether an expired lease is to be believed."""
        now = time.time()
        is_late = not 0 <= now - self._looked <= lease_seconds / 3
        if is_late or self._has_jumped(lease_seconds, database_clock):
            self._gap_ended = now
        self._looked = now
        return now - self._gap_ended >= lease_seconds / 2

    def _has_jumped(self, lease_seconds: float, database_clock: float | None) -> bool:
        """Whether the database's clock, which may be another host's, was set meanwhile."""
        if database_clock is None:
            return False
        ahead, before = database_clock - time.monotonic(), self._clock_ahead
        self._clock_ahead = ahead
        return before is not None and abs(ahead - before) > lease_seconds / 3
