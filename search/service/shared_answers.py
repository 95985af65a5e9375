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
MAX_OVERDUE_SECONDS = 10.0
"""How long the last answer serves after that, while a new one is being made."""
MAX_ANSWERS = 256
"""How many answers are kept."""


class SharedAnswers:
    """Makes each answer once for all its readers.

    While a new one is being made, the others receive the last one and do not wait: a storage that
    is slow is asked by one of them at a time. Where there is none, or it is too old, they wait; if
    a new one cannot be made they all receive that error, instead of trying one after the other.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_seconds: float = MAX_SECONDS,
        max_overdue_seconds: float = MAX_OVERDUE_SECONDS,
    ) -> None:
        self._clock = clock
        self._max_seconds, self._max_overdue_seconds = max_seconds, max_overdue_seconds
        self._lock = threading.Lock()
        self._answers: dict[Hashable, _Answer[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer to a question; `make` is called where there is none, or none that is good."""
        asked = self._clock()
        answer: _Answer[T] = self._answer(key)
        if self._is_good(answer):
            return answer.value
        if not answer.making.acquire(blocking=not self._serves(answer)):
            return answer.value
        try:
            if answer.failure is not None and answer.failed_at > asked:
                raise answer.failure
            if not self._is_good(answer):
                self._make(answer, make)
            return answer.value
        finally:
            answer.making.release()

    def _make(self, answer: "_Answer[T]", make: Callable[[], T]) -> None:
        started = self._clock()
        try:
            answer.value = make()
        except Exception as error:
            answer.failure, answer.failed_at = error, self._clock()
            raise
        ended = self._clock()
        pause = min(max(MIN_SECONDS, (ended - started) / MAX_FRACTION), self._max_seconds)
        answer.good_until, answer.is_made = ended + pause, True

    def clear(self) -> None:
        """Forgets all answers, as something was changed."""
        with self._lock:
            self._answers = {}

    def _is_good(self, answer: "_Answer[T]") -> bool:
        return answer.is_made and self._clock() < answer.good_until

    def _serves(self, answer: "_Answer[T]") -> bool:
        """Whether an answer may be given while a new one is being made."""
        return answer.is_made and self._clock() < answer.good_until + self._max_overdue_seconds

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
        self.failure: Exception | None = None
        """Why it could not be made the last time, if ever."""
        self.failed_at = 0.0
        self.good_until = 0.0
