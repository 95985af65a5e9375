"""Databases and disks that fail; the long suite (`python -m tests.faults`) has more."""

import random
from collections.abc import Callable
from functools import partial

import pytest

from . import kth_call, scenarios
from .harness import FaultRun

pytestmark = pytest.mark.long

Act = Callable[[Callable[[FaultRun, random.Random], None]], None]


def test_a_full_disk_pauses_the_study(act: Act) -> None:
    """It says so, loses nothing, and goes on when there is room."""
    act(scenarios.full_disk)


def test_a_damaged_snapshot_falls_back(act: Act) -> None:
    """A pickle in the place of the newest never runs; the one before it is used."""
    act(scenarios.damage("pickle"))


def test_postgresql_restarted_during_the_last_tell(act_on_postgresql: Act) -> None:
    """The finished result is held until it is stored."""
    act_on_postgresql(scenarios.restart_during_tell)


def test_a_signal_while_postgresql_is_away(act_on_postgresql: Act) -> None:
    """Launcher and workers leave without it."""
    act_on_postgresql(scenarios.terminate_without_database)


def test_postgresql_down_at_the_start(act_on_postgresql: Act) -> None:
    """Refused in a line without the password."""
    act_on_postgresql(scenarios.down_at_the_start)


@pytest.mark.parametrize("kind", kth_call.KINDS)
def test_the_kth_call_fails(act: Act, kind: str) -> None:
    """Two of the calls, once each; the long suite tries every third, once and for good."""
    act(partial(two_calls, kind=kind))


def two_calls(place: FaultRun, rng: random.Random, kind: str) -> None:
    """One early in a study's life, one in the middle of a trial."""
    assert 2 == kth_call.sweep(place, kind, False, step=3, start=rng.randint(2, 4), most=2)
