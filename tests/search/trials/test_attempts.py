"""The ledger: what becomes of an attempt, wherever its worker dies."""

import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import inspect, select, text, update
from workspace import Workspace

from makemore_core.config import TrialConfig
from search.errors import TrialLost
from search.spec import search_space
from search.storage import tables
from search.storage.database import open_storage
from search.storage.optuna_writer import TrialKey
from search.study.study import StoredStudy
from search.system.processes import HOST, Launch
from search.trials import attempts, claims, leases, recovery, results
from search.trials.claims import Claim
from search.trials.reported_losses import ReportedLosses

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


MEASURED = {"seconds": 1.5, "examples": 888, "parameters": 3481, "dev_loss_unseen": 2.625}
"""What an attempt measures, beside its loss."""


class AttemptDriver:
    """One worker's attempt at a slot, step by step, as far as it lives."""

    def __init__(self, bed: Workspace, stored: StoredStudy, launcher: int | None = None) -> None:
        """`launcher`: the process that has started the worker, if any has."""
        self.bed, self.stored, self.storage = bed, stored, bed.storage
        self.launch = launcher and Launch(secrets.token_hex(16), HOST, launcher)
        self.worker = leases.register_worker(bed.storage, stored, self.launch or None)
        found = claims.claim(bed.storage, stored, self.worker, COLUMNS)
        assert isinstance(found, Claim), found
        self.claim = found

    def make_trial(self) -> None:
        names = search_space.distributions(self.stored.spec.space)
        params = {name: CONFIG[name] for name in names}
        self.made = attempts.record_trial(
            self.storage, self.stored, self.claim.attempt_id, CONFIG, params, names, {}
        )

    def report(self) -> None:
        attempts.record_reports(self.storage, self.stored, self.made.trial_id, {444: 2.75})

    def finish(self, outcome: str = "complete", reason: str | None = None) -> None:
        values = {"outcome": outcome, "reason": reason, "dev_loss": 2.5, **MEASURED}
        attempts.finish_attempt(
            self.storage, self.stored, self.claim.attempt_id, None, {888: 2.5}, **values
        )

    def die(self, pid: int) -> None:
        """As by kill -9: the process is gone, and nothing in the database says so."""
        self._change_worker(pid=pid)

    def die_seen(self, cause: str = attempts.KILLED) -> None:
        """As by kill -9, and the launcher says what it was."""
        assert self.launch
        self.die(DEAD_PID)
        leases.end_launched(self.storage, [self.launch.id], cause)

    def fall_silent(self) -> None:
        """Nobody renews its lease any more."""
        self._change_worker(seen_at=self.storage.now() - tables.LEASE_SECONDS - 1)

    def _change_worker(self, **values: Any) -> None:
        workers = tables.workers
        with self.storage.write() as connection:
            connection.execute(update(workers).where(workers.c.id == self.worker).values(values))


STEPS: list[Callable[[AttemptDriver], None]] = [
    AttemptDriver.make_trial,
    AttemptDriver.report,
    AttemptDriver.finish,
]


def slot(bed: Workspace, ordinal: int = 0) -> Any:
    with bed.storage.read() as connection:
        return connection.execute(
            select(tables.slots).where(tables.slots.c.ordinal == ordinal)
        ).one()


@pytest.mark.parametrize("lived", range(len(STEPS) + 1))
def test_death_at_any_step_loses_nothing(lived: int, bed: Workspace) -> None:
    """Killed after any step of its life: a recorded outcome stands, an attempt without one is tried
    again, no trial stays running, and recovering twice is the same as once."""
    stored = bed.create(budget={"trials": 1})
    driver = AttemptDriver(bed, stored)
    for step in STEPS[:lived]:
        step(driver)
    driver.die(DEAD_PID)
    recorded = lived == len(STEPS)
    for _ in range(2):
        recovery.recover(bed.storage, stored)
        assert ("finished" if recorded else "waiting") == slot(bed).state
        assert 0 == slot(bed).losses
        states = [trial.state for trial in bed.trials(stored)]
        expected = [] if lived == 0 else ["complete"] if recorded else ["failed"]
        assert expected == states
    bed.work(stored)
    assert 1 == len(bed.outcomes(stored))


