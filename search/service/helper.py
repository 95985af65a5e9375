"""Helper processes: they make calls that need torch or much time, so that requests do not wait.

A helper is started by its first call, and ends after some time without one, or with the service.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import ParamSpec, TypeVar

from search.service.problems import Problem
from search.system.child_process import ChildDied, ChildProcess

P = ParamSpec("P")
R = TypeVar("R")

IDLE_SECONDS = 300.0
MAX_WAITING = 16
DIED = "service: the helper process died; try again"


class Helper:
    """A process that makes one call after the other."""

    def __init__(self, threads: int, seconds: float) -> None:
        """`seconds` is how long a call may take."""
        self._threads, self._seconds = threads, seconds
        self._executor = ThreadPoolExecutor(1, "helper")
        self._process: ChildProcess | None = None
        self._waiting = 0
        self._closing: asyncio.TimerHandle | None = None

    async def call(self, function: Callable[P, R], *arguments: P.args, **_: P.kwargs) -> R:
        """What a function of `calls` returns.

        Raises:
            Problem: 503, too many calls wait already, or this one took too long.
            Exception: what the function raised.
        """
        if self._waiting >= MAX_WAITING:
            raise _busy(f"{MAX_WAITING} requests of this kind wait already; try again later")
        loop = asyncio.get_running_loop()
        if self._closing is not None:
            self._closing.cancel()
        self._waiting += 1
        try:
            return await loop.run_in_executor(self._executor, self._call, function, arguments)
        finally:
            self._waiting -= 1
            self._closing = loop.call_later(IDLE_SECONDS, self._executor.submit, self._end)

    def _call(self, function: Callable[..., R], arguments: tuple[object, ...]) -> R:
        if self._process is None:
            self._process = ChildProcess(self._threads, DIED)
        self._process.ask(function, *arguments)
        if not self._process.connection.poll(self._seconds):
            self._end()
            raise _busy(f"this took longer than {self._seconds:.0f} s; gave up")
        try:
            answer: R = self._process.answer()
        except ChildDied:
            self._end()
            raise
        return answer

    def close(self) -> None:
        """Ends the process, also within a call."""
        if self._closing is not None:
            self._closing.cancel()
        if (process := self._process) is not None:
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()


def _busy(detail: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"service: {detail}", {"Retry-After": "30"})
