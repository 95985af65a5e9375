"""The state of an unfinished run, from which it is resumed bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Tensors (parameters, moments, the best) and a JSON document (position, curve, times)."""

    tensors: Mapping[str, Tensor]
    state: dict[str, Any]
