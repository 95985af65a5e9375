"""One training step on the CPU: torch's matrix products, and kernels for the rest.

Two algorithms for the same mathematics, chosen by shape:

- plain: x = the context's feature vectors (U, T * E), and three products with the first layer.
- folded: a context is made of few different characters, so x @ W1 is a sum of rows of the tables
  C @ W1_j, one for each position j. The products are then with the V rows of C and no longer with
  the U rows of the batch, and long paddings cost one row. Gradients: dT_j by adding up the rows of
  dh, dW1_j = C^T dT_j, dC = sum_j dT_j W1_j^T.

Direct connections are further columns of the first layer, without tanh.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from makemore_core.config import TrialConfig
from makemore_core.data.contexts import CountedContexts
from makemore_core.model.network import Model
from makemore_core.training import kernels
from makemore_core.training.adamw import EPSILON, FIRST_DECAY, SECOND_DECAY
from makemore_core.training.batches import Batch, BatchSampler
from makemore_core.training.parameter_layout import ParameterLayout
from makemore_core.training.schedule import learning_rate_at

MAX_VIEWS = 1024
"""The most sizes of batches whose views are cached."""


class KernelStep:
    """The parameters, gradients and optimizer state of a run, updated in place."""

    def __init__(
        self,
        config: TrialConfig,
        model: Model,
        counted: CountedContexts,
        sampler: BatchSampler,
        folded: bool | None = None,
        rate: Callable[[TrialConfig, float], float] = learning_rate_at,
    ) -> None:
        """Args:
        folded: which algorithm; None: the one that `ParameterLayout.prefers_folded` says.
        rate: the learning rate at a fraction (0 to 1) of the run.
        """
        self._config, self._sampler, self._rate = config, sampler, rate
        self._contexts, self._padding = counted.contexts, counted.padding
        self._layout = layout = ParameterLayout(config, len(model.vocabulary))
        self.parameters = layout.pack(model.tensors)
        self.gradient = torch.zeros(layout.size)
        self._moments = torch.zeros(2, layout.size if config.optimizer == "adamw" else 0)
        self._loss = np.zeros(1)
        if folded is None:
            folded = layout.prefers_folded(sampler.expected_rows, counted.mean_context_length)
        self.folded = folded
        self._make_views()
        self._make_buffers()

    def _make_views(self) -> None:
        weights, gradients = self._layout.views(self.parameters), self._layout.views(self.gradient)
        positions, features, width = weights["first"].shape
        self._embedding, self._embedding_gradient = weights["embedding"], gradients["embedding"]
        self._w1, self._w1_gradient = weights["first"], gradients["first"]
        self._w1_flat = self._w1.view(positions * features, width)
        self._w1_flat_gradient = self._w1_gradient.view(positions * features, width)
        self._w2, self._w2_gradient = weights["output"], gradients["output"]
        self._b1, self._b1_gradient = (
            views["hidden_bias"].numpy()[: self._layout.units] for views in (weights, gradients)
        )
        self._b2 = weights["output_bias"].numpy()[: self._layout.symbols]
        self._b2_gradient = gradients["output_bias"].numpy()[: self._layout.symbols]
        self._w1_numpy, self._w2_numpy = self._w1.numpy(), self._w2.numpy()
        self._embedding_numpy = self._embedding.numpy()
        self._embedding_gradient_numpy = self._embedding_gradient.numpy()
        self._spread = self._embedding.expand(positions, -1, -1)  # (T, V, E), no copy

    def _make_buffers(self) -> None:
        layout, rows = self._layout, self._sampler.max_rows
        positions, features, width = self._w1.shape
        self._first = torch.zeros(rows, layout.hidden + layout.output)  # units, direct logits
        self._back = torch.zeros(rows, layout.hidden + layout.output)  # gradients; logits
        self._first_numpy, self._back_numpy = self._first.numpy(), self._back.numpy()
        self._views: dict[int, tuple[Tensor, ...]] = {}
        if self.folded:
            self._table = torch.zeros(positions, layout.symbols, width)
            self._table_gradient = torch.zeros(positions, layout.symbols, width)
            self._table_numpy = self._table.numpy()
            self._table_gradient_numpy = self._table_gradient.numpy()
            self._prefix = np.zeros((positions + 1, width), np.float32)
            self._starts = np.zeros(positions * layout.symbols + positions + 2, np.int32)
            self._listed = np.zeros(rows * (positions + 1), np.int32)
        else:
            self._features = torch.zeros(rows, positions * features)
            self._features_gradient = torch.zeros(rows, positions * features)
            self._features_numpy = self._features.numpy()
            self._features_gradient_numpy = self._features_gradient.numpy()

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step and outlives it."""
        return {
            "parameters": self.parameters,
            "moments": self._moments,
            "loss": torch.from_numpy(self._loss),
        }

    def pop_loss(self) -> float:
        """The sum of the batch losses (nats) since the last call, which is set to 0."""
        total = float(self._loss[0])
        self._loss[0] = 0.0
        return total

    def tensors(self, flat: Tensor) -> dict[str, Tensor]:
        """Copies of a model's tensors, from parameters that this run has or had."""
        return self._layout.unpack(flat)

    def run(self, start: int, end: int) -> None:
        """Does the steps `start` to `end` - 1."""
        config, layout = self._config, self._layout
        forward_and_back = self._folded_pass if self.folded else self._plain_pass
        parameters, gradient = self.parameters.numpy(), self.gradient.numpy()
        first_moment, second_moment = self._moments.numpy()
        for number in range(start, end):
            rate = self._rate(config, (number + 0.5) / config.steps)
            forward_and_back(self._sampler.batch(number))
            if config.optimizer == "sgd":
                kernels.update_sgd(parameters, gradient, layout.ends, layout.decays, rate)
            else:
                kernels.update_adamw(
                    parameters, gradient, first_moment, second_moment, layout.ends,
                    layout.decays, rate, number + 1, FIRST_DECAY, SECOND_DECAY, EPSILON,
                )  # fmt: skip

    def _folded_pass(self, batch: Batch) -> None:
        """The gradient of a batch, by way of the tables."""
        sampler = self._sampler
        torch.bmm(self._spread, self._w1, out=self._table)  # (T, V, W)
        kernels.forward_folded(
            self._contexts, self._padding, batch.rows, batch.row_keys, self._table_numpy,
            self._prefix, self._b1, sampler.column_keys, sampler.threshold, sampler.scale,
            batch.weight, batch.pair_start, batch.pair_end, sampler.next_character,
            sampler.pair_weight, sampler.weighted, self._w2_numpy, self._b2, self._config.direct,
            self._first_numpy, self._back_numpy, self._b2_gradient, self._loss,
        )  # fmt: skip
        self._output_gradients(*self._views_of(len(batch.rows))[:3])
        kernels.scatter(
            self._contexts, self._padding, batch.rows, sampler.scale, self._first_numpy,
            self._back_numpy, self._table_gradient_numpy, self._b1_gradient, self._prefix,
            self._starts, self._listed,
        )  # fmt: skip
        torch.bmm(self._spread.mT, self._table_gradient, out=self._w1_gradient)  # (T, E, W)
        kernels.embedding_gradient_of(
            self._table_gradient_numpy, self._w1_numpy, self._embedding_gradient_numpy
        )

    def _plain_pass(self, batch: Batch) -> None:
        """The gradient of a batch, by way of every row's feature vectors."""
        sampler = self._sampler
        hidden, logits, d_hidden, first, d_first, x, d_x = self._views_of(len(batch.rows))
        kernels.features(self._contexts, batch.rows, self._embedding_numpy, self._features_numpy)
        torch.mm(x, self._w1_flat, out=first)  # (U, W)
        kernels.forward_plain(
            batch.row_keys, self._b1, sampler.column_keys, sampler.threshold, sampler.scale,
            batch.weight, batch.pair_start, batch.pair_end, sampler.next_character,
            sampler.pair_weight, sampler.weighted, self._w2_numpy, self._b2, self._config.direct,
            self._first_numpy, self._back_numpy, self._b2_gradient, self._loss,
        )  # fmt: skip
        self._output_gradients(hidden, logits, d_hidden)
        kernels.deactivate(
            batch.rows, sampler.scale, self._first_numpy, self._back_numpy, self._b1_gradient
        )
        torch.mm(x.T, d_first, out=self._w1_flat_gradient)
        torch.mm(d_first, self._w1_flat.T, out=d_x)  # (U, T * E)
        kernels.spread(
            self._contexts, batch.rows, self._features_gradient_numpy,
            self._embedding_gradient_numpy,
        )  # fmt: skip

    def _output_gradients(self, hidden: Tensor, d_logits: Tensor, d_hidden: Tensor) -> None:
        """From the gradients of the logits to those of the output layer and the hidden units."""
        torch.mm(d_logits.T, hidden, out=self._w2_gradient)  # (P, H)
        torch.mm(d_logits, self._w2, out=d_hidden)  # (U, H)

    def _views_of(self, rows: int) -> tuple[Tensor, ...]:
        """The buffers' parts for a batch of that many rows."""
        found = self._views.get(rows)
        if found is None:
            first, back = self._first[:rows], self._back[:rows]
            hidden, width = self._layout.hidden, self._layout.width
            found = (first[:, :hidden], back[:, hidden:], back[:, :hidden])
            if not self.folded:
                found += (first[:, :width], back[:, :width])
                found += (self._features[:rows], self._features_gradient[:rows])
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            self._views[rows] = found
        return found
