"""One process that loads what workers need, and is forked into each worker that is asked for.

    python -m search.nursery fork|spawn NOTICES

On standard input it takes jobs, as JSON, one a line: a storage URL may hold a password, which a
process list would show. On standard output it says `started PID` for each, in their order, and
`ended PID STATUS`. It ends when its standard input does, and its workers then leave, as orphans.

Loading takes seconds and most of a worker's memory; a fork takes 15 ms, and shares both. It is
sound as long as this process has one thread and no device, so it warms up on one thread of the
CPU. Where a fork without a new program is not to be trusted (macOS, whose system libraries start
threads), `spawn` starts each worker as an interpreter of its own.
"""

import gc
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from search.job import Job

Start = Callable[[Job], int]
"""Starts one worker; returns its process id."""


def main(way: str, notices: str) -> int:
    """Starts workers until there is nobody left to ask for one."""
    os.set_blocking(int(notices), False)  # a launcher that does not read must not hold anyone up
    start = {"fork": _forking, "spawn": _spawning}[way](int(notices))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # not before: while it loads, it may well end
    signal.signal(signal.SIGCHLD, _tell_who_ended)
    for line in sys.stdin:
        # Held back until the worker is one that SIGTERM ends, and is known to the launcher.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _say(f"started {start(replace(Job.from_json(line), parent_pid=os.getpid()))}")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return 0


def _forking(notices: int) -> Start:
    gc.disable()  # nothing that is loaded here is ever garbage: a sixth of the time
    from makemore_core.trainer import arithmetic
    from makemore_core.warm_up import warm_up
    from search import worker  # noqa: F401  loaded here, once for all

    with arithmetic(threads=1):
        warm_up()
    gc.freeze()  # nor do the workers look for any among it, which would copy its memory
    gc.enable()

    def start(job: Job) -> int:
        return os.fork() or _become_worker(job, notices)

    return start


def _become_worker(job: Job, notices: int) -> NoReturn:
    """What a fork does from here on; nothing of the nursery's is left to it."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(notices, 1)
        os.close(notices)
        from search import worker

        status = worker.do(job)
    except BaseException:  # noqa: BLE001  the last words of a process
        traceback.print_exc()
    finally:
        os._exit(status)


def _spawning(notices: int) -> Start:
    spawned = []  # Python minds when one that may still run is forgotten

    def start(job: Job) -> int:
        command = [sys.executable, "-P", "-m", "search.worker"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=notices, text=True, start_new_session=True
        )
        spawned.append(process)
        assert process.stdin is not None
        with process.stdin as its_input:
            its_input.write(job.to_json())
        return process.pid

    return start


def _tell_who_ended(_number: int, _frame: Any) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _say(line: str) -> None:
    os.write(1, line.encode() + b"\n")  # whole, also when a signal comes in between


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
