"""A Ray cluster whose node dies in the middle of a trial."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from bed import wait_until
from servers import new_database

from .cluster import Cluster, cluster
from .harness import SHORT_LEASE, Place, attempts, check

PASSWORD = "s3cret/p{a}ss"


def test_a_node_of_a_ray_cluster_may_die(postgresql_server: Any, tmp_path: Path) -> None:
    """Its trial is given back by the lease and tried again, from its snapshot, on another node;
    Ray puts a new worker on the node that joins; the budget and the invariants hold, and the
    storage's password stands nowhere in what Ray shows and writes."""
    url = sa.make_url(new_database(postgresql_server)).set(password=PASSWORD)
    place = Place(
        tmp_path,
        url.render_as_string(hide_password=False),
        trials=6,
        examples=300_000,
        constants=SHORT_LEASE,
        server=postgresql_server,
    )
    with cluster(place) as ray:
        ray.add("head")
        ray.add("doomed")
        process = place.run("--ray", ray.address, workers=2)
        wait_until(lambda: _snapshots_of(place, "doomed"), timeout=120)
        assert PASSWORD not in _command_lines(ray, "head", "doomed")
        ray.kill("doomed")
        ray.add("fresh")
        place.finish(process, timeout=180)
        assert {"head", "doomed", "fresh"} == _hosts(place)
        assert [] == [path for path, content in ray.files() if PASSWORD.encode() in content]
    check(place)
    assert ["killed"] == [each.reason for each in attempts(place) if each.outcome == "failed"]


def _snapshots_of(place: Place, host: str) -> bool:
    """Whether a trial that is under way on a host has a snapshot."""
    return bool(
        place.try_query(
            "SELECT 1 FROM makemore_slots s JOIN makemore_workers w ON w.id = s.worker_id "
            f"WHERE s.state = 'claimed' AND w.host = '{host}' AND s.snapshots::text <> '[]'"
        )
    )


def _hosts(place: Place) -> set[str]:
    """Where workers have been."""
    return {row.host for row in place.query("SELECT host FROM makemore_workers")}


def _command_lines(ray: Cluster, *nodes: str) -> str:
    pids = [pid for name in nodes for pid in ray.processes(name)]
    return "\n".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)
