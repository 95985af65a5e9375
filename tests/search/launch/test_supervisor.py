"""The supervisor, with workers that end as they are told: what counts, and what ends a run."""

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from workspace import Workspace

from search.errors import Refused, WorkerCrashLoop
from search.launch import supervisor
from search.launch.supervisor import Leases, Supervisor
from search.system.processes import Launch
from search.trials import attempts
from search.trials import leases as leases_module
from search.worker.job import STORAGE_LOST, Job

KILLED = -9
CAUSE = "the host went away"


@dataclass(eq=False)
class FakeWorker:
    """A worker that has ended, or never does."""

    status: int | None
    cause: str | None = None
    log_location: str | None = None
    end_seconds: float | None = None

    def poll(self) -> int | None:
        return self.status

    def shared_cause(self) -> str | None:
        return self.cause

    def terminate(self) -> None:
        """It needs not be asked."""

    def wait_or_kill(self, seconds: float) -> None:
        self.end_seconds = seconds

    def last_log_line(self) -> str:
        return "its last words"


Script = Callable[[int], FakeWorker]
"""The n-th worker that is started."""


@dataclass
class FakeLauncher:
    workers: int
    script: Script
    host: str | None = None
    started: list[Job] = field(default_factory=list)

    def start(self, job: Job) -> FakeWorker:
        self.started.append(job)
        return self.script(len(self.started) - 1)

    def storage_warnings(self) -> list[str]:
        return []


@dataclass
class FakeWork:
    """Work for every worker until so many were started, with progress as it is told."""

    launches: float
    launcher: FakeLauncher
    report: Callable[[], int]
    name: str = "tiny"
    study_uid: str | None = None

    def desired_workers(self, workers: int) -> int:
        return workers if len(self.launcher.started) < self.launches else 0

    def finished_trials(self, _host: str | None) -> int:
        return 0

    def reports(self, _host: str | None) -> int:
        return self.report()

    def is_open(self) -> bool:
        return True

    def is_finished(self) -> bool:
        return False

    def recover(self) -> None:
        """Nothing is left behind."""


@pytest.fixture
def supervise(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeLauncher]:
    """Supervises scripted workers until so many were started, or for as long as it bears; with
    `progress`, each look at the reports finds one more."""
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.0)
    storage = bed.storage

    def run(
        workers: int, script: Script, launches: float = math.inf, *, progress: bool = False
    ) -> FakeLauncher:
        launcher = FakeLauncher(workers, script)
        reports = itertools.count() if progress else itertools.repeat(0)
        work = FakeWork(launches, launcher, lambda: next(reports))
        job = Job(bed.url, str(bed.data_dir.root), None, 1, "cpu")
        try:
            Supervisor(storage, work, launcher, job, lambda: None).run()
        except WorkerCrashLoop as error:
            launcher.started.append(replace(job, name=str(error)))
        return launcher

    return run


def ended_by(launcher: FakeLauncher) -> str | None:
    """What the run said when it ended by itself."""
    return launcher.started[-1].name if launcher.started[-1].launch is None else None


@pytest.mark.parametrize("workers", [1, 6, 64])
def test_a_crash_loop_ends_the_run_in_good_time(
    supervise: Callable[..., FakeLauncher], workers: int
) -> None:
    """Each worker may die by itself once, and four more: as many configurations at most have then
    been killed twice, whatever the number of workers."""
    found = supervise(workers, lambda _: FakeWorker(KILLED, log_location="a.log"))
    told = f"tiny: {workers + 4} workers died in a row without finishing a trial"
    assert f"{told} (its last words); see a.log" == ended_by(found)
    assert workers + workers + 3 == len(found.started) - 1


@pytest.mark.parametrize(("status", "cause"), [(KILLED, CAUSE), (STORAGE_LOST, None), (130, CAUSE)])
@pytest.mark.parametrize("workers", [1, 6, 64])
def test_what_takes_every_worker_at_once_is_one_event(
    supervise: Callable[..., FakeLauncher],
    caplog: pytest.LogCaptureFixture,
    workers: int,
    status: int,
    cause: str | None,
) -> None:
    """Said once; each is replaced, and the run goes on. So it is if some left in good order."""

    def script(number: int) -> FakeWorker:
        return FakeWorker(status, cause) if number < workers else FakeWorker(0)

    with caplog.at_level(logging.WARNING):
        found = supervise(workers, script, 2 * workers)
    assert ended_by(found) is None
    told = [each.getMessage() for each in caplog.records if each.name == "search.launch.supervisor"]
    assert 1 == len(told), told
    assert told[0].startswith(cause or "the storage was away for too long")


