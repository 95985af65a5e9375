"""A checkpoint as plain arrays: enough to look at its embedding and to draw a few words.

The core's own `checkpoint.load` and `sampling.sample` need torch, which takes two seconds to
import: too long for a launcher that draws pictures between two looks at its workers. A test holds
this against the core.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from makemore_core.errors import CheckpointError

Floats = NDArray[np.float32]
MAX_LENGTH = 40


@dataclass(frozen=True, eq=False)
class NumpyModel:
    """The tensors of a model, by the names that the core gives them."""

    vocabulary: str
    tensors: dict[str, Floats]

    @property
    def embedding(self) -> Floats:
        """A vector for each character. (V, E)"""
        return self.tensors["embedding"]

    def logits(self, contexts: NDArray[np.int64]) -> Floats:
        """(N, block) character indices to (N, V) logits."""
        features = self.embedding[contexts].reshape(len(contexts), -1)  # (N, block * E)
        hidden = np.tanh(features @ self._flat("hidden_weight") + self.tensors["hidden_bias"])
        logits: Floats = hidden @ self.tensors["output_weight"] + self.tensors["output_bias"]
        if "direct_weight" in self.tensors:
            logits = logits + features @ self._flat("direct_weight")
        return logits

    def _flat(self, name: str) -> Floats:
        """(block, E, X) as (block * E, X)."""
        tensor = self.tensors[name]
        return tensor.reshape(math.prod(tensor.shape[:-1]), tensor.shape[-1])  # X may be 0


def load(path: Path, sha256: str) -> NumpyModel:
    """Reads a checkpoint, its hash checked before a byte is parsed.

    Raises:
        CheckpointError: it is not on this machine, or not the one that was recorded.
    """
    payload = read_bytes(path, sha256)
    try:
        return NumpyModel(_document(payload)["vocabulary"], safetensors.numpy.load(payload))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path}: not a whole checkpoint ({error})") from None


def read_bytes(path: Path, sha256: str) -> bytes:
    """Reads a checkpoint's file without parsing it.

    Raises:
        CheckpointError: it is not on this machine, or not the one that was recorded.
    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise CheckpointError(
            f"checkpoint {path}: its SHA-256 is not the recorded {sha256[:12]}…; "
            "the file was changed or damaged"
        )
    return payload


def _document(payload: bytes) -> dict[str, Any]:
    """What the core wrote beside the tensors: its one entry is [document, digest]."""
    size = int.from_bytes(payload[:8], "little")
    (entry,) = json.loads(payload[8 : 8 + size])["__metadata__"].values()
    document: dict[str, Any] = json.loads(json.loads(entry)[0])
    return document


def sample(model: NumpyModel, count: int, seed: int) -> list[str]:
    """Draws words, each until its boundary or LONGEST characters."""
    rng = np.random.default_rng(seed)
    block = model.tensors["hidden_weight"].shape[0]
    contexts = np.zeros((count, block), np.int64)
    drawn = np.zeros((count, MAX_LENGTH), np.int64)
    going = np.ones(count, bool)
    for position in range(MAX_LENGTH):
        logits = model.logits(contexts).astype(np.float64)
        logits += rng.gumbel(size=logits.shape)  # the largest of these is a draw from the softmax
        following = np.where(going, logits.argmax(axis=1), 0)
        drawn[:, position] = following
        going &= following != 0
        if not going.any():
            break
        contexts = np.concatenate([contexts[:, 1:], following[:, None]], axis=1)
    return ["".join(model.vocabulary[index] for index in _until_end(row)) for row in drawn]


def _until_end(row: NDArray[np.int64]) -> NDArray[np.int64]:
    ends = np.flatnonzero(row == 0)
    return row[: ends[0]] if len(ends) else row


def project_to_plane(vectors: Floats) -> tuple[NDArray[np.float64], float]:
    """Two dimensions to draw vectors in, and the share of their variance that these show. (V, 2)

    Two-dimensional vectors are shown as they are; others by their first two principal components,
    signed so that the same vectors always give the same picture.
    """
    centred = np.nan_to_num(vectors.astype(np.float64), posinf=1e30, neginf=-1e30)
    if centred.shape[1] <= 2:
        padded = np.zeros((len(centred), 2))
        padded[:, : centred.shape[1]] = centred
        return padded, 1.0
    centred -= centred.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    points = left[:, :2] * strength[:2]
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = float((strength**2).sum())
    return points, float((strength[:2] ** 2).sum() / total) if total else 1.0
