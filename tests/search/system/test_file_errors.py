"""Directories that cannot be written: told at once, and got round where that does no harm."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workspace import Workspace, invoke, some_words, tree

from makemore_core.data import corpus
from makemore_core.model import checkpoint
from search import retry
from search.errors import FilesUnusable
from search.launch import local
from search.launch.local import ForkServer
from search.launch.supervisor import Supervisor
from search.launch.workloads import StudyWorkload
from search.paths import DataDir
from search.study import study
from search.system.processes import HOST
from search.trials.leases import NoClaim
from search.worker import process
from search.worker.job import FILES_UNUSABLE, GAVE_UP, Job

LASTING = [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP]
PASSING = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT]


def failing_once(number: int, then: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails by an error of a file, and the next time does not."""
    calls: list[Path] = []

    def fail(path: Path, *arguments: Any) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(number, os.strerror(number), str(path))
        return then(path, *arguments)

    return fail


@pytest.mark.parametrize("number", LASTING)
def test_what_does_not_pass_by_itself_is_not_waited_for(number: int) -> None:
    """Somebody else's directory, a read-only disk, a file in the place of a directory."""
    step = failing_once(number, str)
    with pytest.raises(FilesUnusable, match=r"/there/model.*the same command goes on"):
        retry.retry_files(lambda: step(Path("/there/model")))


@pytest.mark.parametrize("number", PASSING)
def test_what_may_pass_is_waited_for(number: int) -> None:
    """A full disk, a quota, a disk or a network that fails."""
    step = failing_once(number, str)
    assert "/there/model" == retry.retry_files(lambda: step(Path("/there/model")))


