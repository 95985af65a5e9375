"""Processes of this program that call what they are sent, for work that must not be done here.

Each receives its calls through a socket of its own. The pools of the standard library need
semaphores, which are files in /dev/shm, and not every machine has that directory.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any

from search.errors import SearchError
from search.system.processes import thread_limits


class ChildDied(SearchError):
    """A process ended during a call."""


class ChildProcess:
    """A process that makes one call after the other; it ends when its connection is closed."""

    def __init__(self, threads: int, died: str) -> None:
        """`died` is the error's line where it ended during a call."""
        self._died = died
        self.connection, theirs = Pipe()
        with theirs:
            command = "from search.system.child_process import main; main()"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # libraries may print there
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches the launcher alone
                env=os.environ | thread_limits(threads),
            )

    def kill(self) -> None:
        """Ends it at once; whoever waits for its answer gets ChildDied."""
        self._process.kill()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Sends a call; `answer` has its result."""
        with contextlib.suppress(BrokenPipeError):  # it died, which `answer` raises
            self.connection.send((function, arguments))

    def answer(self) -> Any:
        """Returns what the function returned; raises what it raised, or ChildDied."""
        try:
            returned, raised = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise ChildDied(self._died) from None
        if raised is not None:
            raise raised
        return returned

    def close(self) -> None:
        """Ends the process, which holds nothing: by itself it would take seconds to unload."""
        self.connection.close()
        self._process.terminate()
        self._process.wait()


def main() -> None:
    """Calls what it is sent, until the connection is closed."""
    with Connection(int(sys.argv[1])) as connection, contextlib.suppress(EOFError, OSError):
        os.set_inheritable(connection.fileno(), False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            function, arguments = connection.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = function(*arguments), None
            except Exception as error:  # noqa: BLE001  the asking process raises it again
                answer = None, error
            connection.send(answer)
