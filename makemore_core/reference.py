"""One training step in plain torch, for any device: what the kernels are tested against.

The gradients are derived by hand (paper, section 3.1; lecture, part 4), so the loop needs no autograd.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from makemore_core.config import TrialConfig
from makemore_core.model import Model

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.99, 1e-8
"""AdamW's constants (Loshchilov and Hutter 2019); not hyperparameters here."""

DECAYED = ("embedding", "hidden_weight", "output_weight", "direct_weight")
"""What weight decay applies to: weights and features, not biases (paper, section 3.1)."""


def gradients(
    tensors: Mapping[str, Tensor], contexts: Tensor, targets: Tensor, mask: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and its gradient.

    Args:
        tensors: the model's parameters.
        contexts: (U, block) character indices.
        targets: (U, V) the weight of each (context, next character); all of them sum to one.
        mask: (U, H) factors of the hidden units (0, or 1 over the share that is kept), or None.
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
    found = {
        "hidden_weight": (features.T @ d_before).view_as(tensors["hidden_weight"]),
        "hidden_bias": d_before.sum(0),
        "output_weight": hidden.T @ d_logits,
        "output_bias": d_logits.sum(0),
    }
    if "direct_weight" in tensors:
        direct_weight = tensors["direct_weight"]
        d_features = d_features + d_logits @ direct_weight.flatten(0, 1).T
        found["direct_weight"] = (features.T @ d_logits).view_as(direct_weight)
    found["embedding"] = torch.zeros_like(tensors["embedding"]).index_add_(
        0, contexts.flatten(), d_features.view(contexts.numel(), -1)
    )
    return loss, found


class ReferenceStep:
    """Parameters and optimiser state as flat vectors, updated in place."""

    def __init__(self, config: TrialConfig, model: Model, device: str) -> None:
        self.config, self.vocabulary = config, model.vocabulary
        self.parameters, self.tensors = flatten(model.tensors, device)
        self.gradient = torch.zeros_like(self.parameters)
        self.gradients = views(self.gradient, model.tensors)
        self.first_moment = torch.zeros_like(self.parameters)
        self.second_moment = torch.zeros_like(self.parameters)
        self.decay = torch.zeros_like(self.parameters)
        for name, view in views(self.decay, model.tensors).items():
            view.fill_(config.weight_decay if name in DECAYED else 0.0)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step."""
        return {
            "parameters": self.parameters,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "loss_sum": self.loss_sum,
        }

    def model(self) -> Model:
        """A copy of the parameters as they are, on the CPU."""
        copies = {name: tensor.cpu().clone() for name, tensor in self.tensors.items()}
        return Model(self.config, self.vocabulary, copies)

    def step(
        self, number: int, rate: float, contexts: Tensor, targets: Tensor, mask: Tensor | None
    ) -> None:
        """Step `number` (from 1) at learning rate `rate`; adds the batch's loss to `loss_sum`."""
        loss, found = gradients(self.tensors, contexts, targets, mask)
        self.loss_sum += loss
        for name, gradient in self.gradients.items():
            gradient.copy_(found[name])
        self.parameters -= rate * self.decay * self.parameters
        if self.config.optimizer == "sgd":
            self.parameters -= rate * self.gradient
            return
        self.first_moment.lerp_(self.gradient, 1 - FIRST_DECAY)
        self.second_moment.lerp_(self.gradient.square(), 1 - SECOND_DECAY)
        first = self.first_moment / (1 - FIRST_DECAY**number)
        second = self.second_moment / (1 - SECOND_DECAY**number)
        self.parameters -= rate * first / (second.sqrt() + EPSILON)


def flatten(tensors: Mapping[str, Tensor], device: str) -> tuple[Tensor, dict[str, Tensor]]:
    """One vector that holds copies of all the tensors, and views of it in their shapes."""
    flat = torch.cat([tensor.flatten() for tensor in tensors.values()]).to(device)
    return flat, views(flat, tensors)


def views(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of consecutive pieces of a vector, shaped like the given tensors."""
    pieces = flat.split([tensor.numel() for tensor in like.values()])
    return {
        name: piece.view(tensor.shape)
        for (name, tensor), piece in zip(like.items(), pieces, strict=True)
    }
