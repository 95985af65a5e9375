"""Workers as processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from search.job import Job, thread_limits
from search.paths import DataDir
from search.processes import HOST


class _Process:
    """A fresh interpreter that loads what a worker needs, then waits for its job.

    It has a session of its own, so that Ctrl-C reaches only the launcher, which then ends its
    workers in good order.
    """

    def __init__(self, threads: int) -> None:
        self.early_words = tempfile.TemporaryFile("w+")  # noqa: SIM115  open while the worker lives
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "search.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.early_words,
            text=True,
            start_new_session=True,
            env=os.environ | thread_limits(threads),
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)

    def give(self, job: Job) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: whoever polls it sees that
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.close()

    def discard(self) -> None:
        self.process.kill()  # it holds nothing yet
        self.process.communicate()
        self.early_words.close()


class LocalWorker:
    """One worker process; see `supervisor.RunningWorker`."""

    def __init__(self, started: _Process, log: Path) -> None:
        self._process, self._output = started.process, started.output
        self._log, self._early_words = log, started.early_words
        self.pid: int | None = self._process.pid
        self.logged_in = str(log)

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
        self._early_words.close()

    def last_words(self) -> str:
        """The last line of its log, or what it said before it had one."""
        self._early_words.seek(0)
        said = self._early_words.read()
        if self._log.is_file():
            said += self._log.read_text(errors="replace")
        lines = [line for line in said.splitlines() if line.strip()]
        return lines[-1][:160] if lines else "it wrote nothing"


class LocalLauncher:
    """Starts worker processes, each with a log of its own."""

    host: str | None = HOST
    most_deaths_in_a_row = 5

    def __init__(self, data_dir: DataDir, workers: int, threads: int) -> None:
        self._data_dir, self._threads = data_dir, threads
        self.workers = workers
        self._started = 0
        self._prepared: list[_Process] = []

    def prepare(self) -> None:
        """Starts processes already: they load while the study is still being opened.

        One core is left to the launcher: the first worker is at work the sooner for it.
        """
        count = max(1, min(self.workers, (os.cpu_count() or 1) - 1))
        self._prepared = [_Process(self._threads) for _ in range(count)]

    def start(self, job: Job) -> LocalWorker:
        self._started += 1
        log = self._data_dir.log(job.name, f"{os.getpid()}-{self._started}")
        started = self._prepared.pop() if self._prepared else _Process(self._threads)
        started.give(replace(job, launcher_pid=os.getpid(), log=str(log)))
        return LocalWorker(started, log)

    def close(self) -> None:
        """Ends the processes that got no job."""
        while self._prepared:
            self._prepared.pop().discard()