def reports(driver: AttemptDriver) -> dict[int, float]:
    return driver.storage.optuna.get_trial(driver.made.trial_id).intermediate_values


@pytest.mark.parametrize("loss", [2.75, 1 / 3, 5e-324, 1.7976931348623157e308])
def test_a_report_is_in_the_database_bit_for_bit(loss: float, bed: Workspace) -> None:
    """Optuna reads what was reported; reported again, as by a resumed trial, it stands once."""
    driver = AttemptDriver(bed, bed.create())
    driver.make_trial()
    for value in (1.5, loss):
        attempts.record_reports(bed.storage, driver.stored, driver.made.trial_id, {444: value})
    attempts.record_reports(bed.storage, driver.stored, driver.made.trial_id, {888: 2.5})
    assert {444: loss, 888: 2.5} == reports(driver)


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED])
def test_a_trial_that_has_ended_takes_no_report(state: TrialState, bed: Workspace) -> None:
    """A worker that comes back after its lease finds its report refused, and nothing changed."""
    driver = AttemptDriver(bed, bed.create())
    driver.make_trial()
    driver.report()
    bed.storage.optuna.set_trial_state_values(driver.made.trial_id, state, [2.5])
    for resource in (444, 888):
        with pytest.raises(TrialLost):
            attempts.record_reports(
                bed.storage, driver.stored, driver.made.trial_id, {resource: 1.0}
            )
    assert {444: 2.75} == reports(driver)


def test_recovery_by_many_at_once_is_recovery_once(bed: Workspace) -> None:
    """Several processes that find the same dead worker settle its attempt a single time."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    driver.die(DEAD_PID)
    storages = [open_storage(bed.url) for _ in range(4)]
    threads = [threading.Thread(target=recovery.recover, args=(s, stored)) for s in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for storage in storages:
        storage.close()
    assert ("waiting", 0) == (slot(bed).state, slot(bed).losses)
    assert [("failed", "killed")] == [(t.state, t.reason) for t in bed.trials(stored)]


def test_a_retry_is_a_new_trial_with_the_same_configuration_and_seed(bed: Workspace) -> None:
    """What was lost is tried once more: `retry_of` names it, configuration and seed are its."""
    stored = bed.create(budget={"trials": 1})
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    driver.die(DEAD_PID)
    recovery.recover(bed.storage, stored)
    bed.work(stored)
    lost, retry = bed.trials(stored)
    assert (None, lost.number) == (lost.retry_of, retry.retry_of)
    assert lost.config == retry.config
    with bed.storage.read() as connection:
        seeds = connection.execute(select(tables.attempts.c.training_seed)).scalars().all()
    assert 1 == len(set(seeds))


def test_a_configuration_that_kills_two_workers_is_pruned(bed: Workspace) -> None:
    """The second kill is an outcome of the configuration: counted, never tried a third time."""
    stored = bed.create(budget={"trials": 1})
    for _ in range(2):
        driver = AttemptDriver(bed, stored, os.getpid())
        assert 0 == driver.claim.ordinal
        driver.make_trial()
        driver.report()
        driver.die_seen()
        recovery.recover(bed.storage, stored)
    first, second = bed.trials(stored)
    assert ("failed", "killed") == (first.state, first.reason)
    assert ("pruned", "killed workers") == (second.state, second.reason)
    assert first.number == second.retry_of
    assert "finished" == slot(bed).state


def test_an_error_twice_abandons_the_configuration(bed: Workspace) -> None:
    """An error of the program is nobody's outcome: tried once more, then left, not counted."""
    stored = bed.create(budget={"trials": 1})
    for expected in ("waiting", "abandoned"):
        driver = AttemptDriver(bed, stored)
        driver.make_trial()
        driver.finish("failed", "error")
        assert expected == slot(bed).state
    assert ["failed", "failed"] == [trial.state for trial in bed.trials(stored)]
    bed.work(stored)
    assert 1 == len(bed.outcomes(stored))