def test_a_trial_whose_model_cannot_be_written_is_no_failure_of_it(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker ends and says so, in a way of its own; the trial is tried again."""
    stored = bed.create(budget={"trials": 2})
    monkeypatch.setattr(checkpoint, "save", failing_once(errno.EACCES, checkpoint.save))
    with pytest.raises(FilesUnusable, match="Permission denied") as told:
        bed.work(stored)
    assert FILES_UNUSABLE == process.status_of(told.value)
    assert NoClaim.BUDGET_MET == bed.work(stored)
    reasons = [trial.reason for trial in bed.trials(stored) if trial.state == "failed"]
    assert ["interrupted"] == reasons


class Left:
    """A worker that has left as one whose models cannot be written."""

    pid, log_location = None, None

    def poll(self) -> int:
        return FILES_UNUSABLE

    def shared_cause(self) -> None:
        return None

    def terminate(self) -> None: ...

    def wait_or_kill(self, seconds: float) -> None: ...

    def last_log_line(self) -> str:
        return f"2026-11-26 ERROR {GAVE_UP}model files: Read-only file system (/there)"


class Launcher:
    """Counts the workers that it is asked for."""

    workers, host, started = 3, HOST, 0

    def start(self, job: Job) -> Left:
        self.started += 1
        return Left()

    def storage_warnings(self) -> list[str]:
        return []


def test_the_first_worker_that_cannot_write_ends_the_run(bed: Workspace) -> None:
    """The next one could not either: one line with the cause, and no second try."""
    work, launcher = StudyWorkload(bed.storage, bed.create()), Launcher()
    job = Job(bed.url, str(bed.data_dir.root), None, 1, "cpu")
    with pytest.raises(FilesUnusable) as told:
        Supervisor(bed.storage, work, launcher, job, lambda: None).run()
    assert "tiny: model files: Read-only file system (/there)" == str(told.value)
    assert 3 == launcher.started


@pytest.mark.parametrize("verb", ["run", "worker", "serve", "confirm"])
def test_a_directory_that_cannot_be_written_is_told_before_the_work(
    finished: Workspace, verb: str
) -> None:
    """Exit 2, with the place and a way out, and nothing is made."""
    models = finished.data_dir.all_checkpoints
    models.rename(finished.root / "kept")
    models.write_text("a file in its place")
    subject = {"run": [finished.root / "tiny.toml", "--trials", 99], "serve": []}
    before = tree(finished.root)

    answer = finished.cli(verb, *subject.get(verb, ["tiny"]))

    assert 2 == answer.status, answer
    assert f"{models} (Not a directory)" in answer.complaint
    assert "--data-dir" in answer.complaint
    assert before == tree(finished.root)


def test_the_directory_of_one_study_may_be_somebody_s(finished: Workspace) -> None:
    """What others own there does not hinder another study."""
    stored = study.resolve(finished.storage, "tiny")
    place = finished.data_dir.checkpoints(stored.uid)
    place.rename(finished.root / "kept")
    place.write_text("a file in its place")
    answer = finished.cli("run", finished.root / "tiny.toml", "--trials", 99)
    assert 2 == answer.status, answer
    assert str(place) in answer.complaint


def test_a_log_that_cannot_be_written_is_done_without(bed: Workspace) -> None:
    """The study is done; what a worker has to say, its launcher has."""
    bed.data_dir.root.mkdir()
    (bed.data_dir.root / "logs").write_text("a file in its place")
    view = bed.json("run", bed.file(budget={"trials": 2}), "--workers", 1)
    assert 2 == view["budget"]["finished"]


def test_a_copy_of_the_words_that_cannot_be_kept_is_done_without(bed: Workspace) -> None:
    """The database has them."""
    bed.data_dir.root.mkdir()
    (bed.data_dir.root / "corpora").write_text("a file in its place")
    assert NoClaim.BUDGET_MET == bed.work(bed.create(budget={"trials": 2}))


def test_a_long_name_makes_no_long_file_name(tmp_path: Path) -> None:
    """File systems allow 255 bytes, some of them less."""
    assert len(DataDir(tmp_path).log("x" * 500, "1-2").name.encode()) < 143


def test_no_temporary_directory_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts the workers keeps its last words in memory, or does without."""

    def nowhere(*_: object, **__: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", nowhere)
    file = local._anonymous_file()
    os.write(file, b"words")
    os.close(file)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(local, "START_METHOD", "no way at all")
    fork_server = ForkServer(1)
    assert 1 == fork_server._process.wait()
    assert "" == fork_server.output()
    fork_server.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_syncs_nothing_is_good_enough(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    """Some network and desktop mounts know no fsync, or none of directories."""

    def unsupported(_file: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(os, "fsync", unsupported)
    stored = bed.create(budget={"trials": 1}, artifacts=str(tmp_path / "shared"))
    assert NoClaim.BUDGET_MET == bed.work(stored)
    assert 1 == len(list((tmp_path / "shared").rglob("*.safetensors")))


def test_a_tilde_is_a_home_directory(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where no shell has seen it; without a home it is refused, and no directory gets the
    name `~`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = bed.file()
    monkeypatch.setenv("MAKEMORE_SEARCH_DATA_DIR", "~/runs")
    assert 0 == invoke("submit", file).status
    assert (tmp_path / "home" / "runs" / "studies.db").is_file()
    answer = invoke("submit", file, "--data-dir", "~no-such-user/runs")
    assert 2 == answer.status
    assert "--data-dir ~no-such-user/runs: " in answer.complaint
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("~")]


@pytest.mark.parametrize("is_reachable", [True, False])
def test_a_damaged_download_is_downloaded_again(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, is_reachable: bool
) -> None:
    """Where that cannot be, the file is named; it is not kept for ever."""
    kept = bed.data_dir.root / "corpora" / "names.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("em")
    words = "\n".join(some_words())
    monkeypatch.delenv(corpus.CORPORA_VARIABLE, raising=False)
    monkeypatch.setattr(corpus, "NAMES_SHA256", hashlib.sha256(words.encode()).hexdigest())

    def retrieve(_url: str, _known: str, name: str, place: Path) -> None:
        if not is_reachable:
            raise OSError("no network")
        (place / name).write_text(words)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    answer = bed.cli("corpus", "names")
    assert (0 if is_reachable else 2) == answer.status, answer
    assert is_reachable or str(kept) in answer.complaint
