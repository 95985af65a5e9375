"""Workers on Ray clusters: a node that dies in the middle of a trial, a drain, a wrong storage."""

import contextlib
import ctypes
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from servers import new_database
from workspace import wait_until

from .cluster import QUIET, Cluster, cluster
from .harness import SHORT_LEASE, FaultRun, attempts, check, ended, fault

pytestmark = pytest.mark.hosts

PASSWORD = "s3cret/p{a}ss"


def test_a_node_of_a_ray_cluster_may_die(postgresql_server: Any, tmp_path: Path) -> None:
    """Its trial is given back by the lease and tried again, from its snapshot, on another node;
    Ray puts a new worker on the node that joins; the budget and the invariants hold, and the
    storage's password stands nowhere in what Ray shows and writes."""
    url = sa.make_url(new_database(postgresql_server)).set(password=PASSWORD)
    place = FaultRun(
        tmp_path,
        url.render_as_string(hide_password=False),
        trials=6,
        examples=300_000,
        constants=SHORT_LEASE,
        server=postgresql_server,
    )
    with cluster(place) as ray:
        place.plan(fault("claiming", 3, "pause", role="launcher"))  # and leaves some to others
        ray.add("head")
        place.plan()
        ray.add("doomed")
        process = place.run("--ray", ray.address, workers=2)
        wait_until(lambda: _snapshots_of(place, "doomed"), timeout=120)
        assert PASSWORD not in _command_lines(ray, "head", "doomed")
        ray.kill("doomed")
        ray.add("fresh")
        wait_until(lambda: "fresh" in _hosts(place), timeout=120)
        ray.go_on("head")
        place.finish(process, timeout=180)
        assert {"head", "doomed", "fresh"} == _hosts(place)
        assert [] == [path for path, content in ray.files() if PASSWORD.encode() in content]
    check(place)
    assert ["killed"] == [each.reason for each in attempts(place) if each.outcome == "failed"]


def test_ctrl_c_drains_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials under way are recorded as interrupted, and the same command, here without Ray,
    goes on from their snapshots."""
    place = FaultRun(
        tmp_path, f"sqlite:///{tmp_path}/runs/studies.db", trials=3, examples=1_000_000
    )
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:
        for variable, value in (QUIET | {"RAY_TMPDIR": temporary}).items():
            monkeypatch.setenv(variable, value)
        command = ("run", place.study_file, "--workers", 2, "--ray", "local", "--quiet")
        process = place.start(*command, start_new_session=True)
        place.wait_for("snapshot")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: Ray's processes hear it too
        ended(process).expect(130)
    assert {"interrupted"} == {each.reason for each in attempts(place) if each.outcome == "failed"}
    place.finish()
    check(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a process a host name of its own")
def test_a_file_is_no_storage_for_several_hosts(tmp_path: Path) -> None:
    """SQLite is refused where the cluster has other hosts than the launcher's."""
    place = FaultRun(tmp_path, f"sqlite:///{tmp_path}/runs/studies.db")
    with cluster(place) as ray:
        ray.add("head")
        command = ("run", place.study_file, "--ray", ray.address)
        process = place.start(*command, preexec_fn=_move_to_another_host)
        ended(process).refused(2, "SQLite", "postgresql+psycopg://")
    assert not place.data_dir.exists()


def _move_to_another_host() -> None:
    """Gives this process another host name."""
    new_namespace = 0x04000000  # CLONE_NEWUTS
    assert 0 == ctypes.CDLL(None).unshare(new_namespace)
    socket.sethostname("elsewhere")


def _snapshots_of(place: FaultRun, host: str) -> bool:
    """Whether a trial that is under way on a host has a snapshot."""
    return bool(
        place.try_query(
            "SELECT 1 FROM makemore_slots s JOIN makemore_workers w ON w.id = s.worker_id "
            f"WHERE s.state = 'claimed' AND w.host = '{host}' AND s.snapshots::text <> '[]'"
        )
    )


def _hosts(place: FaultRun) -> set[str]:
    """Where workers have been."""
    return {row.host for row in place.query("SELECT host FROM makemore_workers")}


def _command_lines(ray: Cluster, *nodes: str) -> str:
    pids = [pid for name in nodes for pid in ray.processes(name)]
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):  # Ray ends an idle process at any moment
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
    return "\n".join(found)
