"""The ledger: what becomes of an attempt, wherever its worker dies."""

import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
import pytest
from bed import Bed
from optuna.trial import TrialState, create_trial
from sqlalchemy import inspect, select, text, update

from makemore_core.config import TrialConfig
from search import budget, ledger, space, tables
from search.budget import Claim
from search.errors import TrialLost
from search.storage import open_storage
from search.study import StoredStudy

COLUMNS: dict[str, Any] = {"threads": 1, "device": "cpu", "versions": {}}
CONFIG = asdict(
    TrialConfig(
        embedding_size=4,
        hidden_width=16,
        block_size=2,
        batch_size=32,
        learning_rate=0.01,
        schedule="constant",
        optimizer="adamw",
        examples=4_000,
        evaluations=9,
    )
)


DEAD_PID = 2**22 + 1
"""A number that no process has: Linux counts up to 2**22."""


class Life:
    """One worker's attempt at a slot, step by step, as far as it lives."""

    def __init__(self, bed: Bed, stored: StoredStudy) -> None:
        self.bed, self.stored, self.storage = bed, stored, bed.storage
        self.worker = ledger.register_worker(bed.storage, stored)
        found = budget.claim(bed.storage, stored, self.worker, COLUMNS)
        assert isinstance(found, Claim), found
        self.claim = found

    def make_trial(self) -> None:
        names = space.distributions(self.stored.spec.search)
        params = {name: CONFIG[name] for name in names}
        self.made = ledger.make_trial(
            self.storage, self.stored, self.claim.attempt_id, CONFIG, params, names, {}
        )

    def report(self) -> None:
        ledger.report(self.storage, self.made.trial_id, {444: 2.75})

    def finish(self, outcome: str = "complete", reason: str | None = None) -> None:
        values = {"outcome": outcome, "reason": reason, "dev_loss": 2.5}
        ledger.finish(self.storage, self.stored, self.claim.attempt_id, None, {888: 2.5}, **values)

    def die(self, pid: int) -> None:
        """As by kill -9: the process is gone, and nothing in the database says so."""
        workers = tables.workers
        with self.storage.write() as connection:
            connection.execute(update(workers).where(workers.c.id == self.worker).values(pid=pid))


STEPS: list[Callable[[Life], None]] = [
    Life.make_trial,
    Life.report,
    Life.finish,
]


def slot(bed: Bed, ordinal: int = 0) -> Any:
    with bed.storage.read() as connection:
        return connection.execute(
            select(tables.slots).where(tables.slots.c.ordinal == ordinal)
        ).one()


@pytest.mark.parametrize("lived", range(len(STEPS) + 1))
def test_death_at_any_step_loses_nothing(lived: int, bed: Bed) -> None:
    """Killed after any step of its life: a recorded outcome stands, an attempt without one is tried
    again, no trial stays running, and recovering twice is the same as once."""
    stored = bed.create(budget={"trials": 1})
    life = Life(bed, stored)
    for step in STEPS[:lived]:
        step(life)
    life.die(DEAD_PID)
    recorded = lived == len(STEPS)
    for _ in range(2):
        ledger.recover(bed.storage, stored)
        assert ("finished" if recorded else "waiting") == slot(bed).state
        assert (0 if recorded else 1) == slot(bed).losses
        states = [trial.state for trial in bed.trials(stored)]
        expected = [] if lived == 0 else ["complete"] if recorded else ["failed"]
        assert expected == states
    bed.work(stored)
    assert 1 == len(bed.outcomes(stored))


def reports(life: Life) -> dict[int, float]:
    return life.storage.optuna.get_trial(life.made.trial_id).intermediate_values


@pytest.mark.parametrize("loss", [2.75, 1 / 3, 5e-324, 1.7976931348623157e308])
def test_a_report_is_in_the_database_bit_for_bit(loss: float, bed: Bed) -> None:
    """Optuna reads what was reported; reported again, as by a resumed trial, it stands once."""
    life = Life(bed, bed.create())
    life.make_trial()
    for value in (1.5, loss):
        ledger.report(bed.storage, life.made.trial_id, {444: value})
    ledger.report(bed.storage, life.made.trial_id, {888: 2.5})
    assert {444: loss, 888: 2.5} == reports(life)


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED])
def test_a_trial_that_has_ended_takes_no_report(state: TrialState, bed: Bed) -> None:
    """A worker that comes back after its lease finds its report refused, and nothing changed."""
    life = Life(bed, bed.create())
    life.make_trial()
    life.report()
    bed.storage.optuna.set_trial_state_values(life.made.trial_id, state, [2.5])
    for resource in (444, 888):
        with pytest.raises(TrialLost):
            ledger.report(bed.storage, life.made.trial_id, {resource: 1.0})
    assert {444: 2.75} == reports(life)


