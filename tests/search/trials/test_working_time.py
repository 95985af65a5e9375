"""Working time: what workers worked, whatever the wall clock does meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select, update
from workspace import Workspace

from search.storage import clock, tables
from search.study import study
from search.study.study import StoredStudy
from search.trials import claims, history, leases, recovery, status, working_time
from search.trials.claims import Claim
from search.trials.leases import NoClaim

COLUMNS: dict[str, Any] = {"threads": 1, "device": "cpu", "versions": {}}
EIGHT_HOURS = 8 * 3600.0


class Clocks:
    """A machine's clocks, set by hand: the workers' own, and the one on the wall."""

    def __init__(self) -> None:
        self.own = 1_000.0
        self.ahead = 1.8e9

    def wall(self, _real: str) -> str:
        return repr(self.own + self.ahead)


@contextmanager
def database_clock(sql_of: Callable[[str], str]) -> Iterator[None]:
    """Has every statement read another clock: `sql_of` the SQL of the real one."""

    def put(_: Any, __: Any, sql: str, values: Any, *___: Any) -> tuple[str, Any]:
        for real in clock.SQL.values():
            if real in sql:
                sql = sql.replace(real, sql_of(real))
        return sql, values

    event.listen(Engine, "before_cursor_execute", put, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", put)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    made = Clocks()
    monkeypatch.setattr(working_time, "clock", lambda: made.own)
    with database_clock(made.wall):
        yield made


def elapsed(bed: Workspace, stored: StoredStudy) -> float:
    with bed.storage.read() as connection:
        return working_time.elapsed_seconds(connection, stored.uid)


@pytest.mark.parametrize("jump", [EIGHT_HOURS, -EIGHT_HOURS, 25.0, -25.0])
def test_a_clock_that_jumps_adds_nothing(bed: Workspace, clocks: Clocks, jump: float) -> None:
    """Neither forward nor back: a minute of beats is a minute, before and after the worker leaves,
    and at no moment more than a lease from it."""
    stored = bed.create(budget={"trials": 9, "timeout": 300})
    worker = leases.register_worker(bed.storage, stored)
    for second in range(1, 61):
        clocks.own += 1.0
        if second == 30:
            clocks.ahead += jump
            assert 27.0 <= elapsed(bed, stored) <= 30.0 + tables.LEASE_SECONDS
        if second % 2 == 0:
            leases.heartbeat(bed.storage, stored, worker)
            assert float(second) == pytest.approx(elapsed(bed, stored))
    assert isinstance(claims.claim(bed.storage, stored, worker, COLUMNS), Claim)
    leases.end_worker(bed.storage, worker)
    assert 60.0 == pytest.approx(elapsed(bed, stored))


def test_a_transaction_that_is_lost_loses_no_time(bed: Workspace, clocks: Clocks) -> None:
    """The time that it would have added is added by the next."""
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    clocks.own += 40.0
    clocks.ahead += EIGHT_HOURS
    with pytest.raises(LookupError), bed.storage.write() as connection:
        leases.renew_lease(connection, stored.uid, worker)
        raise LookupError
    clocks.own += 2.0
    leases.heartbeat(bed.storage, stored, worker)
    assert 42.0 == pytest.approx(elapsed(bed, stored))


def test_time_between_two_beats_is_shown(bed: Workspace, clocks: Clocks) -> None:
    """What is not added yet counts for whoever looks, as far as a worker is seen."""
    stored = bed.create()
    leases.register_worker(bed.storage, stored)
    clocks.own += 5.0
    assert 5.0 == pytest.approx(elapsed(bed, stored))
    clocks.own += 1e4
    assert 0.0 == elapsed(bed, stored)


@settings(max_examples=8)
@given(
    spans=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=6),
    jumps=st.dictionaries(st.integers(0, 70), st.sampled_from([-9e3, -7.0, 40.0, 9e4]), max_size=2),
)
def test_time_during_which_several_work_counts_once(
    finished: Workspace, spans: list[tuple[int, int]], jumps: dict[int, float]
) -> None:
    """Working time is the length of the union of the workers' times; a jump of the clock makes a
    difference of the time between two beats at most, and no jump none."""
    stored = study.resolve(finished.storage, "tiny")
    with finished.storage.write() as connection:
        connection.execute(update(tables.studies).values(worked_seconds=0.0, worked_until=None))
    clocks = Clocks()
    with pytest.MonkeyPatch.context() as patch, database_clock(clocks.wall):
        patch.setattr(working_time, "clock", lambda: clocks.own)
        workers: dict[int, str] = {}
        for second in range(72):
            clocks.ahead += jumps.get(second, 0.0)
            for index, (start, length) in enumerate(spans):
                if second == start:
                    workers[index] = leases.register_worker(finished.storage, stored)
                elif index in workers and second == start + length:
                    leases.end_worker(finished.storage, workers.pop(index))
                elif index in workers and (second - start) % 2 == 0:
                    leases.heartbeat(finished.storage, stored, workers[index])
            clocks.own += 1.0
        counted = elapsed(finished, stored)
    covered = {second for start, length in spans for second in range(start, start + length)}
    assert pytest.approx(len(covered), abs=1e-3 + 2.0 * len(jumps)) == counted


@pytest.mark.parametrize("jump", [EIGHT_HOURS, -EIGHT_HOURS])
def test_a_study_goes_on_over_a_jump(bed: Workspace, jump: float) -> None:
    """Under `timeout = "5m"` every trial is made, and the answer says how long that really took."""
    stored = bed.create(budget={"trials": 6, "timeout": "5m"})
    looks = iter(range(10**9))

    def jumping(real: str) -> str:
        return f"({real} + {jump})" if next(looks) > 20 else real

    with database_clock(jumping):
        assert NoClaim.BUDGET_MET is bed.work(stored)
        assert next(looks) > 30
        view = status.status(bed.storage, stored)
    assert (6, "done") == (view.budget["finished"], view.state)
    assert 0.0 < view.elapsed_seconds < 300.0
    told = [each.worked_seconds for each in history.incumbents(bed.storage, stored)]
    assert sorted(told) == told and told[-1] <= view.elapsed_seconds


@pytest.mark.parametrize("jump", [EIGHT_HOURS, -EIGHT_HOURS])
def test_leases_over_a_jump(bed: Workspace, clocks: Clocks, jump: float) -> None:
    """Whoever watched while the clock jumped evicts nobody who may still renew; a worker that stays
    silent is given up on within a lease or so, also when the clock was set back by hours."""
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    assert isinstance(claims.claim(bed.storage, stored, worker, COLUMNS), Claim)
    with bed.storage.write() as connection:
        connection.execute(update(tables.workers).values(host="elsewhere"))
    assert 0 == recovery.recover(bed.storage, stored)
    clocks.ahead += jump
    assert 0 == recovery.recover(bed.storage, stored)
    leases.heartbeat(bed.storage, stored, worker)
    assert study.has_workers(bed.storage, stored)
    clocks.ahead += jump
    bed.close()  # another process, which has watched for long enough
    assert not study.has_workers(bed.storage, stored)
    assert 1 == recovery.recover(bed.storage, stored)


def test_records_are_told_with_the_time_at_which_they_ended(finished: Workspace) -> None:
    """A view that begins later shows each best at the working time when it ended, not its own."""
    a = tables.attempts
    with finished.storage.write() as connection:
        connection.execute(update(tables.studies).values(worked_seconds=7_500.0))
        connection.execute(update(a).values(worked_seconds=60.0 * (1 + a.c.ordinal)))
        first = connection.execute(select(a.c.trial).where(a.c.ordinal == 0)).scalar_one()
    answer = finished.cli("status", "tiny", "--watch")
    records = [line.split() for line in answer.err.splitlines() if "best dev loss" in line]
    trials = [int(words[words.index("trial") + 1]) for words in records]
    assert [f"{1 + trial}m00s" for trial in trials] == [words[0] for words in records]
    assert trials[0] == first and len(trials) > 1
