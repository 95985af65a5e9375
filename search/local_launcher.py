"""Workers as processes of this machine."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO

from search.job import Job
from search.paths import DataDir
from search.processes import HOST

log = logging.getLogger(__name__)


class LocalWorker:
    """One worker process; see `supervisor.RunningWorker`."""

    def __init__(self, process: "subprocess.Popen[str]", log_path: Path) -> None:
        assert process.stdout is not None
        self._process, self._output, self._log = process, process.stdout, log_path
        self.pid: int | None = process.pid
        self.logged_in = str(log_path)

    def poll(self) -> int | None:
        return self._process.poll()

    def notices(self) -> list[str]:
        return self._output.readlines()

    def ask_to_end(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def end(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def last_words(self) -> str:
        """The last line of its log."""
        if not self._log.is_file():
            return "it has no log"
        lines = self._log.read_text(errors="replace").splitlines()
        lines = [line for line in lines if line.strip()]
        return lines[-1][:160] if lines else "it wrote nothing"


class LocalLauncher:
    """Starts worker processes, each with a log of its own."""

    host: str | None = HOST
    most_deaths_in_a_row = 5

    def __init__(self, data_dir: DataDir, name: str, workers: int) -> None:
        """`name` is what the logs are called after."""
        self._data_dir, self._name, self.workers = data_dir, name, workers
        self._started = 0

    def start(self, job: Job) -> LocalWorker:
        self._started += 1
        path = self._data_dir.log(self._name, f"{os.getpid()}-{self._started}")
        with _opened(path) as output:
            return LocalWorker(_spawn(replace(job, launcher_pid=os.getpid()), output), path)


def _opened(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("a")
    except OSError as error:  # a full disk
        log.warning("no log of this worker: %s", error)
        return Path(os.devnull).open("w")


def _spawn(job: Job, output: IO[str]) -> "subprocess.Popen[str]":
    """Starts one worker: a fresh interpreter in a session of its own, so that Ctrl-C reaches only
    the launcher, which then ends its workers in good order."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "search.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        text=True,
        start_new_session=True,
        env=os.environ | job.thread_limits(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    process.stdin.write(job.to_json() + "\n")
    process.stdin.close()
    return process
