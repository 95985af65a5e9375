"""Model files across hosts: put on one, had on another; whole, or not there at all."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from servers import new_bucket
from workspace import Workspace, ended, invoke, run_python, tree

from makemore_core.errors import CheckpointError
from search.paths import DataDir
from search.storage.artifact_stores import DirectoryStore, open_store, validate_location
from search.storage.study_files import StudyFiles
from search.study import study
from search.trials import results

NAME = "trial-3.safetensors"
WRITER = """
import resource, signal, sys
from pathlib import Path
from search.storage.artifact_stores import DirectoryStore

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    DirectoryStore(Path(sys.argv[1])).write("uid/model", b"x" * 2_000)
except OSError as error:
    print(error.strerror)
"""
"""Where no file may grow beyond a thousand bytes."""


def shelf(tmp_path: Path, host: str, place: str | None) -> StudyFiles:
    return StudyFiles(tmp_path / host / "uid", place)


def write(tmp_path: Path, host: str, name: str = NAME, content: bytes = b"model") -> Path:
    path = tmp_path / host / "uid" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(path: Path, sha256: str) -> bytes:
    """As `checkpoint.load`."""
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise CheckpointError(f"{path}: missing, or another")
    return path.read_bytes()


def sha256(content: bytes = b"model") -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_put_on_one_host_is_had_on_another(tmp_path: Path, place: str) -> None:
    """And then lies there as well; so does what is damaged there."""
    shelf(tmp_path, "a", place).upload(write(tmp_path, "a"))
    elsewhere = tmp_path / "b" / "uid" / NAME
    assert b"model" == shelf(tmp_path, "b", place).load(read, elsewhere, sha256())
    elsewhere.write_bytes(b"mod")
    assert b"model" == shelf(tmp_path, "b", place).load(read, elsewhere, sha256())
    assert b"model" == elsewhere.read_bytes()
    assert {"uid", f"uid/{NAME}"} == tree(tmp_path / "b")


def test_what_nobody_put_there_is_missing(tmp_path: Path, place: str) -> None:
    """Whoever wants it is told so by whoever reads it; the same without a store."""
    for where in (place, None):
        with pytest.raises(CheckpointError, match="missing, or another"):
            shelf(tmp_path, "b", where).load(read, tmp_path / "b" / "uid" / NAME, sha256())


def test_another_content_than_was_recorded_is_refused(tmp_path: Path, place: str) -> None:
    """Wherever it comes from."""
    shelf(tmp_path, "a", place).upload(write(tmp_path, "a", content=b"tampered"))
    with pytest.raises(CheckpointError):
        shelf(tmp_path, "b", place).load(read, tmp_path / "b" / "uid" / NAME, sha256())


def test_whoever_drops_a_file_drops_it_everywhere(tmp_path: Path, place: str) -> None:
    """Here and in the store; when a study is deleted, the others' files stay."""
    a, b = shelf(tmp_path, "a", place), shelf(tmp_path, "b", place)
    for name in ("trial-1.safetensors", "trial-2.safetensors", "slot-1-step-9.safetensors"):
        a.upload(write(tmp_path, "a", name))
    assert {"trial-1.safetensors", "trial-2.safetensors"} == b.names("trial-")
    b.delete("trial-1.safetensors")
    assert ["slot-1-step-9.safetensors", "trial-2.safetensors"] == stored(place)
    assert 3 == len(a.names())
    other = StudyFiles(tmp_path / "a" / "another", place)
    other.upload(write(tmp_path, "a", "../another/trial-1.safetensors"))
    b.delete_all()
    assert [] == stored(place)
    assert {"trial-1.safetensors"} == other.names()


def stored(place: str, folder: str = "uid") -> list[str]:
    return sorted(open_store(place).names(folder))


def test_a_name_that_leads_elsewhere_is_no_file_of_the_study(
    tmp_path: Path, s3_server: Any
) -> None:
    """Whoever may write to a bucket must not have files of this machine removed."""
    place = new_bucket()
    open_store(place).write("uid/trial-1/../../../precious", b"")
    assert set() == shelf(tmp_path, "a", place).names()


