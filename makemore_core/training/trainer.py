"""Trains one model: `train(config, data, seed)` gives its dev loss, curve and parameters."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from typing import Protocol

import torch
from torch import Tensor

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import ContextData, Dataset
from makemore_core.errors import Diverged
from makemore_core.model.network import Model, initialize
from makemore_core.model.snapshot import Snapshot
from makemore_core.randomness import generator
from makemore_core.training.batches import BatchSampler
from makemore_core.training.evaluate import split_loss
from makemore_core.training.kernel_step import KernelStep
from makemore_core.training.torch_step import TorchStep

BLOCK_SECONDS = 0.1
"""The most time between two calls of `on_block`, by a pessimistic estimate."""


@dataclass(frozen=True)
class Evaluation:
    """One of the evenly spaced evaluations on the dev split."""

    index: int  # from 1 to the number of evaluations
    step: int
    examples: int  # seen so far
    dev_loss: float  # nats per predicted character
    dev_loss_unseen: float | None  # over dev words that train does not hold; None: there are none
    train_loss: float  # mean over the batches since the previous evaluation
    seconds: float  # of training and evaluation since the run began, nothing else


@dataclass(frozen=True)
class TrialResult:
    """The result of a finished run. Losses are mean nats per predicted character."""

    dev_loss: float  # the best of the evaluations; `model` is from there
    dev_loss_unseen: float | None  # at the best evaluation
    final_dev_loss: float  # of the last evaluation
    train_loss: float  # exact, over the training split, at the best evaluation
    parameters: int
    steps: int
    examples: int
    train_seconds: float  # of training and evaluation, nothing else
    stopped_early: bool
    curve: tuple[Evaluation, ...]
    model: Model

    @property
    def steps_per_second(self) -> float:
        """Updates per second, the time of evaluations included."""
        return self.steps / self.train_seconds


class Step(Protocol):
    """The training step: `KernelStep` on the CPU, `TorchStep` on other devices."""

    parameters: Tensor

    def run(self, start: int, end: int) -> None:
        """Does the steps `start` to `end` - 1."""

    def pop_loss(self) -> float:
        """The sum of the batch losses (nats) since the last call, which is set to 0."""

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step; a snapshot copies and restores it."""

    def tensors(self, flat: Tensor) -> dict[str, Tensor]:
        """Copies of a model's tensors, from parameters that this run has or had."""


class TrainingRun:
    """The state of a training run: its position, its curve and its parameters."""

    def __init__(self, config: TrialConfig, vocabulary: str, seed: int, step: Step) -> None:
        self.config, self.vocabulary, self.seed = config, vocabulary, seed
        self.step = 0
        self.seconds = 0.0
        self.curve: list[Evaluation] = []
        self._step = step
        self._best = step.parameters.clone()

    @property
    def examples(self) -> int:
        """Training examples seen so far."""
        return self.step * self.config.batch_size

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the lowest dev loss so far; the first of equals."""
        return min(self.curve, key=lambda e: e.dev_loss, default=None)

    def best_model(self) -> Model:
        """The parameters at the best evaluation so far, on the CPU."""
        tensors = {name: t.cpu() for name, t in self._step.tensors(self._best).items()}
        return Model(self.config, self.vocabulary, tensors)

    def model(self) -> Model:
        """The parameters as they are, where they are."""
        return Model(self.config, self.vocabulary, self._step.tensors(self._step.parameters))

    def snapshot(self) -> Snapshot:
        """A copy of the state, from which `train(..., resume=)` continues bit for bit."""
        tensors = {name: t.detach().cpu().clone() for name, t in self._step.state().items()}
        tensors["best"] = self._best.cpu().clone()
        state = {
            "config": asdict(self.config),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "curve": [list(astuple(evaluation)) for evaluation in self.curve],
        }
        return Snapshot(tensors, state)

    def restore(self, snapshot: Snapshot) -> None:
        """Restores a snapshot of the same configuration and seed.

        Raises:
            ValueError: it is of another configuration or seed.
        """
        if snapshot.state["config"] != asdict(self.config) or snapshot.state["seed"] != self.seed:
            raise ValueError("the snapshot is of another configuration or seed")
        for name, tensor in self._step.state().items():
            tensor.copy_(snapshot.tensors[name])
        self._best.copy_(snapshot.tensors["best"])
        self.step, self.seconds = snapshot.state["step"], snapshot.state["seconds"]
        self.curve = [Evaluation(*values) for values in snapshot.state["curve"]]

    def record(self, evaluation: Evaluation) -> None:
        """Adds an evaluation; keeps the parameters if it is the best so far."""
        if self.best is None or evaluation.dev_loss < self.best.dev_loss:
            self._best.copy_(self._step.parameters)
        self.curve.append(evaluation)

    def out_of_patience(self) -> bool:
        """Whether the last `patience` evaluations brought no improvement."""
        config = self.config
        if config.patience is None or self.best is None:
            return False
        if config.schedule == "step" and self.step - 0.5 < config.step_at * config.steps:
            return False
        return len(self.curve) - 1 - self.curve.index(self.best) >= config.patience


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Sets torch's number of threads, and flushes denormal numbers, which are many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def steps_per_block(config: TrialConfig, symbols: int) -> int:
    """The number of steps between two calls of `on_block`, which are drawn at once.

    A pessimistic estimate: 0.2 ms for each, and its products at 15 GFLOP/s.
    """
    inputs = config.block_size * config.embedding_size
    rows = max(config.batch_size, symbols)
    products = 6 * rows * config.hidden_width * (min(inputs, 32 * symbols) + symbols)
    return max(1, int(BLOCK_SECONDS / (2e-4 + products / 1.5e10)))


def batches_of(config: TrialConfig, block_data: ContextData, seed: int) -> BatchSampler:
    """The sampler of a run's batches."""
    block = steps_per_block(config, len(block_data.vocabulary))
    expected = block_data.ngram_targets if config.smoothing else None
    return BatchSampler(config, block_data.train, seed, block, expected)