def test_interruptions_never_use_up_the_retry(bed: Workspace) -> None:
    """Interrupted as often as you like, a configuration still has its retry after a kill."""
    stored = bed.create(budget={"trials": 1})
    for _ in range(4):
        driver = AttemptDriver(bed, stored)
        driver.make_trial()
        driver.finish("failed", "interrupted")
    driver = AttemptDriver(bed, stored, os.getpid())
    driver.make_trial()
    driver.die_seen()
    recovery.recover(bed.storage, stored)
    assert ("waiting", 1) == (slot(bed).state, slot(bed).losses)
    assert {"failed"} == {trial.state for trial in bed.trials(stored)}


@pytest.mark.parametrize(
    "launcher", [None, DEAD_PID, "shared"], ids=["none", "dead", "alive, but its starter died"]
)
def test_a_death_with_a_shared_cause_is_held_against_nobody(launcher: Any, bed: Workspace) -> None:
    """Whoever finds a worker dead together with its launcher or starter, or with nobody to see it
    end: the configuration is tried again, however often that happens."""
    stored = bed.create(budget={"trials": 1})
    for _ in range(6):
        driver = AttemptDriver(bed, stored, os.getpid() if launcher == "shared" else launcher)
        assert 0 == driver.claim.ordinal
        driver.make_trial()
        driver.report()
        if launcher == "shared":
            driver.die_seen(attempts.SHARED)
        else:
            driver.die(DEAD_PID)
        assert 1 == recovery.recover(bed.storage, stored)
        assert ("waiting", 0, 0) == _counts(bed)
    assert {("failed", "killed")} == {(t.state, t.reason) for t in bed.trials(stored)}


def test_a_dead_worker_is_left_to_its_launcher(bed: Workspace) -> None:
    """Only that knows whether the death was the worker's own: others wait for its word, for as
    long as it lives and no longer than the lease."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored, os.getpid())
    driver.make_trial()
    driver.die(DEAD_PID)
    assert 0 == recovery.recover(bed.storage, stored)
    driver.fall_silent()
    assert 1 == recovery.recover(bed.storage, stored)
    assert ("waiting", 0, 0) == _counts(bed)


def test_a_worker_that_broke_off_is_counted_as_one_that_was_killed(bed: Workspace) -> None:
    """An uncaught error ends a worker's stint in passing, its attempt under way: its launcher's
    word counts then as well."""
    stored = bed.create(budget={"trials": 1})
    driver = AttemptDriver(bed, stored, os.getpid())
    driver.make_trial()
    leases.end_worker(bed.storage, driver.worker)
    assert 0 == recovery.recover(bed.storage, stored)
    driver.die_seen()
    assert 1 == recovery.recover(bed.storage, stored)
    assert ("waiting", 1, 0) == _counts(bed)


def test_a_word_on_a_process_does_not_touch_what_it_had_done(bed: Workspace) -> None:
    """A stint that ended in good order stays one, however the process ended later."""
    driver = AttemptDriver(bed, bed.create(), os.getpid())
    driver.make_trial()
    driver.finish()
    leases.end_worker(bed.storage, driver.worker)
    driver.die_seen()
    with bed.storage.read() as connection:
        assert [None] == connection.execute(select(tables.workers.c.end_cause)).scalars().all()


def test_a_lease_that_ran_out_counts_only_after_four_times(bed: Workspace) -> None:
    """Three are tried again, whoever records the loss; the fourth sets the configuration aside, as
    an outcome with that reason. Neither uses up the retry after a kill, nor the other way round."""
    stored = bed.create(budget={"trials": 1})
    killed = AttemptDriver(bed, stored, os.getpid())
    killed.make_trial()
    killed.die_seen()
    recovery.recover(bed.storage, stored)
    for times in range(1, attempts.MAX_EXPIRATIONS + 1):
        assert ("waiting", 1, times - 1) == _counts(bed)
        driver = AttemptDriver(bed, stored, os.getpid())
        driver.make_trial()
        driver.report()
        driver.fall_silent()
        assert 1 == recovery.recover(bed.storage, stored)
    assert "finished" == slot(bed).state
    *lost, last = bed.trials(stored)
    assert {("failed", "killed")} == {(trial.state, trial.reason) for trial in lost}
    assert ("pruned", "lease ran out", 2.75) == (last.state, last.reason, last.dev_loss)


def test_a_late_worker_records_its_lost_lease_itself(bed: Workspace) -> None:
    """Between the eviction and the recovery it may be the first to say so: it counts the same."""
    stored = bed.create(budget={"trials": 1})
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    leases.end_worker(bed.storage, driver.worker, attempts.EXPIRED)
    driver.finish("failed", "killed")
    assert ("waiting", 0, 1) == _counts(bed)


def test_what_kills_everything_waits_until_nothing_else_is_left(bed: Workspace) -> None:
    """A configuration that takes even its launcher with it, again and again, is tried after the
    others; it is neither lost nor in their way."""
    stored = bed.create(budget={"trials": 3})
    for _ in range(claims.KILLS_BEFORE_LAST):
        driver = AttemptDriver(bed, stored)
        assert 0 == driver.claim.ordinal
        driver.make_trial()
        driver.die(DEAD_PID)
        recovery.recover(bed.storage, stored)
    others = [AttemptDriver(bed, stored) for _ in range(2)]
    assert [1, 2] == [each.claim.ordinal for each in others]
    assert 0 == AttemptDriver(bed, stored).claim.ordinal


def test_only_what_is_new_counts_as_a_report(bed: Workspace) -> None:
    """A retry takes over what its snapshot has: that is no sign of progress."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    driver.report()
    assert [1, 1, 0] == [_reports(bed, stored, host) for host in (None, HOST, "elsewhere")]
    driver.finish("failed", "interrupted")
    assert 2 == _reports(bed, stored)
    retry = AttemptDriver(bed, stored)
    names = search_space.distributions(stored.spec.space)
    params = {name: CONFIG[name] for name in names}
    taken_over = {444: 2.75}
    retry.made = attempts.record_trial(
        bed.storage, stored, retry.claim.attempt_id, CONFIG, params, names, taken_over
    )
    assert 2 == _reports(bed, stored)
    attempts.record_reports(bed.storage, retry.stored, retry.made.trial_id, {888: 2.5})
    assert 3 == _reports(bed, stored)


