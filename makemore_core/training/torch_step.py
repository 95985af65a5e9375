"""One training step in plain torch, for any device; the reference for tests of the kernels.

The gradients are derived by hand (paper, section 3.1; lecture, part 4): no autograd in the loop.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from makemore_core.config import TrialConfig
from makemore_core.data.contexts import CountedContexts
from makemore_core.model.network import Model
from makemore_core.training.adamw import EPSILON, FIRST_DECAY, SECOND_DECAY, first_layer_decays
from makemore_core.training.batches import Batch, BatchSampler
from makemore_core.training.schedule import learning_rate_at

DECAYED = ("embedding", "hidden_weight", "output_weight", "direct_weight")
"""The tensors with weight decay: weights and features, not biases (paper, section 3.1)."""
BY_POSITION = ("hidden_weight", "direct_weight")
"""Of these, the tensors with a decay for each character of context."""


def gradients(
    tensors: Mapping[str, Tensor], contexts: Tensor, targets: Tensor, mask: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and its gradient.

    Args:
        tensors: the model's parameters.
        contexts: (U, block) character indices.
        targets: (U, V) the weight of each (context, next character); all of them sum to one.
        mask: (U, H) factors of the hidden units (0, or 1 / (1 - dropout)), or None.
    """
    hidden_weight, output_weight = tensors["hidden_weight"].flatten(0, 1), tensors["output_weight"]
    features = tensors["embedding"][contexts].flatten(1)  # (U, block * E)
    activation = torch.tanh(features @ hidden_weight + tensors["hidden_bias"])  # (U, H)
    hidden = activation if mask is None else activation * mask
    logits = hidden @ output_weight + tensors["output_bias"]  # (U, V)
    if "direct_weight" in tensors:
        logits = logits + features @ tensors["direct_weight"].flatten(0, 1)
    log_probabilities = torch.log_softmax(logits, 1)
    loss = -(targets * log_probabilities).sum()

    d_logits = log_probabilities.exp() * targets.sum(1, keepdim=True) - targets  # (U, V)
    d_hidden = d_logits @ output_weight.T  # (U, H)
    if mask is not None:
        d_hidden = d_hidden * mask
    d_before = d_hidden * (1 - activation * activation)  # (U, H)
    d_features = d_before @ hidden_weight.T  # (U, block * E)
    gradient = {
        "hidden_weight": (features.T @ d_before).view_as(tensors["hidden_weight"]),
        "hidden_bias": d_before.sum(0),
        "output_weight": hidden.T @ d_logits,
        "output_bias": d_logits.sum(0),
    }
    if "direct_weight" in tensors:
        direct_weight = tensors["direct_weight"]
        d_features = d_features + d_logits @ direct_weight.flatten(0, 1).T
        gradient["direct_weight"] = (features.T @ d_logits).view_as(direct_weight)
    gradient["embedding"] = torch.zeros_like(tensors["embedding"]).index_add_(
        0, contexts.flatten(), d_features.view(contexts.numel(), -1)
    )
    return loss, gradient


class TorchStep:
    """The parameters and optimizer state of a run on any device; interface as `KernelStep`."""

    def __init__(
        self,
        config: TrialConfig,
        model: Model,
        counted: CountedContexts,
        sampler: BatchSampler,
        device: str,
    ) -> None:
        self._config, self._sampler = config, sampler
        self._like, self._device = model.tensors, device
        flat = torch.cat([tensor.flatten() for tensor in model.tensors.values()])
        self.parameters = flat.to(device)
        self.gradient = torch.zeros_like(self.parameters)
        self._moments = self.parameters.new_zeros(2, len(flat))
        self._loss = torch.zeros(1, dtype=torch.float64, device=device)
        self._decay = self._decays()
        self._contexts = torch.from_numpy(counted.contexts).to(device, torch.int64)
        self._column_keys = torch.from_numpy(sampler.column_keys.astype(np.int64)).to(device)

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step and outlives it."""
        return {"parameters": self.parameters, "moments": self._moments, "loss": self._loss}

    def pop_loss(self) -> float:
        """The sum of the batch losses (nats) since the last call, which is set to 0."""
        total = float(self._loss.item())
        self._loss.zero_()
        return total

    def tensors(self, flat: Tensor) -> dict[str, Tensor]:
        """Copies of a model's tensors, from parameters that this run has or had."""
        return {name: view.clone() for name, view in self._views(flat).items()}

    def run(self, start: int, end: int) -> None:
        """Does the steps `start` to `end` - 1."""
        config, sampler = self._config, self._sampler
        tensors, flat = self._views(self.parameters), self._views(self.gradient)
        for number in range(start, end):
            batch = sampler.batch(number)
            contexts = self._contexts[torch.from_numpy(batch.rows).to(self._device, torch.int64)]
            symbols = len(tensors["output_bias"])
            targets = torch.from_numpy(sampler.dense_targets(batch, symbols)).to(self._device)
            loss, named = gradients(tensors, contexts, targets, self.mask(batch))
            self._loss += loss
            for name, gradient in flat.items():
                gradient.copy_(named[name])
            self._update(number + 1, learning_rate_at(config, (number + 0.5) / config.steps))

    def mask(self, batch: Batch) -> Tensor | None:
        """The factors of the hidden units (U, H): the same hashes as the kernels' `_keep`."""
        sampler = self._sampler
        if sampler.threshold == 0:
            return None
        rows = torch.from_numpy(batch.row_keys.astype(np.int64)).to(self._device)
        x = ((rows[:, None] ^ self._column_keys) * 0x9E3779B1) & 0xFFFFFFFF
        x = ((x ^ (x >> 15)) * 0x85EBCA77) & 0xFFFFFFFF
        return ((x >> 1) >= int(sampler.threshold)).float() * float(sampler.scale)

    def _decays(self) -> Tensor:
        """The weight decay of each parameter."""
        decays = torch.zeros_like(self.parameters)
        of_positions = self.parameters.new_tensor(first_layer_decays(self._config))
        for name, view in self._views(decays).items():
            if name in BY_POSITION:
                view.copy_(of_positions[:, None, None].expand_as(view))
            elif name in DECAYED:
                view.fill_(self._config.weight_decay)
        return decays

    def _update(self, number: int, rate: float) -> None:
        """Step `number` (from 1) of the optimizer."""
        first, second = self._moments
        self.parameters -= rate * self._decay * self.parameters
        if self._config.optimizer == "sgd":
            self.parameters -= rate * self.gradient
            return
        first.lerp_(self.gradient, 1 - FIRST_DECAY)
        second.lerp_(self.gradient.square(), 1 - SECOND_DECAY)
        scaled = second.div(1 - SECOND_DECAY**number).sqrt_().add_(EPSILON)
        self.parameters -= rate / (1 - FIRST_DECAY**number) * first / scaled

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        """The pieces of a flat vector, shaped like the model's tensors."""
        pieces = torch.split(flat, [tensor.numel() for tensor in self._like.values()])
        return {
            name: piece.view(tensor.shape)
            for (name, tensor), piece in zip(self._like.items(), pieces, strict=True)
        }
