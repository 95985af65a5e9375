"""Kills aimed at the phases of an attempt; the long suite (`python -m tests.faults`) has them all.

Kills share one study where they can: to start a worker costs seconds.
"""

import random
from collections.abc import Callable

import pytest

from . import scenarios
from .harness import FaultRun, attempts, check, fault

pytestmark = pytest.mark.long

Act = Callable[[Callable[[FaultRun, random.Random], None]], None]


def in_every_phase(place: FaultRun, rng: random.Random) -> None:
    """One study; a worker dies in each phase, each time at another slot."""
    phases = ["claimed", "created", "training", "reported", "checkpointing", "slot settled"]
    phases += ["claiming", "asking", "told"]
    place.trials = len(phases)
    place.write_study()
    faults = []
    for ordinal, phase in enumerate(phases):
        slot = {} if phase.startswith("claim") else {"ordinal": ordinal}
        action = "tear and die" if phase == "checkpointing" else "die"
        at = ordinal + 1 if phase.startswith("claim") else None
        faults.append(fault(phase, at, action, times=1, **slot))
    place.plan(*faults)
    place.finish()
    assert sorted(place.struck()) == sorted(phases)
    check(place)
    lost = {a.reason for a in attempts(place) if a.outcome == "failed"}
    assert {"killed"} == lost


def test_a_worker_may_die_in_any_phase(act: Act) -> None:
    """Claiming, asking, creating, training, reporting, checkpointing, telling: each trial is tried
    again once, from its newest snapshot, and the study ends as if nothing had happened."""
    act(in_every_phase)


def test_a_worker_may_die_in_any_phase_on_postgresql(act_on_postgresql: Act) -> None:
    """As on SQLite."""
    act_on_postgresql(in_every_phase)


def test_the_launcher_and_its_last_worker_may_die_together(act: Act) -> None:
    """Nobody is left to notice; the same command goes on."""
    act(scenarios.kill_launcher_and_worker)


def test_the_process_that_starts_the_workers_may_die(act: Act) -> None:
    """Its workers leave in good order, and the launcher gets others."""
    act(scenarios.kill_nursery)


def test_the_process_that_starts_six_workers_may_die(act: Act) -> None:
    """One event: no configuration is blamed, and the run meets its budget."""
    act(scenarios.kill_starter_of_six)


def test_the_process_that_starts_the_workers_of_a_service_may_die(act: Act) -> None:
    """The service goes on."""
    act(scenarios.kill_starter_of_serve)


def test_a_cause_that_comes_three_times_without_a_report_ends_the_run(act: Act) -> None:
    """Exit 1, and one line names it."""
    act(scenarios.kill_every_starter)


def test_a_cause_with_reports_in_between_ends_nothing(act: Act) -> None:
    """However often it comes."""
    act(scenarios.kill_starters_now_and_then)


def test_a_configuration_that_goes_down_with_its_host_is_never_blamed(act: Act) -> None:
    """Launcher, starter and workers, killed together five times."""
    act(scenarios.kill_everything)


def test_clocks_that_are_set_end_no_trial(act: Act) -> None:
    """Neither the timeout nor a lease is reached by the clock alone."""
    act(scenarios.set_clocks)


def test_clocks_that_are_set_end_no_trial_on_postgresql(act_on_postgresql: Act) -> None:
    """As on SQLite."""
    act_on_postgresql(scenarios.set_clocks)


def test_optuna_reads_the_times_of_another_zone(act: Act) -> None:
    """To the second, in whatever zone it is read."""
    act(scenarios.another_zone)


def test_a_configuration_whose_lease_runs_out_is_set_aside(act: Act) -> None:
    """After four."""
    act(scenarios.expiring_configuration)


def test_a_host_on_which_no_lease_is_renewed_stops(act: Act) -> None:
    """After three times, with the budget left."""
    act(scenarios.leases_of_nobody)


def test_a_configuration_that_kills_its_workers_is_set_aside(act: Act) -> None:
    """After two."""
    act(scenarios.deadly_configuration)


def test_a_host_on_which_everything_dies_stops(act: Act) -> None:
    """Exit 1, with the budget left."""
    act(scenarios.deadly_host)


def test_a_worker_stopped_past_its_lease_is_refused(act: Act) -> None:
    """When it comes back, others have its trial."""
    act(scenarios.stop_past_lease)