def _reports(bed: Workspace, stored: StoredStudy, host: str | None = None) -> int:
    return results.reports_on(bed.storage, stored.uid, host)


def _counts(bed: Workspace) -> tuple[str, int, int]:
    found = slot(bed)
    return found.state, found.losses, found.expirations


def test_a_worker_that_was_given_up_on_can_write_nothing(bed: Workspace) -> None:
    """Once its lease has run out and its slot was given away, its reports and its outcome are
    refused, and the retry's are what stands."""
    stored = bed.create(budget={"trials": 1})
    late = AttemptDriver(bed, stored)
    late.make_trial()
    late.fall_silent()
    assert 1 == recovery.recover(bed.storage, stored)
    with pytest.raises(TrialLost):
        late.report()
    with pytest.raises(TrialLost):
        late.finish()
    with pytest.raises(TrialLost):
        leases.heartbeat(bed.storage, stored, late.worker)
    bed.work(stored)
    lost, retry = bed.trials(stored)
    assert ("failed", "killed", None) == (lost.state, lost.reason, lost.dev_loss)
    assert "complete" == retry.state
    assert retry.dev_loss != 2.5


def test_a_worker_that_is_alive_keeps_what_it_holds(bed: Workspace) -> None:
    """Recovery leaves alone whoever lives and was seen within the lease."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    leases.heartbeat(bed.storage, stored, driver.worker)
    assert 0 == recovery.recover(bed.storage, stored)
    driver.finish()
    assert ["complete"] == [trial.state for trial in bed.trials(stored)]


def test_a_worker_on_another_host_is_given_its_lease(bed: Workspace) -> None:
    """Of processes elsewhere only silence tells that they are gone."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored)
    workers = tables.workers
    with bed.storage.write() as connection:
        connection.execute(
            update(workers).where(workers.c.id == driver.worker).values(host="elsewhere", pid=1)
        )
    assert 0 == recovery.recover(bed.storage, stored)
    driver.fall_silent()
    assert 1 == recovery.recover(bed.storage, stored)


def test_a_trial_that_is_made_again_is_the_same(bed: Workspace) -> None:
    """As when the answer of the first time was lost on its way."""
    driver = AttemptDriver(bed, bed.create())
    driver.make_trial()
    first = driver.made
    driver.make_trial()
    assert first == driver.made
    assert 1 == len(bed.storage.optuna.get_all_trials(driver.stored.optuna_id))


