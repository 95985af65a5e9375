"""Which temporary files are left alone: those that may have a writer."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from makemore_core.model import checkpoint
from makemore_core.model.snapshot import Snapshot
from search.trials import retention
from search.trials.retention import ABANDONED_SECONDS, delete_stale_temporaries


def temporary(directory: Path, pid: int, age: float) -> Path:
    path = directory / f"trial-3.safetensors.{pid}.tmp"
    path.write_bytes(b"half a model")
    os.utime(path, times=(time.time() - age,) * 2)
    return path


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_dead_writers_file_is_deleted_once_it_is_old(tmp_path: Path, dead: int) -> None:
    """A young one may be another host's, whose processes are not known here."""
    path = temporary(tmp_path, dead, 0.5 * ABANDONED_SECONDS)
    delete_stale_temporaries(tmp_path)
    assert [path] == list(tmp_path.iterdir())

    temporary(tmp_path, dead, 2 * ABANDONED_SECONDS)
    delete_stale_temporaries(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_being_written_stays_however_old_it_looks(tmp_path: Path) -> None:
    """As after the clock was set forward by eight hours."""
    path = temporary(tmp_path, os.getpid(), 8 * 3600.0)
    delete_stale_temporaries(tmp_path)
    assert [path] == list(tmp_path.iterdir())


def test_a_checkpoint_under_way_names_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the way in which it is read here."""
    under_way: list[Path] = []
    monkeypatch.setattr(checkpoint, "_sync", lambda _: under_way.extend(tmp_path.glob("*.tmp")))
    snapshot = Snapshot({"weights": torch.zeros(2)}, {"step": 1})
    checkpoint.save_snapshot(tmp_path / "slot-0-step-1.safetensors", snapshot, {})
    assert [os.getpid()] == [retention._writer(path) for path in under_way]


def test_another_programs_temporary_file_stays(tmp_path: Path) -> None:
    """Its name tells of no process of ours."""
    path = tmp_path / "upload.tmp"
    path.touch()
    os.utime(path, times=(0.0, 0.0))
    delete_stale_temporaries(tmp_path)
    assert [path] == list(tmp_path.iterdir())
