"""Checkpoints in the safetensors format: written atomically, hashed, and never unpickled.

The metadata holds one JSON document and a SHA-256 over that document and every tensor, so a file
can be verified by itself; a recorded hash of the whole file is checked before a byte is parsed.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from makemore_core.config import TrialConfig
from makemore_core.errors import CheckpointError, ConfigError
from makemore_core.model.network import Model, shapes
from makemore_core.model.snapshot import Snapshot

UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EISDIR)
"""Errors of file systems that cannot sync a file, or a directory."""
FORMAT = "makemore-search 1"
"""The only key of the metadata; its number changes when older files can no longer be read."""


def save(path: Path, model: Model, extra: Mapping[str, Any]) -> str:
    """Writes a model atomically; returns the SHA-256 of the file."""
    document = {
        "kind": "model",
        "config": asdict(model.config),
        "vocabulary": model.vocabulary,
        "extra": dict(extra),
    }
    return _write(path, dict(model.tensors), document)


def load(path: Path, expected_sha256: str | None = None) -> tuple[Model, dict[str, Any]]:
    """Reads a model, and the `extra` that was saved with it.

    Raises:
        CheckpointError: the file is missing, damaged, not ours, or not the one with that hash.
    """
    tensors, document = _read(path, expected_sha256, "model")
    try:
        config = TrialConfig(**document["config"])
        vocabulary = str(document["vocabulary"])
    except (ConfigError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"checkpoint {path}: its configuration is not valid ({error})"
        ) from None
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if stored != shapes(config, len(vocabulary)):
        raise CheckpointError(f"checkpoint {path}: its tensors do not fit its configuration")
    return Model(config, vocabulary, tensors), document["extra"]


def save_snapshot(path: Path, snapshot: Snapshot, extra: Mapping[str, Any]) -> str:
    """Writes an unfinished run atomically; returns the SHA-256 of the file."""
    document = {"kind": "snapshot", "state": snapshot.state, "extra": dict(extra)}
    return _write(path, dict(snapshot.tensors), document)


def load_snapshot(
    path: Path, expected_sha256: str | None = None
) -> tuple[Snapshot, dict[str, Any]]:
    """Reads an unfinished run, and its `extra`; raises CheckpointError as `load` does."""
    tensors, document = _read(path, expected_sha256, "snapshot")
    return Snapshot(tensors, document["state"]), document["extra"]


def _write(path: Path, tensors: dict[str, Tensor], document: dict[str, Any]) -> str:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(document, sort_keys=True)
    metadata = {FORMAT: json.dumps([text, _digest(tensors, text)])}  # one entry: a fixed order
    payload = safetensors.torch.save(tensors, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(payload)
            file.flush()
            _sync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)
    return hashlib.sha256(payload).hexdigest()


def _sync(file: int) -> None:
    """Syncs a file to the disk, if its file system can."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _sync_directory(path: Path) -> None:
    """Syncs a directory, for the names of its files; some file systems cannot open one."""
    try:
        directory = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        _sync(directory)
    finally:
        os.close(directory)


def _read(
    path: Path, expected_sha256: str | None, kind: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        payload = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(
            f"checkpoint {path}: cannot be read ({reason}); give the path of a saved checkpoint"
        ) from None
    sha256 = hashlib.sha256(payload).hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise CheckpointError(
            f"checkpoint {path}: SHA-256 {sha256[:12]}… is not the recorded "
            f"{expected_sha256[:12]}…; the file was changed or damaged: restore it, or train again"
        )
    return _parse(path, payload, kind)


def _parse(path: Path, payload: bytes, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        size = int.from_bytes(payload[:8], "little")
        metadata = json.loads(payload[8 : 8 + size])["__metadata__"]
        tensors = safetensors.torch.load(payload)
        text, recorded = json.loads(metadata[FORMAT])
        ours = True
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise CheckpointError(
            f"checkpoint {path}: not a whole checkpoint of this program; restore it, or train again"
        )
    if _digest(tensors, text) != recorded:
        raise CheckpointError(
            f"checkpoint {path}: its contents do not match its own hash; restore it, or train again"
        )
    document = json.loads(text)
    if document.get("kind") != kind:
        raise CheckpointError(f"checkpoint {path}: is a {document.get('kind')}, not a {kind}")
    return tensors, document


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