def test_recovery_by_many_at_once_is_recovery_once(bed: Bed) -> None:
    """Several processes that find the same dead worker settle its attempt a single time."""
    stored = bed.create()
    life = Life(bed, stored)
    life.make_trial()
    life.die(DEAD_PID)
    storages = [open_storage(bed.url) for _ in range(4)]
    threads = [threading.Thread(target=ledger.recover, args=(s, stored)) for s in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for storage in storages:
        storage.close()
    assert ("waiting", 1) == (slot(bed).state, slot(bed).losses)
    assert [("failed", "killed")] == [(t.state, t.reason) for t in bed.trials(stored)]


def test_a_retry_is_a_new_trial_with_the_same_configuration_and_seed(bed: Bed) -> None:
    """What was lost is tried once more: `retry_of` names it, configuration and seed are its."""
    stored = bed.create(budget={"trials": 1})
    life = Life(bed, stored)
    life.make_trial()
    life.die(DEAD_PID)
    ledger.recover(bed.storage, stored)
    bed.work(stored)
    lost, retry = bed.trials(stored)
    assert (None, lost.number) == (lost.retry_of, retry.retry_of)
    assert lost.config == retry.config
    with bed.storage.read() as connection:
        seeds = connection.execute(select(tables.attempts.c.training_seed)).scalars().all()
    assert 1 == len(set(seeds))


def test_a_configuration_that_kills_two_workers_is_pruned(bed: Bed) -> None:
    """The second kill is an outcome of the configuration: counted, never tried a third time."""
    stored = bed.create(budget={"trials": 1})
    for _ in range(2):
        life = Life(bed, stored)
        assert 0 == life.claim.ordinal
        life.make_trial()
        life.report()
        life.die(DEAD_PID)
        ledger.recover(bed.storage, stored)
    first, second = bed.trials(stored)
    assert ("failed", "killed") == (first.state, first.reason)
    assert ("pruned", "killed workers") == (second.state, second.reason)
    assert first.number == second.retry_of
    assert "finished" == slot(bed).state


def test_an_error_twice_abandons_the_configuration(bed: Bed) -> None:
    """An error of the program is nobody's outcome: tried once more, then left, not counted."""
    stored = bed.create(budget={"trials": 1})
    for expected in ("waiting", "abandoned"):
        life = Life(bed, stored)
        life.make_trial()
        life.finish("failed", "error")
        assert expected == slot(bed).state
    assert ["failed", "failed"] == [trial.state for trial in bed.trials(stored)]
    bed.work(stored)
    assert 1 == len(bed.outcomes(stored))


def test_interruptions_never_use_up_the_retry(bed: Bed) -> None:
    """Interrupted as often as you like, a configuration still has its retry after a kill."""
    stored = bed.create(budget={"trials": 1})
    for _ in range(4):
        life = Life(bed, stored)
        life.make_trial()
        life.finish("failed", "interrupted")
    life = Life(bed, stored)
    life.make_trial()
    life.die(DEAD_PID)
    ledger.recover(bed.storage, stored)
    assert ("waiting", 1) == (slot(bed).state, slot(bed).losses)
    assert {"failed"} == {trial.state for trial in bed.trials(stored)}


def test_a_worker_that_was_given_up_on_can_write_nothing(bed: Bed) -> None:
    """Once its lease has run out and its slot was given away, its reports and its outcome are
    refused, and the retry's are what stands."""
    stored = bed.create(budget={"trials": 1})
    late = Life(bed, stored)
    late.make_trial()
    workers = tables.workers
    with bed.storage.write() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.id == late.worker)
            .values(seen_at=bed.storage.now() - tables.LEASE_SECONDS - 1)
        )
    assert 1 == ledger.recover(bed.storage, stored)
    with pytest.raises(TrialLost):
        late.report()
    with pytest.raises(TrialLost):
        late.finish()
    with pytest.raises(TrialLost):
        ledger.beat(bed.storage, stored, late.worker)
    bed.work(stored)
    lost, retry = bed.trials(stored)
    assert ("failed", "killed", None) == (lost.state, lost.reason, lost.dev_loss)
    assert "complete" == retry.state
    assert retry.dev_loss != 2.5


