"""The layout of a model's tensors in the one flat vector that a run on the CPU updates.

The sizes need no torch: a launcher, which does not load it, estimates memory from them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from makemore_core.config import TrialConfig
from makemore_core.training.adamw import first_layer_decays

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT_MULTIPLE = 16
"""Output columns are padded to a multiple of this (340x512x27: 213 us, 340x512x32: 127 us)."""

ALIGNMENT = 16
"""Every tensor begins at a multiple of this many numbers, and so does every row of hidden units: a
cache line (names, 606 units: 21.6 s; as 608: 19.0 s; 881: 30.9 s; 880: 25.7 s)."""


FLOPS, BYTES = 8e10, 4e10
"""Assumed rates, in operations and bytes per second; only their ratio matters."""

MAX_TABLE = 1 << 26
"""The most numbers in a folded table; a larger one may not fit into the memory."""


def rounded_up(number: int, multiple: int) -> int:
    """The smallest multiple that is at least the number.

    >>> rounded_up(27, 16)
    32
    """
    return -(-number // multiple) * multiple


class ParameterLayout:
    """The shapes and offsets of the tensors: first those with weight decay, then the biases.

    The numbers from `ends[k - 1]` to `ends[k]` have the decay `decays[k]`.

    `first` (T, E, W) is the hidden layer and, with direct connections, their P columns after the
    hidden ones; `output` (P, H) is transposed. H is the number of units and P that of symbols, both
    rounded up; the padding is zero, has no gradient and stays zero.
    """

    def __init__(self, config: TrialConfig, symbols: int) -> None:
        self.units, self.symbols = config.hidden_width, symbols
        self.hidden = rounded_up(self.units, ALIGNMENT)
        self.output = rounded_up(symbols, OUTPUT_MULTIPLE)
        self.width = self.hidden + (self.output if config.direct else 0)
        self.shapes: dict[str, tuple[int, ...]] = {
            "embedding": (symbols, config.embedding_size),
            "first": (config.block_size, config.embedding_size, self.width),
            "output": (self.output, self.hidden),
            "hidden_bias": (self.hidden,),
            "output_bias": (self.output,),
        }
        sizes = [rounded_up(int(np.prod(shape)), ALIGNMENT) for shape in self.shapes.values()]
        self._starts = [sum(sizes[:k]) for k in range(len(sizes))]
        self.size = sum(sizes)
        of_position = int(np.prod(self.shapes["first"][1:]))
        positions = [self._starts[1] + k * of_position for k in range(1, config.block_size)]
        self.ends = np.array([self._starts[1], *positions, *self._starts[2:4], self.size])
        of_positions = first_layer_decays(config)
        self.decays = np.array([config.weight_decay, *of_positions, config.weight_decay, 0.0])

    def prefers_folded(self, rows: float, context_length: float) -> bool:
        """Whether the first layer is faster folded than plain; see `kernel_step.py`.

        Args:
            rows: the mean number of contexts in a batch.
            context_length: the mean number of characters in them, padding left out.
        """
        positions, features, width = self.shapes["first"]
        if positions * self.symbols * width > MAX_TABLE:
            return False
        products = 6 * positions * features * (rows - self.symbols) / FLOPS  # for each column
        sums = 8 * rows * context_length / BYTES
        return products > sums

    def views(self, flat: "Tensor") -> "dict[str, Tensor]":
        """Views of a flat vector, in the shapes of the layout."""
        return {
            name: flat[start : start + int(np.prod(shape))].view(shape)
            for (name, shape), start in zip(self.shapes.items(), self._starts, strict=True)
        }

    def named(self, flat: "Tensor") -> "dict[str, Tensor]":
        """The model's tensors, as views of a flat vector: writing to one writes to the other."""
        views, units, symbols = self.views(flat), self.units, self.symbols
        tensors = {
            "embedding": views["embedding"],
            "hidden_weight": views["first"][..., :units],
            "hidden_bias": views["hidden_bias"][:units],
            "output_weight": views["output"][:symbols, :units].T,
            "output_bias": views["output_bias"][:symbols],
        }
        if self.width > self.hidden:
            tensors["direct_weight"] = views["first"][..., self.hidden : self.hidden + symbols]
        return tensors

    def pack(self, tensors: "Mapping[str, Tensor]") -> "Tensor":
        """A flat vector with copies of a model's tensors, and zeros as padding."""
        import torch

        flat = torch.zeros(self.size)
        for name, view in self.named(flat).items():
            view.copy_(tensors[name])
        return flat

    def unpack(self, flat: "Tensor") -> "dict[str, Tensor]":
        """Copies of a model's tensors out of a flat vector."""
        import torch

        return {
            name: view.clone(memory_format=torch.contiguous_format)
            for name, view in self.named(flat).items()
        }
