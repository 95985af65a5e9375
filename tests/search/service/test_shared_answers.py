"""Answers for many readers: made once for all of them, and not too old for any."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from workspace import Workspace, wait_until

from search.errors import StorageLost
from search.service.shared_answers import (
    MAX_OVERDUE_SECONDS,
    MAX_SECONDS,
    MIN_SECONDS,
    SharedAnswers,
)
from search.service.watch import Watch


def test_an_answer_is_made_once_for_all() -> None:
    """Within a second, or longer if it took long; a change forgets it; an error is not kept."""
    now, made = [0.0], []
    answers = SharedAnswers(lambda: now[0])

    def make() -> int:
        made.append(now[0])
        now[0] += 0.1
        return len(made)

    assert [1, 1] == [answers.get("a", make), answers.get("a", make)]
    now[0] += MIN_SECONDS
    assert 1 == answers.get("a", make)
    now[0] += 1.01
    assert [2, 3] == [answers.get("a", make), answers.get("b", make)]
    answers.clear()
    assert 4 == answers.get("a", make)

    def fail() -> int:
        raise StorageLost("away")

    with pytest.raises(StorageLost):
        answers.get("c", fail)
    assert 5 == answers.get("c", make)


def test_nobody_waits_for_an_answer_that_is_being_made() -> None:
    """Others receive the last one meanwhile, unless it is too old by then."""
    now, answers = [0.0], SharedAnswers(lambda: now[0])
    assert "old" == answers.get("a", lambda: "old")
    meanwhile: list[str] = []

    def make() -> str:
        meanwhile.append(answers.get("a", lambda: "never"))
        return "new"

    now[0] += MIN_SECONDS + MAX_OVERDUE_SECONDS - 1
    assert "new" == answers.get("a", make)
    assert ["old"] == meanwhile


def test_an_answer_that_is_too_old_is_waited_for() -> None:
    """A reader after an hour receives what is made for another one, not the last."""
    now, answers, begun, goes_on = [0.0], SharedAnswers(lambda: now[0]), *_events(2)
    assert "old" == answers.get("a", lambda: "old")
    now[0] += MAX_SECONDS + MAX_OVERDUE_SECONDS

    def make() -> str:
        begun.set()
        assert goes_on.wait(60)
        return "new"

    with ThreadPoolExecutor(2) as readers:
        first = readers.submit(answers.get, "a", make)
        assert begun.wait(60)
        second = readers.submit(answers.get, "a", lambda: "never")
        goes_on.set()
        assert ("new", "new") == (first.result(60), second.result(60))


def test_an_error_is_received_by_all_who_waited() -> None:
    """A storage that is away is not asked by one after the other, each as long as the first."""
    looks: list[float] = []
    tries: list[int] = []

    def clock() -> float:
        looks.append(time.monotonic())
        return looks[-1]

    answers, begun, goes_on = SharedAnswers(clock), *_events(2)

    def fail() -> str:
        tries.append(1)
        begun.set()
        assert goes_on.wait(60)
        raise StorageLost("away")

    with ThreadPoolExecutor(4) as readers:
        first = readers.submit(answers.get, "a", fail)
        assert begun.wait(60)
        others = [readers.submit(answers.get, "a", fail) for _ in range(3)]
        wait_until(lambda: 5 == len(looks))  # when each asked, and when the first began
        goes_on.set()
        assert ["away"] * 4 == [str(each.exception(60)) for each in (first, *others)]
    assert 1 == len(tries)
    assert "back" == answers.get("a", lambda: "back")


def test_a_change_is_seen_by_who_made_it(finished: Workspace) -> None:
    """Also while the statuses of before it are being read."""
    watch = Watch(finished.storage, SharedAnswers())
    (before,) = watch.entries()
    finished.create(study={"name": "second"})
    assert [before] == watch.entries()
    watch.forget()
    assert ["tiny", "second"] == [each.name for each in watch.entries()]


def _events(count: int) -> list[threading.Event]:
    return [threading.Event() for _ in range(count)]