def test_an_end_that_is_told_again_is_no_error(bed: Workspace) -> None:
    """The same outcome a second time changes nothing; another one is refused."""
    driver = AttemptDriver(bed, bed.create())
    driver.make_trial()
    driver.finish()
    driver.finish()
    with pytest.raises(TrialLost):
        driver.finish("failed", "error")
    assert ["complete"] == [trial.state for trial in bed.trials(driver.stored)]
    assert ("finished", 0) == (slot(bed).state, slot(bed).losses)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"], indirect=True)
def test_rows_are_those_that_optuna_writes(bed: Workspace, zone: str) -> None:
    """A trial made, reported and ended here is, in every column of every table of Optuna's, the
    trial that Optuna makes of the same values; its ids aside, and its times to the second."""
    driver = AttemptDriver(bed, bed.create())
    names = search_space.distributions(driver.stored.spec.space)
    began = datetime.now(UTC).replace(tzinfo=None)
    driver.make_trial()
    driver.report()
    driver.finish(reason="patience")
    storage = bed.storage.optuna
    template = create_trial(params={n: CONFIG[n] for n in names}, distributions=names, value=2.5)
    template.state = TrialState.RUNNING
    template.values = None
    theirs = storage.create_new_trial(driver.stored.optuna_id, template)
    for resource, loss in ((444, 2.75), (888, 2.5)):
        storage.set_trial_intermediate_value(theirs, resource, loss)
    for name, value in {"reason": "patience", **MEASURED}.items():
        storage.set_trial_user_attr(theirs, name, value)
    storage.set_trial_state_values(theirs, TrialState.COMPLETE, [2.5])
    took = datetime.now(UTC).replace(tzinfo=None) - began
    known = inspect(bed.storage.engine)
    for table in (name for name in known.get_table_names() if name.startswith("trial")):
        query = f"SELECT * FROM {table} WHERE trial_id = :id"
        with bed.storage.read() as connection:
            rows = [
                [_compared(row, began, took) for row in connection.execute(text(query), {"id": id})]
                for id in (driver.made.trial_id, theirs)
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
def test_optuna_tells_when_a_trial_ran(bed: Workspace, zone: str) -> None:
    """Whoever reads a study with Optuna sees its times as the clock on the wall showed them."""
    stored = bed.create(budget={"trials": 1})
    began = datetime.now()
    bed.work(stored)
    took = datetime.now() - began
    with bed.optuna_storage() as storage:
        (trial,) = optuna.load_study(study_name=stored.name, storage=storage).trials
    assert trial.datetime_start is not None and trial.datetime_complete is not None
    assert timedelta(0) <= trial.datetime_start - began <= took
    assert timedelta(0) <= trial.datetime_complete - trial.datetime_start <= took


def test_nothing_is_written_into_a_trial_of_another_program(bed: Workspace) -> None:
    """A study that Optuna deleted may leave its number, and its trials' ids, to another one."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    with bed.optuna_storage() as storage:
        optuna.delete_study(study_name="tiny", storage=storage)
        theirs = optuna.create_study(study_name="theirs", storage=storage).ask()
        driver.made = TrialKey(theirs._trial_id, 0)  # the id that SQLite gives out again
        with pytest.raises(TrialLost):
            driver.report()
        attempts.finish_attempt(
            bed.storage,
            stored,
            driver.claim.attempt_id,
            driver.made.trial_id,
            {888: 2.5},
            outcome="complete",
            reason=None,
            dev_loss=2.5,
        )
        (trial,) = optuna.load_study(study_name="theirs", storage=storage).trials
    assert (TrialState.RUNNING, {}) == (trial.state, trial.intermediate_values)


def test_trials_of_other_programs_are_not_compared_with(bed: Workspace) -> None:
    """A pruner sees the losses of our own trials, whatever stands beside them."""
    stored = bed.create()
    driver = AttemptDriver(bed, stored)
    driver.make_trial()
    driver.report()
    with bed.optuna_storage() as storage:
        theirs = optuna.load_study(study_name="tiny", storage=storage).ask()
        theirs.report(-9.0, 444)
    losses = ReportedLosses(bed.storage).losses_at(stored, 444, -1)
    assert [2.75] == losses
