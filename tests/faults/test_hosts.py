"""A host dies in the middle of a trial; others, with nothing but the storage, go on from there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workspace import invoke

from .harness import FaultRun, check, ended, fault

pytestmark = pytest.mark.hosts


@pytest.fixture
def host(tmp_path: Path) -> FaultRun:
    return FaultRun(tmp_path, f"sqlite:///{tmp_path}/runs/studies.db", trials=2, examples=500_000)


def test_an_empty_host_resumes_what_a_killed_one_began(host: FaultRun, place: str) -> None:
    """From the snapshot in the shared place; every curve is the undisturbed one, bit for bit."""
    told = invoke("submit", host.study_file, "--artifacts", place, *at(host))
    assert 0 == told.status, told.err
    host.plan(fault("snapshot recorded", 2, "die", role="launcher"))
    assert -9 == ended(host.start("worker", "faults")).status
    second = replace(host, host="second")
    second.call("worker", "faults", timeout=120).expect(0)
    check(second)
    assert any(event["step"] > 0 for event in second.events("resume"))


def at(host: FaultRun) -> tuple[Any, ...]:
    return "--data-dir", host.data_dir, "--storage", host.url, "--json"
