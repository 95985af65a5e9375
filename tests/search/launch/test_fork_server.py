"""The process that starts the workers of this machine."""

import hashlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from numba.core import config
from workspace import Workspace, ended, wait_until

from makemore_core.training import kernel_cache, kernels
from makemore_core.training.kernel_cache import HASH_BYTES
from makemore_core.training.warm_up import warm_up
from search.launch import local
from search.system.processes import HOST, is_dead

LASTING = {"trials": 200, "examples": 1_000_000}
"""A budget that no machine is through with before it is signalled."""


@pytest.mark.parametrize(
    ("way", "threads"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.long)]
)
def test_workers_are_forked_or_spawned(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, way: str, threads: int
) -> None:
    """Either way, and however many threads they use, they meet the budget, each with a log."""
    monkeypatch.setattr(local, "START_METHOD", way)
    view = bed.json("run", bed.file(), "--workers", 2, "--threads", threads)
    assert {"trials": 12, "finished": 12} == view["budget"]
    logs = [path.read_text() for path in bed.data_dir.root.glob("logs/*")]
    assert ["ended: the budget is met"] * 2 == [log.strip()[-24:] for log in logs], logs


def test_a_nursery_forks_before_it_has_threads(bed: Workspace) -> None:
    """A fork copies only the thread that forks: others might hold a lock for ever."""
    run = bed.start("run", bed.file(budget=LASTING), "--workers", 2, "--threads", 2)
    fork_server = wait_until(lambda: _child_of(run.pid))
    wait_until(lambda: _child_of(fork_server))
    assert 1 == len([*Path(f"/proc/{fork_server}/task").iterdir()])
    run.send_signal(signal.SIGINT)
    assert 130 == ended(run).status


def test_a_signal_while_the_workers_load_is_not_waited_for(bed: Workspace) -> None:
    """Exit 130, and the process that loads them has gone."""
    run = bed.start("run", bed.file(budget=LASTING), "--workers", 2)
    fork_server = wait_until(lambda: _child_of(run.pid))
    run.send_signal(signal.SIGINT)
    answer = ended(run)
    assert 130 == answer.status, answer.err
    assert "Traceback" not in answer.err
    wait_until(lambda: is_dead(HOST, fork_server))


def test_what_kills_every_worker_is_told_by_its_last_words(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where it is the process that is to start them that cannot: exit 1, and its reason."""
    broken = tmp_path / "broken"
    broken.mkdir()
    broken.joinpath("torch.py").write_text("raise OSError('no such library')")
    environment = os.environ | {"PYTHONPATH": str(broken)}
    answer = ended(bed.start("run", bed.file(), "--workers", 2, env=environment))
    assert 1 == answer.status, answer.err
    assert "the process that starts the workers died, 3 times" in answer.err
    assert "OSError: no such library" in answer.err


def test_a_broken_cache_of_kernels_costs_one_line(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that was cut to nothing is replaced by a whole one; no worker dies of it."""
    warm_up()
    (kept,) = {path.parent for path in _files_of("update_sgd") if path.exists()}
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    (broken,) = _files_of("update_sgd")
    shutil.copytree(kept, broken.parent, ignore=shutil.ignore_patterns("*.pyc", "*.nbi"))
    broken.write_bytes(b"")
    file = bed.file(budget={"trials": 4})
    answer = ended(bed.start("run", file, "--workers", 2, "--quiet"))
    assert 0 == answer.status, answer.err
    assert str(broken) in answer.complaint
    recorded, content = broken.read_bytes()[:HASH_BYTES], broken.read_bytes()[HASH_BYTES:]
    assert recorded == hashlib.sha256(content).digest()


def _files_of(kernel: str) -> list[Path]:
    """Where the compiled code of a kernel with one signature lies, or would."""
    dispatcher = getattr(kernels, kernel)
    (signature,) = dispatcher.signatures
    name = dispatcher._cache._name(signature, dispatcher.targetctx.codegen())
    return [each / name for each in kernel_cache._directories(Path(kernels.__file__))]


def _child_of(pid: int) -> Any:
    """A child of a process, as long as it is there."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, parent = path.parent.name, int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            return int(name)
    return None
