"""The fork server: one process that loads what workers need, and is forked into each of them.

    python -m search.launch.fork_server fork|spawn EVENTS NOTICES

Standard input brings jobs as JSON, one a line: a storage URL may hold a password, which a process
list would show. EVENTS is the descriptor of a pipe that takes `started PID` for each job, in their
order, and `ended PID STATUS`. NOTICES is that of a pipe for what workers log about an unavailable
storage. Standard output and standard error are left to libraries, which may print. The process
ends when its standard input does; its workers notice that they are orphans, and exit.

Loading takes seconds and most of a worker's memory; a fork takes 15 ms and shares both. Forking is
safe as long as this process has one thread and uses no device, so it warms up on one thread of the
CPU. Where a fork without exec is unsafe (macOS, whose system libraries start threads), `spawn`
starts each worker as an interpreter of its own.

`multiprocessing`'s forkserver is not used: tests/benchmarks/LOG.md, 2026-11-26, has the reasons.
"""

import functools
import gc
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

from search.worker.job import Job

Start = Callable[[Job], int]
"""Starts one worker; returns its process id."""


def main(way: str, *pipes: str) -> int:
    """Starts a worker for each job, until standard input ends."""
    events, notices = map(int, pipes)
    os.set_inheritable(events, False)  # no child inherits it
    os.set_blocking(notices, False)  # a launcher that does not read must not block a worker
    start = {"fork": _forking, "spawn": _spawning}[way](events, notices)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # not before: while it loads, a signal may end it
    signal.signal(signal.SIGCHLD, functools.partial(_reap_children, events))
    for line in sys.stdin:
        # Blocked until SIGTERM ends the worker, and the launcher knows its process id.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _send(events, f"started {start(replace(Job.from_json(line), parent_pid=os.getpid()))}")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return 0


def _forking(events: int, notices: int) -> Start:
    gc.disable()  # nothing loaded here becomes garbage: saves a sixth of the time
    from makemore_core.training.trainer import torch_threads
    from makemore_core.training.warm_up import warm_up
    from search.worker import process as worker  # noqa: F401  loaded here, once for all

    with torch_threads(threads=1), _warnings_sent_to(notices):
        warm_up()
    gc.freeze()  # workers do not collect it either, which would copy its memory
    gc.enable()

    def start(job: Job) -> int:
        return os.fork() or _become_worker(job, events, notices)

    return start


@contextmanager
def _warnings_sent_to(notices: int) -> Iterator[None]:
    """Sends warnings of loading, such as of compiled kernels that cannot be stored, to a pipe;
    no longer than that, since in a worker the descriptor may be another file."""
    lines = os.fdopen(notices, "w", 1, "utf-8", "backslashreplace", closefd=False)
    handler = logging.StreamHandler(lines)
    logging.getLogger("makemore_core").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("makemore_core").removeHandler(handler)


def _become_worker(job: Job, events: int, notices: int) -> NoReturn:
    """Turns a fork into a worker, with none of the fork server's signals, pipes or session."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(events)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        from search.worker import process as worker

        status = worker.run_job(job, notices)
    except BaseException:  # noqa: BLE001  the process ends
        traceback.print_exc()
    finally:
        os._exit(status)


def _spawning(_events: int, notices: int) -> Start:
    spawned = []  # Python warns when the handle of a running process is dropped

    def start(job: Job) -> int:
        command = [sys.executable, "-P", "-m", "search.worker", str(notices)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[notices], text=True, start_new_session=True
        )
        spawned.append(process)
        assert process.stdin is not None
        with process.stdin as its_input:
            its_input.write(job.to_json())
        return process.pid

    return start


def _reap_children(events: int, _number: int, _frame: Any) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(events, f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _send(events: int, line: str) -> None:
    os.write(
        events, line.encode() + b"\n"
    )  # one write, so that a signal handler cannot split the line


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
