"""Confirmation: fresh seeds, what they cost, and what can be believed afterwards."""

import errno
import os
import statistics
from collections.abc import Sequence
from multiprocessing import synchronize
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace import Workspace

from search.confidence_intervals import mean_over_seeds
from search.evaluation import candidates, confirm, training_pool
from search.evaluation.training_pool import Calibration, Retraining
from search.study import study
from search.trials import confirmations
from search.trials.confirmations import ConfirmedModel

SECONDS = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12)


@given(SECONDS, st.integers(1, 5))
def test_the_announced_time_has_the_tail_in_it(seconds: list[float], processes: int) -> None:
    """No process fetches a job while another is idle: between the mean load and that plus the
    longest job; never less than the longest."""
    found = candidates.makespan(seconds, processes)
    mean = sum(seconds) / processes
    assert max(mean, max(seconds)) <= found * (1 + 1e-9)
    assert found <= (mean + max(seconds)) * (1 + 1e-9)


class KnownPool:
    """A pool whose speed is known."""

    processes = 2

    def calibrate(self, jobs: Sequence[Retraining]) -> dict[int, Calibration]:
        found = {1: Calibration(2.0, 1.0, 0.25), 2: Calibration(1.0, 3.0, 0.5)}
        return {job.trial: found[job.trial] for job in jobs}


@pytest.mark.parametrize(("size", "expected"), [(0, 32.0 + 3.0), (5, 32.0 + 6.0)])
def test_each_configuration_is_announced_at_its_own_speed(size: int, expected: float) -> None:
    """One trains at half its speed of before and the other starts slowly; and the losses of dev
    words are evaluated for each model, also the four of before, for an ensemble again."""
    jobs = [Retraining(1, k, k, {}, [5.0, 10.0]) for k in range(2)]
    jobs += [Retraining(2, k, k, {}, [4.0, 8.0]) for k in range(2)]
    data: Any = SimpleNamespace(dev_words=("ab",))
    announced = confirm._estimate_seconds(KnownPool(), jobs, data, 0, size, 4)  # type: ignore[arg-type]
    assert expected == pytest.approx(announced, abs=0.2)


@pytest.mark.parametrize(
    ("expected", "seconds", "processes"),
    [(9.0, [3.0, 3.0, 3.0], 1), (6.0, [3.0, 3.0, 3.0], 2), (10.0, [10.0, 1.0, 1.0], 2)],
)
def test_jobs_are_fetched_one_after_the_other(
    expected: float, seconds: list[float], processes: int
) -> None:
    """By hand: three equal jobs on two processes take two rounds; a long one hides two short."""
    assert expected == candidates.makespan(seconds, processes)


def test_the_longest_training_comes_first(finished: Workspace) -> None:
    """A long one that came last would leave the other processes idle."""
    jobs = candidates.plan_retrainings(
        finished.storage, study.resolve(finished.storage, "tiny"), 2, 2
    )
    expected = [job.expected_seconds for job in jobs]
    assert sorted(expected, reverse=True) == expected
    assert 4 == len({job.key for job in jobs})


@pytest.mark.long
def test_what_was_announced_stands_beside_what_it_took(finished: Workspace) -> None:
    """Both in seconds; a confirmation that finds all done announces nothing, and says the same."""
    options = ("--top", 2, "--seeds", 2, "--workers", 1)
    first = finished.json("confirm", "tiny", *options)
    assert 0 < first["announced_seconds"]
    again = finished.json("confirm", "tiny", *options)
    assert again["announced_seconds"] is None
    timed = {"announced_seconds", "seconds"}
    assert {k: v for k, v in first.items() if k not in timed} == {
        k: v for k, v in again.items() if k not in timed
    }
    told = finished.cli("confirm", "tiny", "--top", 2, "--seeds", 3, "--workers", 1)
    assert "2 trainings on 1 processes" in told.err
    assert "(announced " in told.out


@pytest.mark.usefixtures("trained_here")
def test_every_number_has_its_interval(finished: Workspace) -> None:
    """Means have one over seeds and one over words, the optimism one over seeds; a single seed has
    none, and that is said."""
    view = finished.json("confirm", "tiny", "--top", 2, "--seeds", 3, "--workers", 1)
    best = finished.json("best", "tiny")
    for row in view["candidates"]:
        low, high = row["dev_loss_mean_ci95"]
        assert low < row["dev_loss_mean"] < high
        low, high = row["dev_loss_ci95"]
        assert low < row["dev_loss_mean"] < high
    (own,) = (row for row in view["candidates"] if row["trial"] == best["trial"])
    assert pytest.approx(best["dev_loss"] - own["dev_loss_mean"]) == view["optimism"]
    low, high = view["optimism_ci95"]
    assert low < view["optimism"] < high


@pytest.mark.usefixtures("trained_here")
def test_a_single_seed_has_no_interval(finished: Workspace) -> None:
    """`confirm` says so where the interval would stand."""
    told = finished.cli("confirm", "tiny", "--top", 1, "--seeds", 1, "--workers", 1).out
    assert "one seed: no interval" in told


def test_the_interval_of_a_mean_is_students() -> None:
    """2.776 standard errors for five seeds, by the table; none for one."""
    losses = [2.0, 2.1, 2.2, 2.3, 2.4]
    half = 2.776 * statistics.stdev(losses) / 5**0.5
    assert pytest.approx((2.2 - half, 2.2 + half), abs=1e-4) == mean_over_seeds(losses)
    assert mean_over_seeds([2.0]) is None


def test_no_shared_memory_is_needed(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /dev/shm, there are no semaphores; `confirm` does without."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(synchronize.SemLock, "__init__", refused)
    options = ("--top", 1, "--seeds", 1, "--workers", 1)
    assert 1 == len(finished.json("confirm", "tiny", *options)["candidates"])


def test_a_training_process_that_dies_is_told(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1, in a line; what was done is kept."""
    begin = training_pool.TrainingPool.calibrate

    def killed(
        pool: training_pool.TrainingPool, jobs: Sequence[training_pool.Retraining]
    ) -> dict[int, training_pool.Calibration]:
        pace = begin(pool, jobs)
        pool._members[0]._process.kill()
        return pace

    monkeypatch.setattr(training_pool.TrainingPool, "calibrate", killed)
    answer = finished.cli("confirm", "tiny", "--top", 1, "--seeds", 1, "--quiet")
    assert 1 == answer.status
    assert "a training process died" in answer.complaint


def test_a_model_is_recorded_once(bed: Workspace) -> None:
    """Also where the answer to its first record was lost, and it is recorded again."""
    stored = bed.create()
    model = ConfirmedModel(0, 0, 1, 2.5, None, 1.0, "0" * 64)
    for _ in range(2):
        candidates._record(bed.storage, stored, model)
    assert [model] == confirmations.models(bed.storage, stored)
