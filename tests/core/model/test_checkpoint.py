"""Checkpoints that are whole or absent, and that nobody changed."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.errors import CheckpointError
from makemore_core.model import checkpoint
from makemore_core.model.network import Model, initialize
from makemore_core.model.snapshot import Snapshot

MODEL = initialize(
    TrialConfig(hidden_width=3, embedding_size=2, direct=True), ".aé🙂", torch.Generator()
)


def written(tmp_path: Path, model: Model = MODEL) -> tuple[Path, str]:
    path = tmp_path / "deep" / "model.safetensors"
    return path, checkpoint.save(path, model, {"trial": 7, "name": "ä"})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Configuration, vocabulary, every bit of every tensor, and what was kept with them."""
    path, sha256 = written(tmp_path)
    model, extra = checkpoint.load(path, sha256)
    assert (model.config, model.vocabulary) == (MODEL.config, MODEL.vocabulary)
    assert {"trial": 7, "name": "ä"} == extra
    assert model.tensors.keys() == MODEL.tensors.keys()
    for name, tensor in MODEL.tensors.items():
        assert torch.equal(model.tensors[name], tensor)
    assert list(path.parent.iterdir()) == [path]


def test_the_same_model_has_the_same_hash(tmp_path: Path) -> None:
    """A checkpoint's hash depends on its contents alone."""
    _, first = written(tmp_path)
    _, again = written(tmp_path)
    assert first == again


@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@pytest.mark.parametrize("recorded", [True, False])
def test_any_flipped_byte_is_found(
    recorded: bool, tmp_path: Path, place: float, change: int
) -> None:
    """With the recorded hash and without it, wherever in the file it is."""
    path, sha256 = written(tmp_path)
    payload = bytearray(path.read_bytes())
    payload[int(place * len(payload))] ^= change
    path.write_bytes(payload)
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        checkpoint.load(path, sha256 if recorded else None)
    assert "\n" not in str(caught.value)


def test_every_byte_matters_without_the_recorded_hash(tmp_path: Path) -> None:
    """One bit of each byte in turn: the file's own hash finds all of them."""
    path, _ = written(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            checkpoint.load(path)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_found(tmp_path: Path, share: float) -> None:
    """However much of it is left."""
    path, sha256 = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    for expected in (None, sha256):
        with pytest.raises(CheckpointError):
            checkpoint.load(path, expected)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    """A file that would run code when unpickled is refused, and runs nothing."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match=r"trap\.pt"):
        checkpoint.load(path)
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"trap\.pt"):
        checkpoint.load(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("what", ["missing", "directory", "empty", "text"])
def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path: Path, what: str) -> None:
    """A file that is not there, a directory, an empty file, a text."""
    path = tmp_path / "it"
    if what == "directory":
        path.mkdir()
    elif what != "missing":
        path.write_text("" if what == "empty" else "emma\nolivia\n" * 100)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_snapshot_is_no_model(tmp_path: Path) -> None:
    """Each is refused where the other is wanted."""
    snapshot = Snapshot({"best": torch.arange(3.0), "none": torch.zeros(2, 0)}, {"step": 3})
    path = tmp_path / "snapshot"
    sha256 = checkpoint.save_snapshot(path, snapshot, {"attempt": 2})
    found, extra = checkpoint.load_snapshot(path, sha256)
    assert ({"step": 3}, {"attempt": 2}) == (found.state, extra)
    assert torch.equal(found.tensors["best"], torch.arange(3.0))
    with pytest.raises(CheckpointError, match="is a snapshot, not a model"):
        checkpoint.load(path)
    model_path, _ = written(tmp_path)
    with pytest.raises(CheckpointError, match="is a model, not a snapshot"):
        checkpoint.load_snapshot(model_path)


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full leaves the old file whole and nothing beside it."""
    path, sha256 = written(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, MODEL, {"trial": 8})
    assert 7 == checkpoint.load(path, sha256)[1]["trial"]
    assert list(path.parent.iterdir()) == [path]