def test_a_directory_holds_whole_files_only(tmp_path: Path) -> None:
    """A write that fails half way leaves nothing."""
    assert "File too large\n" == ended(run_python(WRITER, tmp_path)).out
    assert {"uid"} == tree(tmp_path)
    assert None is DirectoryStore(tmp_path).read("uid/model")


def test_a_place_that_can_be_used_is_left_as_it_was(tmp_path: Path, place: str) -> None:
    """It is tried out, and told as every host can find it."""
    assert place == validate_location(f"{place}/")
    assert set() == tree(tmp_path / "shared")
    assert place.startswith("/") or [] == stored(place, "")


def test_a_relative_directory_is_told_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may run elsewhere."""
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    assert str(tmp_path / "here") == validate_location("here")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/directory", "no such directory here"),
        ("", "no such directory here"),
        ("s3://", "s3://BUCKET/PREFIX"),
        ("gs://bucket", "s3://BUCKET/PREFIX"),
        ("s3://key:s3cr3t@bucket/models", "come from the environment"),
        ("s3://bucket/models?key=s3cr3t", "come from the environment"),
        ("s3://there-is-no-such-bucket", "NoSuchBucket"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused(
    bed: Workspace, s3_server: Any, place: str, words: str
) -> None:
    """In one line, before anything is created, and without a secret."""
    answer = bed.cli("run", bed.file(), "--artifacts", place)
    assert 2 == answer.status
    assert words in answer.complaint
    assert "s3cr3t" not in answer.complaint
    assert not bed.data_dir.root.exists()


def test_without_credentials_a_bucket_is_refused(
    bed: Workspace, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is missing."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    answer = bed.cli("submit", bed.file(), "--artifacts", "s3://bucket/without-a-key")
    assert "credentials" in answer.complaint
    assert (2, False) == (answer.status, bed.data_dir.root.exists())


def test_a_server_that_is_gone_is_refused(
    bed: Workspace, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within seconds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:s3cr3t@127.0.0.1:1")
    answer = bed.cli("submit", bed.file(), "--artifacts", "s3://bucket/of-nobody")
    assert "Could not connect" in answer.complaint
    assert "s3cr3t" not in answer.complaint
    assert 2 == answer.status


def test_the_place_is_recorded_with_the_study(bed: Workspace, tmp_path: Path) -> None:
    """Given once; another one is refused, and so is a host that cannot reach it."""
    place = tmp_path / "shared"
    place.mkdir()
    bed.json("submit", bed.file(), "--artifacts", place)
    assert str(place) == study.resolve(bed.storage, "tiny").artifacts
    bed.json("submit", bed.file())
    bed.json("submit", bed.file(), "--artifacts", place)
    answer = bed.cli("submit", bed.file(), "--artifacts", tmp_path)
    assert 3 == answer.status
    assert str(place) in answer.complaint
    place.rmdir()
    for verb in (("submit", bed.file()), ("worker", "tiny")):
        answer = bed.cli(*verb)
        assert 2 == answer.status
        assert f"{place}: no such directory here" in answer.complaint


def test_a_study_that_outgrows_its_host_gets_a_place(finished: Workspace, place: str) -> None:
    """With the models that are there already; what it kept to itself, every host has."""
    stored = study.resolve(finished.storage, "tiny")
    finished.create(artifacts=place)
    best = results.require_best(finished.storage, stored)
    elsewhere = DataDir(finished.root / "elsewhere")
    path = elsewhere.checkpoint(stored.uid, best.trial)
    with pytest.raises(CheckpointError):
        study.load_model(stored, path, best.checkpoint_sha256)
    shared = study.by_uid(finished.storage, stored.uid)
    study.load_model(shared, path, best.checkpoint_sha256)
    words = finished.json("sample", "tiny", "--seed", 1)
    options = ("--storage", finished.url, "--data-dir", finished.root / "third", "--json")
    assert words == invoke("sample", "tiny", "--seed", 1, *options).json
