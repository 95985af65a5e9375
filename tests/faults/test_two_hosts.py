"""Two hosts, in network namespaces."""

import random
from collections.abc import Callable

import pytest

from . import two_hosts
from .harness import FaultRun

pytestmark = pytest.mark.hosts

Act = Callable[[Callable[[FaultRun, random.Random], None]], None]


def test_a_host_that_was_cut_off_counts_nothing_twice(act_on_postgresql: Act) -> None:
    """Longer than its lease, and back: exactly the budget, and every promise of the fault suite."""
    act_on_postgresql(two_hosts.cut_off)
