"""When an expired lease may be acted on."""

import pytest

from search.system import processes
from search.system.processes import LeaseObserver

LEASE = 30.0


class Clocks:
    """The clock of the machine, which can be set, and the one that cannot."""

    def __init__(self) -> None:
        self.now, self.set_by = 1_000.0, 0.0

    def time(self) -> float:
        return self.now + self.set_by

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    found = Clocks()
    monkeypatch.setattr(processes, "time", found)
    return found


def seconds_until_it_may_act(observer: LeaseObserver, clocks: Clocks) -> float:
    """For how long an observer that looks at the leases once a second keeps from acting."""
    for waited in range(200):
        if observer.observe(LEASE, clocks.time()):
            return waited
        clocks.now += 1.0
    raise AssertionError("never")


def test_one_that_has_looked_all_along_may_act(clocks: Clocks) -> None:
    """The lease was watched while it expired."""
    observer = LeaseObserver()
    assert [0, 0] == [seconds_until_it_may_act(observer, clocks) for _ in range(2)]


@pytest.mark.parametrize("hours", [8, -8])
def test_clocks_that_are_set_give_a_whole_lease(clocks: Clocks, hours: int) -> None:
    """As much as a worker that is held up by a disk has at any other time."""
    observer = LeaseObserver()
    observer.observe(LEASE, clocks.time())
    clocks.now += 1.0
    clocks.set_by = 3600.0 * hours
    assert LEASE <= seconds_until_it_may_act(observer, clocks) <= LEASE + 1.0


def test_the_databases_clock_alone_that_is_set_gives_it_too(clocks: Clocks) -> None:
    """It may be another host's."""
    observer = LeaseObserver()
    assert observer.observe(LEASE, clocks.time())
    clocks.now += 1.0
    assert not observer.observe(LEASE, clocks.time() + 8 * 3600.0)


def test_an_observer_that_slept_gives_it_too(clocks: Clocks) -> None:
    """Nobody else may have been awake."""
    observer = LeaseObserver()
    assert observer.observe(LEASE, clocks.time())
    clocks.now += LEASE
    assert LEASE <= seconds_until_it_may_act(observer, clocks) <= LEASE + 1.0
