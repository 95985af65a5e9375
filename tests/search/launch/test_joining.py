"""A worker by hand or by batch system: it joins from anywhere, leaves on SIGTERM, and says how."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from servers import new_database
from workspace import Workspace, ended, invoke, wait_until

pytestmark = pytest.mark.hosts

DONE, INTERRUPTED = 0, 130


def test_workers_join_and_leave(bed: Workspace, postgresql_server: Any) -> None:
    """With the storage's URL and nothing else: neither the corpus nor a data directory is there.
    SIGTERM ends a worker within seconds, its trial recorded as interrupted; the last one leaves
    with status 0 when the budget is met."""
    url, shared = new_database(postgresql_server), bed.root / "shared"
    shared.mkdir()
    file = bed.file(budget={"trials": 2, "examples": 10_000_000}, pruner={"kind": "none"})
    _on(bed.data_dir.root, url, "submit", file, "--artifacts", shared)
    shutil.rmtree(bed.data_dir.root)
    (bed.root / "words.txt").unlink()
    file.unlink()

    first = Workspace(bed.root / "first")
    first.root.mkdir()
    leaving = first.start("worker", "tiny", "--storage", url)
    wait_until(lambda: ["running"] == _states(url, first), timeout=120)
    leaving.send_signal(signal.SIGTERM)
    told = time.monotonic()
    assert INTERRUPTED == ended(leaving).status
    assert 30 > time.monotonic() - told
    assert ["failed: interrupted"] == _states(url, first)

    second = Workspace(bed.root / "second")
    second.root.mkdir()
    assert DONE == ended(second.start("worker", "tiny", "--storage", url), timeout=180).status
    assert ["failed: interrupted", "complete", "complete"] == _states(url, second)
    assert DONE == ended(second.start("worker", "tiny", "--storage", url)).status, "too late"


def _states(url: str, host: Workspace) -> list[str]:
    """How each trial stands."""
    trials = _on(host.data_dir.root, url, "trials", "tiny")
    return [": ".join(filter(None, (each["state"], each["reason"]))) for each in trials]


def _on(data_dir: Path, url: str, *arguments: Any) -> Any:
    answer = invoke(*arguments, "--data-dir", data_dir, "--storage", url, "--json")
    assert 0 == answer.status, answer.err
    return answer.json
