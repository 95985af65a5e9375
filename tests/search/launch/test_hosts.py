"""A study on several hosts that share a database and a place for model files, and nothing else."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import new_bucket
from workspace import InterruptedAfter, Workspace, invoke, never

from search.errors import Interrupted
from search.paths import DataDir
from search.storage.artifact_stores import open_store
from search.study import study
from search.study.study import StoredStudy
from search.trials.retention import KEPT_CHECKPOINTS
from search.worker import process
from search.worker.job import Job

pytestmark = pytest.mark.hosts


def work_on(
    bed: Workspace, host: str, stored: StoredStudy, until: Callable[[], bool] = never
) -> DataDir:
    """One worker's life with a data directory of its own."""
    data_dir = DataDir(bed.root / host)
    job = Job(bed.url, str(data_dir.root), stored.uid, 1, "cpu", None)
    process.run_job_in(job, until)  # type: ignore[arg-type]
    return data_dir


def names(place: str, stored: StoredStudy, start: str) -> set[str]:
    return {name for name in open_store(place).names(stored.uid) if name.startswith(start)}


def test_a_host_goes_on_where_another_stopped(bed: Workspace, place: str) -> None:
    """From its snapshot, without the user's files: each trial is what it would have been."""
    undisturbed = bed.create(study={"name": "undisturbed"})
    bed.work(undisturbed)
    stored = bed.create(artifacts=place)
    (bed.root / "words.txt").unlink()
    snapshots = set()
    for host, looks in enumerate((4, 8, 13)):
        with pytest.raises(Interrupted):
            work_on(bed, f"host {host}", stored, InterruptedAfter(looks))
        snapshots |= names(place, stored, "slot-")
    work_on(bed, "last host", stored)
    assert bed.outcomes(undisturbed) == bed.outcomes(stored)
    assert set() == names(place, stored, "slot-")
    assert snapshots
    retried = [trial for trial in bed.trials(stored) if trial.retry_of is not None]
    assert len(snapshots) == len(retried)
    assert not (bed.data_dir.checkpoints(stored.uid)).exists()


def test_what_goes_here_goes_there(bed: Workspace, place: str) -> None:
    """The store keeps what a data directory would: the best trials' checkpoints, and no more."""
    stored = bed.create(
        artifacts=place, pruner={"kind": "none"}, budget={"trials": KEPT_CHECKPOINTS + 4}
    )
    with pytest.raises(Interrupted):
        work_on(bed, "host", stored, InterruptedAfter(100))
    here = work_on(bed, "another host", stored).checkpoints(stored.uid)
    kept = names(place, stored, "")
    assert KEPT_CHECKPOINTS == len(kept)
    assert kept >= {path.name for path in here.iterdir()}
    study.delete_study(bed.storage, stored, DataDir(bed.root / "another host"))
    assert set() == names(place, stored, "")


def test_a_checkpoint_waits_for_its_place(
    bed: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is gone for a while holds up whoever has a model for it; none is lost."""
    place, away = tmp_path / "shared", tmp_path / "away"
    place.mkdir()
    stored = bed.create(artifacts=str(place), budget={"trials": 2}, pruner={"kind": "none"})
    place.rename(away)

    def bring_back() -> None:
        while "trying again" not in caplog.text:
            time.sleep(0.02)
        away.rename(place)

    helper = threading.Thread(target=bring_back)
    helper.start()
    work_on(bed, "host", stored)
    helper.join()
    assert {"trial-0.safetensors", "trial-1.safetensors"} == names(str(place), stored, "")
    assert "answers again" in caplog.text


def test_a_snapshot_does_without_its_place(
    bed: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its host can go on from it; another host begins the trial anew, which ends the same."""
    undisturbed = bed.create(study={"name": "undisturbed"}, budget={"trials": 2})
    bed.work(undisturbed)
    place, away = tmp_path / "shared", tmp_path / "away"
    place.mkdir()
    stored = bed.create(artifacts=str(place), budget={"trials": 2})
    place.rename(away)
    with pytest.raises(Interrupted):
        work_on(bed, "host", stored, InterruptedAfter(4))
    assert "a snapshot on this host alone" in caplog.text
    away.rename(place)
    work_on(bed, "another host", stored)
    assert "falling back" in caplog.text
    assert bed.outcomes(undisturbed) == bed.outcomes(stored)


def test_nothing_is_confirmed_where_it_cannot_be_kept(finished: Workspace, tmp_path: Path) -> None:
    """A host that does not reach the place is told so before it trains anything."""
    place = tmp_path / "shared"
    place.mkdir()
    finished.create(artifacts=str(place))
    place.rename(tmp_path / "away")
    answer = finished.cli("confirm", "tiny", "--quiet")
    assert 2 == answer.status
    assert f"{place}: no such directory here" in answer.complaint


@pytest.mark.usefixtures("trained_here")
def test_every_verb_finds_the_models_of_other_hosts(finished: Workspace, s3_server: Any) -> None:
    """A study is confirmed on one empty host, tested and shown on others."""
    finished.create(artifacts=f"{new_bucket()}/models")

    def answer(host: str, *arguments: Any) -> Any:
        options = ("--data-dir", finished.root / host, "--storage", finished.url, "--json")
        told = invoke(*arguments, *options)
        assert 0 == told.status, told.err
        return told.json

    confirmed = answer("second", "confirm", "tiny", "--top", 1, "--seeds", 1, "--quiet")
    assert answer("third", "best", "tiny")["trial"] == confirmed["winner"]["trial"]
    tested = answer("third", "test", "tiny", "--yes")
    assert confirmed["winner"]["dev_loss_mean"] == tested["dev_loss"]
    page = answer("fourth", "report", "tiny", "-o", finished.root / "page.html")["path"]
    assert "is not on this machine" not in Path(page).read_text()
