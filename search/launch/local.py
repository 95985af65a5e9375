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
from search.system.processes import HOST, is_dead, thread_limits
from search.worker.job import Job

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""How the fork server starts a worker; see `search.launch.fork_server`."""
STARTER_DIED = "the process that starts the workers died"
POLL_SECONDS = 0.01
CLEAN_EXITS = (0, Interrupted.exit_status)
SETTLING_SECONDS = 0.3
MAX_UNREAD = 65536
MAX_LOG_LINE = 400


class ForkServer:
    """A process that forks workers; see `search.launch.fork_server`.

    It has a session of its own, as each worker has, so that Ctrl-C reaches only the launcher, which
    then ends its workers cleanly.
    """

    def __init__(self, threads: int) -> None:
        self._output = _anonymous_file()
        self._events, child_events = os.pipe()
        self._warnings, child_notices = os.pipe()
        child_pipes = [child_events, child_notices]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "search.launch.fork_server",
                START_METHOD,
                *map(str, child_pipes),
            ],
            stdin=subprocess.PIPE,
            stdout=self._output,  # libraries may print there
            stderr=self._output,
            pass_fds=child_pipes,
            start_new_session=True,
            env=os.environ | thread_limits(threads),
        )
        for pipe in child_pipes:
            os.close(pipe)
        assert self._process.stdin is not None
        self._input = self._process.stdin
        for pipe in (self._events, self._warnings):
            os.set_blocking(pipe, False)
        self._buffer = b""
        self._pending: list[LocalWorker] = []
        self._ended: dict[int, int] = {}
        self._first_seen_dead: dict[LocalWorker, float] = {}
        self.pid = self._process.pid

    def start(self, job: Job, log: Path) -> "LocalWorker":
        """Starts a worker, which runs as soon as the fork server has loaded."""
        with contextlib.suppress(BrokenPipeError):  # it was killed: polling the worker shows that
            self._input.write(job.to_json().encode() + b"\n")
            self._input.flush()
        self._pending.append(LocalWorker(self, log))
        return self._pending[-1]

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def status_of(self, worker: "LocalWorker") -> int | None:
        """A worker's exit status, or that of the fork server, whose workers exit with it."""
        own = self._process.poll()
        self._read_events()
        if worker.pid in self._ended:
            is_settled = own is not None or self._is_settled(worker)
            return self._ended.pop(worker.pid) if is_settled else None
        is_leaving = worker.pid is not None and not is_dead(HOST, worker.pid)
        return None if own is None or is_leaving else own or 1

    def _is_settled(self, worker: "LocalWorker") -> bool:
        """Whether it is clear what ended a worker: whatever ends the fork server as well may take
        SETTLING_SECONDS to do so."""
        if self._ended[worker.pid or 0] in CLEAN_EXITS:
            return True
        seen = self._first_seen_dead.setdefault(worker, time.monotonic())
        return time.monotonic() - seen >= SETTLING_SECONDS

    def _read_events(self) -> None:
        self._buffer += _read(self._events)
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            event, pid, *status = line.split()
            if event == b"started":
                self._pending.pop(0).on_started(int(pid))
            else:
                self._ended[int(pid)] = int(status[0])

    def storage_warnings(self) -> list[str]:
        return _read(self._warnings).decode(errors="replace").splitlines()

    def output(self) -> str:
        size = os.fstat(self._output).st_size
        return os.pread(self._output, size, 0).decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        for pipe in (self._events, self._warnings):
            os.close(pipe)
        os.close(self._output)


def _anonymous_file() -> int:
    """A file in memory, or a temporary one: not every machine has a directory for those."""
    with contextlib.suppress(AttributeError, OSError):
        return os.memfd_create("output")
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


def _read(pipe: int) -> bytes:
    """Reads what a non-blocking pipe holds; its writers write whole lines."""
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
        """Called by the fork server once the process has started."""
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
        """Sends SIGTERM; to the fork server, if that is still loading and has not started it."""
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
        """The last line of its log; of the fork server's output if there is no log, or if the fork
        server was killed and had written something."""
        text = self._fork_server.output()
        if self._log.is_file() and (self._fork_server.is_alive() or not text.strip()):
            text += self._log.read_text(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1][:MAX_LOG_LINE] if lines else "it wrote nothing"


class LocalLauncher:
    """A launcher of worker processes on this host, each with a log of its own."""

    host: str | None = HOST

    def __init__(self, data_dir: DataDir, workers: int, threads: int) -> None:
        """Starts the fork server, which loads while the study is being opened."""
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
