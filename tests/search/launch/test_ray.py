"""What `run --ray` refuses before it makes anything."""

import os
from pathlib import Path

import pytest
from workspace import Answer, Workspace, ended, tree

pytestmark = pytest.mark.hosts

REFUSED = 2


def _run(bed: Workspace, *options: str, path: Path | None = None) -> Answer:
    """`run` in a process of its own, since Ray leaves threads behind."""
    file = bed.file()
    before = tree(bed.root)
    places = [str(path)] * (path is not None) + [os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    answer = ended(bed.start("run", file, *options, env=environment))
    assert before == tree(bed.root), "something was created"
    return answer


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere"])
def test_an_unreachable_cluster_is_refused(bed: Workspace, address: str) -> None:
    """At once, in one line that says what would be right."""
    answer = _run(bed, "--ray", address)
    assert REFUSED == answer.status
    assert f"--ray {address}" in answer.complaint
    assert "ray start" in answer.complaint


def test_ray_may_be_missing(bed: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It belongs to an extra, and the complaint names it."""
    path = tmp_path_factory.mktemp("without")
    (path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\")")
    answer = _run(bed, "--ray", "auto", path=path)
    assert REFUSED == answer.status
    assert "pip install 'makemore-search[cluster]'" in answer.complaint


@pytest.mark.parametrize("option", ["--cpus-per-worker", "--gpus-per-worker"])
def test_a_share_of_a_cluster_needs_a_cluster(bed: Workspace, option: str) -> None:
    """Local workers have no such thing."""
    answer = bed.cli("run", bed.file(), option, 1)
    assert REFUSED == answer.status
    assert "--ray" in answer.complaint


@pytest.mark.parametrize("share", ["1.5", "0.00001"])
def test_a_share_is_what_ray_can_count_with(bed: Workspace, share: str) -> None:
    """Whole GPUs, or a fraction of one."""
    answer = _run(bed, "--ray", "local", "--gpus-per-worker", share)
    assert REFUSED == answer.status
    assert "--gpus-per-worker" in answer.complaint
