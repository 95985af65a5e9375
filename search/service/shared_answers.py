"""Answers that many readers ask for again and again, each made at most once in a while for all."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MIN_SECONDS, MAX_SECONDS = 1.0, 5.0
"""How long an answer stays good, at least and at most."""
MAX_FRACTION = 0.05
"""The fraction of the time in which one answer is made, unless MAX_SECONDS sets a larger one."""
MAX_ANSWERS = 256
"""How many answers are kept."""


class SharedAnswers:
    """Makes each answer once for all its readers.

    While a new one is being made, the others receive the last one and do not wait: a storage that
    is slow is asked by one of them at a time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[Hashable, _Answer[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer to a question; `make` is called where there is none, or none that is good."""
        answer: _Answer[T] = self._answer(key)
        if self._is_good(answer):
            return answer.value
        if not answer.making.acquire(blocking=not answer.is_made):
            return answer.value
        try:
            if not self._is_good(answer):
                started = self._clock()
                answer.value = make()
                ended = self._clock()
                answer.good_until = ended + min(
                    max(MIN_SECONDS, (ended - started) / MAX_FRACTION), MAX_SECONDS
                )
                answer.is_made = True
            return answer.value
        finally:
            answer.making.release()

    def clear(self) -> None:
        """Forgets all answers, as something was changed."""
        with self._lock:
            self._answers = {}

    def _is_good(self, answer: "_Answer[T]") -> bool:
        return answer.is_made and self._clock() < answer.good_until

    def _answer(self, key: Hashable) -> "_Answer[Any]":
        with self._lock:
            answer = self._answers.pop(key, None) or _Answer()
            self._answers[key] = answer  # as the one that was asked for last
            while len(self._answers) > MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            return answer


class _Answer(Generic[T]):
    """An answer, and when it has to be made again."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.is_made = False
        self.value: T
        self.good_until = 0.0