def test_a_worker_that_is_alive_keeps_what_it_holds(bed: Bed) -> None:
    """Recovery leaves alone whoever lives and was seen within the lease."""
    stored = bed.create()
    life = Life(bed, stored)
    life.make_trial()
    ledger.beat(bed.storage, stored, life.worker)
    assert 0 == ledger.recover(bed.storage, stored)
    life.finish()
    assert ["complete"] == [trial.state for trial in bed.trials(stored)]


def test_a_worker_on_another_host_is_given_its_lease(bed: Bed) -> None:
    """Of processes elsewhere only silence tells that they are gone."""
    stored = bed.create()
    life = Life(bed, stored)
    workers = tables.workers
    with bed.storage.write() as connection:
        connection.execute(
            update(workers).where(workers.c.id == life.worker).values(host="elsewhere", pid=1)
        )
    assert 0 == ledger.recover(bed.storage, stored)
    with bed.storage.write() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.id == life.worker)
            .values(seen_at=bed.storage.now() - tables.LEASE_SECONDS - 1)
        )
    assert 1 == ledger.recover(bed.storage, stored)


def test_a_trial_that_is_made_again_is_the_same(bed: Bed) -> None:
    """As when the answer of the first time was lost on its way."""
    life = Life(bed, bed.create())
    life.make_trial()
    first = life.made
    life.make_trial()
    assert first == life.made
    assert 1 == len(bed.storage.optuna.get_all_trials(life.stored.optuna_id))


def test_an_end_that_is_told_again_is_no_error(bed: Bed) -> None:
    """The same outcome a second time changes nothing; another one is refused."""
    life = Life(bed, bed.create())
    life.make_trial()
    life.finish()
    life.finish()
    with pytest.raises(TrialLost):
        life.finish("failed", "error")
    assert ["complete"] == [trial.state for trial in bed.trials(life.stored)]
    assert ("finished", 0) == (slot(bed).state, slot(bed).losses)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"], indirect=True)
def test_rows_are_those_that_optuna_writes(bed: Bed, zone: str) -> None:
    """A trial made, reported and ended here is, in every column of every table of Optuna's, the
    trial that Optuna makes of the same values; its ids aside, and its times to the second."""
    life = Life(bed, bed.create())
    names = space.distributions(life.stored.spec.search)
    began = datetime.now(UTC).replace(tzinfo=None)
    life.make_trial()
    life.report()
    life.finish()
    storage = bed.storage.optuna
    template = create_trial(params={n: CONFIG[n] for n in names}, distributions=names, value=2.5)
    template.state = TrialState.RUNNING
    template.values = None
    theirs = storage.create_new_trial(life.stored.optuna_id, template)
    for resource, loss in ((444, 2.75), (888, 2.5)):
        storage.set_trial_intermediate_value(theirs, resource, loss)
    storage.set_trial_state_values(theirs, TrialState.COMPLETE, [2.5])
    took = datetime.now(UTC).replace(tzinfo=None) - began
    known = inspect(bed.storage.engine)
    for table in (name for name in known.get_table_names() if name.startswith("trial")):
        query = f"SELECT * FROM {table} WHERE trial_id = :id"
        with bed.storage.read() as connection:
            rows = [
                [_compared(row, began, took) for row in connection.execute(text(query), {"id": id})]
                for id in (life.made.trial_id, theirs)
            ]
        assert rows[0] == rows[1], table


def _compared(row: Any, began: datetime, took: timedelta) -> dict[str, Any]:
    """A row without its ids; of its times, whether they lie within the test, in UTC, and how they
    are written."""
    found = {name: value for name, value in row._mapping.items() if not name.endswith("_id")}
    found.pop("number", None)
    for name in found.keys() & {"datetime_start", "datetime_complete"}:
        written = str(found[name])
        assert timedelta(0) <= datetime.fromisoformat(written) - began <= took, (name, written)
        found[name] = len(written)
    return found


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"], indirect=True)
def test_optuna_tells_when_a_trial_ran(bed: Bed, zone: str) -> None:
    """Whoever reads a study with Optuna sees its times as the clock on the wall showed them."""
    stored = bed.create(budget={"trials": 1})
    began = datetime.now()
    bed.work(stored)
    took = datetime.now() - began
    trial = optuna.load_study(study_name=stored.name, storage=bed.url).trials[0]
    assert trial.datetime_start is not None and trial.datetime_complete is not None
    assert timedelta(0) <= trial.datetime_start - began <= took
    assert timedelta(0) <= trial.datetime_complete - trial.datetime_start <= took
