"""Stands for processes of this program whose start takes seconds: makes their calls in this one."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Pipe
from typing import Any

import pytest

from search.evaluation import training_pool


class CalledHere:
    """As a `ChildProcess`, which is ready with each call as soon as it is asked."""

    def __init__(self, threads: int, died: str) -> None:
        self.connection, self._other_end = Pipe()
        self._answers: deque[tuple[Any, Exception | None]] = deque()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._answers.append((function(*arguments), None))
        except Exception as error:  # noqa: BLE001  `answer` raises it
            self._answers.append((None, error))
        self._other_end.send(None)

    def answer(self) -> Any:
        self.connection.recv()
        returned, raised = self._answers.popleft()
        if raised is not None:
            raise raised
        return returned

    def kill(self) -> None:
        """It is within no call."""

    def close(self) -> None:
        self.connection.close()
        self._other_end.close()


@contextmanager
def training_here() -> Iterator[None]:
    """The training pool of `confirm` trains in this process."""
    core = logging.getLogger("makemore_core")
    level = core.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_pool, "ChildProcess", CalledHere)
        patch.setattr(training_pool, "_state", None)
        yield
    core.setLevel(level)  # all processes of a pool but the first are silenced
