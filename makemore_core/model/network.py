"""The network of Bengio et al. 2003: y = b + U tanh(d + Hx) + Wx, x the context's feature vectors.

The paper's names: C the features, H and d the hidden layer, U and b the output layer, W the
optional direct connections (section 2, equation 1). The lecture's: C, W1, b1, W2, b2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from makemore_core.config import TrialConfig

OUTPUT_GAIN = 0.1
"""Scaled initialization: the output layer starts near a uniform prediction (lecture, part 3)."""


@dataclass(frozen=True, eq=False)
class Model:
    """Trained or initial parameters, with their configuration and vocabulary."""

    config: TrialConfig
    vocabulary: str
    tensors: Mapping[str, Tensor]
    """embedding (V, E), hidden_weight (block, E, H), hidden_bias (H,), output_weight (H, V),
    output_bias (V,) and, with direct connections, direct_weight (block, E, V)."""

    @property
    def parameters(self) -> int:
        """The number of parameters. (2 features, 100 hidden units, block 3: 3,481)"""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def logits(self, contexts: Tensor) -> Tensor:
        """The plain forward pass, without dropout: (N, block) indices to (N, V) logits."""
        return forward(self.tensors, contexts)


def forward(tensors: Mapping[str, Tensor], contexts: Tensor, mask: Tensor | None = None) -> Tensor:
    """(N, block) indices to (N, V) logits; `mask` (N, H) multiplies the hidden units (dropout)."""
    features = tensors["embedding"][contexts].flatten(1)  # (N, block * E)
    hidden_weight = tensors["hidden_weight"].flatten(0, 1)  # (block * E, H)
    hidden = torch.tanh(features @ hidden_weight + tensors["hidden_bias"])  # (N, H)
    if mask is not None:
        hidden = hidden * mask
    logits = hidden @ tensors["output_weight"] + tensors["output_bias"]  # (N, V)
    if "direct_weight" in tensors:
        logits = logits + features @ tensors["direct_weight"].flatten(0, 1)
    return logits


def shapes(config: TrialConfig, symbols: int) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, in the order in which they are drawn."""
    block, features, hidden = config.block_size, config.embedding_size, config.hidden_width
    by_name: dict[str, tuple[int, ...]] = {
        "embedding": (symbols, features),
        "hidden_weight": (block, features, hidden),
        "hidden_bias": (hidden,),
        "output_weight": (hidden, symbols),
        "output_bias": (symbols,),
    }
    if config.direct:
        by_name["direct_weight"] = (block, features, symbols)
    return by_name


def parameters_of(config: TrialConfig, symbols: int) -> int:
    """The number of parameters of a model with this configuration.

    >>> parameters_of(TrialConfig(embedding_size=2, hidden_width=100, block_size=3), 27)
    3481
    """
    return sum(math.prod(shape) for shape in shapes(config, symbols).values())


def initialize(config: TrialConfig, vocabulary: str, generator: torch.Generator) -> Model:
    """An untrained model on the CPU, in float32.

    `lecture`: every tensor from the unit normal, in the lecture's order out of one generator.
    `scaled`: unit normal features; a hidden layer with gain 5/3 over the square root of its fan-in;
    a small output layer; zero biases and direct connections.
    """
    tensors = {
        name: torch.randn(shape, generator=generator)
        for name, shape in shapes(config, len(vocabulary)).items()
    }
    if config.initialisation == "scaled":
        fan_in = config.block_size * config.embedding_size
        scale = {
            "embedding": 1.0,
            "hidden_weight": 5 / 3 / math.sqrt(fan_in),
            "output_weight": OUTPUT_GAIN / math.sqrt(max(config.hidden_width, 1)),
        }
        for name, tensor in tensors.items():
            tensor.mul_(scale.get(name, 0.0))
    return Model(config, vocabulary, tensors)