def evaluation_steps(config: TrialConfig) -> list[int]:
    """The steps after which the dev split is evaluated; the last is always the last step."""
    steps = {round(k * config.steps / config.evaluations) for k in range(1, config.evaluations + 1)}
    return sorted(steps - {0})


def train(
    config: TrialConfig,
    data: Dataset,
    seed: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_block: Callable[[TrainingRun], None] | None = None,
    resume: Snapshot | None = None,
) -> TrialResult:
    """Trains one configuration from one seed.

    The same configuration, data, seed, machine and thread count give the same bits, also when the
    run was interrupted and resumed from a snapshot: random draws are keyed by seed, purpose and
    position.

    Args:
        on_evaluation: called after each evaluation; may raise, to prune the run.
        on_block: called about every tenth of a second at most, with the run; may raise.
        resume: a snapshot of this configuration and seed.

    Raises:
        Diverged: a loss became NaN or infinite.
    """
    block_data = data.contexts(config.block_size)
    model = initialize(config, data.vocabulary, generator(seed, "initialisation"))
    sampler = batches_of(config, block_data, seed)
    if device == "cpu":
        step: Step = KernelStep(config, model, block_data.train, sampler)
    else:
        step = TorchStep(config, model, block_data.train, sampler, device)
    run = TrainingRun(config, data.vocabulary, seed, step)
    if resume is not None:
        run.restore(resume)
    steps = config.steps
    evaluations = evaluation_steps(config)
    stopped_early = run.out_of_patience()

    with torch_threads(threads):
        while run.step < steps and not stopped_early:
            started = time.perf_counter()
            index = len(run.curve)
            until = min(evaluations[index], run.step - run.step % sampler.block + sampler.block)
            step.run(run.step, until)
            run.step = until
            if until == evaluations[index]:
                since = until - (evaluations[index - 1] if index else 0)
                train_loss = step.pop_loss() / since
                loss = split_loss(run.model(), block_data.dev, block_data.dev_unseen_count)
                if not math.isfinite(loss.all):
                    raise Diverged(f"the dev loss became {loss.all} at step {until}")
                run.seconds += time.perf_counter() - started
                run.record(
                    Evaluation(index + 1, until, run.examples, *loss, train_loss, run.seconds)
                )
                stopped_early = run.out_of_patience()
                if on_evaluation is not None:
                    on_evaluation(run.curve[-1])
            else:
                run.seconds += time.perf_counter() - started
            if on_block is not None:
                on_block(run)
        best, model = run.best, run.best_model()
        train_loss = split_loss(model, block_data.train).all

    assert best is not None  # the last step is always evaluated
    return TrialResult(
        dev_loss=best.dev_loss,
        dev_loss_unseen=best.dev_loss_unseen,
        final_dev_loss=run.curve[-1].dev_loss,
        train_loss=train_loss,
        parameters=model.parameters,
        steps=run.step,
        examples=run.examples,
        train_seconds=run.seconds,
        stopped_early=stopped_early and run.step < steps,
        curve=tuple(run.curve),
        model=model,
    )