@pytest.mark.parametrize("workers", [1, 6])
@pytest.mark.parametrize("events", [2, 3])
def test_a_shared_cause_three_times_with_no_report_ends_the_run(
    supervise: Callable[..., FakeLauncher], workers: int, events: int
) -> None:
    """One line names it; twice is still borne."""

    def script(number: int) -> FakeWorker:
        return FakeWorker(KILLED, CAUSE) if number < workers * events else FakeWorker(0)

    expected = f"tiny: {CAUSE}, 3 times with no report of a trial in between (signal 9)"
    assert (expected if events == 3 else None) == ended_by(supervise(workers, script, 4 * workers))


def test_a_report_in_between_is_progress(supervise: Callable[..., FakeLauncher]) -> None:
    """However often the cause comes, the run goes on."""

    def script(number: int) -> FakeWorker:
        return FakeWorker(KILLED, CAUSE) if number < 12 else FakeWorker(0)

    assert ended_by(supervise(2, script, 14, progress=True)) is None


def test_a_death_without_a_log_is_told_by_its_last_words(
    supervise: Callable[..., FakeLauncher], caplog: pytest.LogCaptureFixture
) -> None:
    """No message names a file that does not exist."""
    with caplog.at_level(logging.WARNING):
        found = supervise(1, lambda _: FakeWorker(1))
    assert {"a worker died (status 1): its last words"} == {
        each.getMessage() for each in caplog.records
    }
    assert (ended_by(found) or "").endswith("without finishing a trial (its last words)")


def test_every_worker_is_launched_under_an_id_of_its_own(
    supervise: Callable[..., FakeLauncher],
) -> None:
    """By which its launcher can say what ended it."""
    found = supervise(3, lambda _: FakeWorker(0), 5)
    ids = {job.launch.id for job in found.started if job.launch}
    assert 5 == len(ids) == len(found.started)


@pytest.mark.parametrize("expired", [1, 2])
def test_leases_that_all_ran_out_are_one_event(bed: Workspace, expired: int) -> None:
    """Of one worker alone it is that worker's; each is counted once."""
    stored = bed.create()
    leases = Leases(bed.storage)
    ids = ["a" * 32, "b" * 32]
    workers = [_registered(bed, stored, each) for each in ids]
    for worker in workers[:expired]:
        leases_module.end_worker(bed.storage, worker, attempts.EXPIRED)
    assert [expired == 2, False] == [leases.all_ran_out(ids) for _ in range(2)]


def test_the_lease_of_a_lone_worker_is_no_shared_event(bed: Workspace) -> None:
    """It counts for its configuration, which is set aside in the end; the run goes on."""
    stored = bed.create()
    leases = Leases(bed.storage)
    for launch_id in ("a" * 32, "b" * 32, "c" * 32):
        worker = _registered(bed, stored, launch_id)
        leases_module.end_worker(bed.storage, worker, attempts.EXPIRED)
        assert not leases.all_ran_out([launch_id])


def test_a_worker_that_is_refused_ends_the_run_with_the_reason(bed: Workspace) -> None:
    """A study that another program deleted is no crash: each next worker would be refused too."""
    launcher = FakeLauncher(2, lambda _: FakeWorker(Refused.exit_status))
    work = FakeWork(math.inf, launcher, lambda: 0, study_uid="a" * 32)
    job = Job(bed.url, str(bed.data_dir.root), None, 1, "cpu")
    with pytest.raises(Refused, match="its last words"):
        Supervisor(bed.storage, work, launcher, job, lambda: None).run()
    assert 2 == len(launcher.started)


def _registered(bed: Workspace, stored: Any, launch_id: str) -> str:
    return leases_module.register_worker(bed.storage, stored, Launch(launch_id, "here", 1))
