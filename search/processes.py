"""Whether a process that left its mark in the database still lives."""

import os
import socket

HOST = socket.gethostname()


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
    return False
