"""Workers as processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from search.errors import Interrupted
from search.paths import DataDir
from search.processes import HOST, is_dead, thread_limits
from search.worker.job import Job

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""How a fork_server starts a worker; see there."""
STARTER_DIED = "the process that starts the workers died"
POLL_SECONDS = 0.01
IN_GOOD_ORDER = (0, Interrupted.exit_status)
SETTLING_SECONDS = 0.3
MAX_UNREAD = 65536
MAX_LAST_WORDS = 400


class ForkServer:
    """The process that starts workers; see `search.launch.fork_server`.

    It has a session of its own, as each worker has, so that Ctrl-C reaches only the launcher, which
    then ends its workers in good order.
    """

    def __init__(self, threads: int) -> None:
        self._output = _file_without_a_name()
        self._events, its_events = os.pipe()
        self._notices, its_notices = os.pipe()
        theirs = [its_events, its_notices]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "search.launch.fork_server",
                START_METHOD,
                *map(str, theirs),
            ],
            stdin=subprocess.PIPE,
            stdout=self._output,  # where libraries may print what they like
            stderr=self._output,
            pass_fds=theirs,
            start_new_session=True,
            env=os.environ | thread_limits(threads),
        )
        for pipe in theirs:
            os.close(pipe)
        assert self._process.stdin is not None
        self._input = self._process.stdin
        for pipe in (self._events, self._notices):
            os.set_blocking(pipe, False)
        self._buffer = b""
        self._pending: list[LocalWorker] = []
        self._ended: dict[int, int] = {}
        self._deaths_heard: dict[LocalWorker, float] = {}
        self.pid = self._process.pid

    def start(self, job: Job, log: Path) -> "LocalWorker":
        """A worker, which is at work as soon as the fork server has loaded."""
        with contextlib.suppress(BrokenPipeError):  # it died: whoever polls the worker sees that
            self._input.write(job.to_json().encode() + b"\n")
            self._input.flush()
        self._pending.append(LocalWorker(self, log))
        return self._pending[-1]

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def status_of(self, worker: "LocalWorker") -> int | None:
        """A worker's exit status, or that of the fork server, which takes its workers with it."""
        own = self._process.poll()
        self._listen()
        if worker.pid in self._ended:
            is_settled = own is not None or self._is_settled(worker)
            return self._ended.pop(worker.pid) if is_settled else None
        is_leaving = worker.pid is not None and not is_dead(HOST, worker.pid)
        return None if own is None or is_leaving else own or 1

    def _is_settled(self, worker: "LocalWorker") -> bool:
        """Whether it is clear what ended a worker: what takes this process as well may take a
        moment to do so."""
        if self._ended[worker.pid or 0] in IN_GOOD_ORDER:
            return True
        heard = self._deaths_heard.setdefault(worker, time.monotonic())
        return time.monotonic() - heard >= SETTLING_SECONDS

    def _listen(self) -> None:
        self._buffer += _read(self._events)
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            told, pid, *status = line.split()
            if told == b"started":
                self._pending.pop(0).on_started(int(pid))
            else:
                self._ended[int(pid)] = int(status[0])

    def storage_warnings(self) -> list[str]:
        return _read(self._notices).decode(errors="replace").splitlines()

    def output(self) -> str:
        size = os.fstat(self._output).st_size
        return os.pread(self._output, size, 0).decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        for pipe in (self._events, self._notices):
            os.close(pipe)
        os.close(self._output)


def _file_without_a_name() -> int:
    """In memory where that can be: not every machine has a directory for temporary files."""
    with contextlib.suppress(AttributeError, OSError):
        return os.memfd_create("output")
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


def _read(pipe: int) -> bytes:
    """What stands in a pipe that does not block; lines as their writers wrote them, whole."""
    try:
        return os.read(pipe, MAX_UNREAD)
    except BlockingIOError:
        return b""


class LocalWorker:
    """One worker process; see `supervisor.WorkerHandle`."""

    def __init__(self, fork_server: ForkServer, log: Path) -> None:
        self._fork_server, self._log = fork_server, log
        self._status: int | None = None
        self._terminate_requested = False
        self.pid: int | None = None

    @property
    def log_location(self) -> str | None:
        return str(self._log) if self._log.is_file() else None

    def on_started(self, pid: int) -> None:
        """Called by the fork server, once the process is there."""
        self.pid = pid
        if self._terminate_requested:
            self.terminate()

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._fork_server.status_of(self)
        return self._status

    def shared_cause(self) -> str | None:
        return None if self._fork_server.is_alive() else STARTER_DIED

    def terminate(self) -> None:
        """Before the process is there this ends the fork server, if that is still loading."""
        self._terminate_requested = True
        self._send(signal.SIGTERM)

    def wait_or_kill(self, seconds: float) -> None:
        if not self._has_ended(seconds):
            self._send(signal.SIGKILL)
            self._has_ended(seconds)

    def _has_ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return self._status is not None

    def _send(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid or self._fork_server.pid, number)

    def last_log_line(self) -> str:
        """The last line of its log, or what was said before it had one, or by what started it when
        that died."""
        said = self._fork_server.output()
        if self._log.is_file() and (self._fork_server.is_alive() or not said.strip()):
            said += self._log.read_text(errors="replace")
        lines = [line for line in said.splitlines() if line.strip()]
        return lines[-1][:MAX_LAST_WORDS] if lines else "it wrote nothing"


class LocalLauncher:
    """Starts worker processes, each with a log of its own."""

    host: str | None = HOST

    def __init__(self, data_dir: DataDir, workers: int, threads: int) -> None:
        """The fork_server loads from here on, while the study is still being opened."""
        self._data_dir, self._threads = data_dir, threads
        self.workers = workers
        self._started = 0
        self._fork_servers = [ForkServer(threads)]

    def start(self, job: Job) -> LocalWorker:
        self._started += 1
        log = self._data_dir.log(job.name, f"{os.getpid()}-{self._started}")
        if not self._fork_servers[-1].is_alive():
            self._fork_servers.append(ForkServer(self._threads))
        return self._fork_servers[-1].start(replace(job, log=str(log)), log)

    def storage_warnings(self) -> list[str]:
        return [
            line for fork_server in self._fork_servers for line in fork_server.storage_warnings()
        ]

    def close(self) -> None:
        for fork_server in self._fork_servers:
            fork_server.close()
