"""Two hosts with a worker each, and a database server between them that one of them loses."""

import random

from workspace import wait_until

from .harness import SHORT_LEASE, FaultRun, attempts, check, check_stored_losses, ended, fault
from .namespaces import Network, listening, network_of
from .scenarios import Scenario

EVICTED = "SELECT id FROM makemore_workers WHERE host LIKE 'cut%' AND ended_at IS NOT NULL"


def cut_off(place: FaultRun, rng: random.Random) -> None:
    """A cable is out for longer than the lease of who hangs on it, and back in.

    Others have its trial by then: what it still sends is refused, and it claims anew.
    """
    place.trials = 3
    place.write_study()
    with network_of("cut", "well") as network, listening(place.server, network, place.url) as url:
        cut, well = (host(place, network, name, url) for name in ("cut", "well"))
        place.call("submit", place.study_file).expect(0)
        phase = rng.choice(("training", "reporting", "telling"))
        cut.plan(fault(phase, 1, "pause", role="launcher"))
        workers = [cut.start("worker", "faults")]
        cut.wait_until_paused()  # outside of every transaction
        workers.append(well.start("worker", "faults"))  # sooner, it might take every trial
        network.unplug("cut")
        cut.go_on()
        wait_until(lambda: place.query(EVICTED), timeout=120)
        network.plug("cut")
        for worker in workers:
            ended(worker).expect(0)
    place.note_struck(phase)
    check(place)
    assert ["killed"] == [each.reason for each in attempts(place) if each.outcome == "failed"]
    assert {("cut",), ("well",)} == set(place.query("SELECT host FROM makemore_workers"))
    for each in (cut, well):
        each.url = place.url
        check_stored_losses(each)


def host(place: FaultRun, network: Network, name: str, url: str) -> FaultRun:
    """A host: a data directory of its own, and nothing in common but the database."""
    root = place.root / name
    root.mkdir()
    return FaultRun(root, url, constants=dict(SHORT_LEASE), before=network.on(name))


SCENARIOS = [
    Scenario("a host cut off for longer than its lease, and back", cut_off, 3, ("postgresql",))
]
