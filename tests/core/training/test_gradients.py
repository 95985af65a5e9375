"""Hand-derived gradients and updates against autograd and torch.optim, in float64."""

from collections.abc import Mapping

import pytest
import torch
from examples import WORDS, Bench, configs, word_lists
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from makemore_core.config import TrialConfig
from makemore_core.model.network import forward
from makemore_core.training.adamw import EPSILON, FIRST_DECAY, SECOND_DECAY
from makemore_core.training.parameter_layout import ParameterLayout
from makemore_core.training.torch_step import BY_POSITION, DECAYED, gradients

FOLDED = [True, False]


def autograd(
    tensors: Mapping[str, Tensor], contexts: Tensor, targets: Tensor, mask: Tensor | None
) -> tuple[float, dict[str, Tensor]]:
    """The loss and its gradients, by torch, in float64."""
    leaves = {name: t.double().requires_grad_() for name, t in tensors.items()}
    logits = forward(leaves, contexts, None if mask is None else mask.double())
    loss = -(targets.double() * torch.log_softmax(logits, 1)).sum()
    loss.backward()
    found = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return loss.item(), found


def assert_close(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], tolerance: float
) -> None:
    """Every tensor within the tolerance of the largest number in any of them."""
    assert set(expected) == set(found)
    scale = max(float(t.abs().max()) for t in expected.values()) + 1e-3
    for name, tensor in expected.items():
        error = float((tensor - found[name]).abs().max()) / scale
        assert error < tolerance, f"{name}: {error}"


@given(config=configs(), words=word_lists())
def test_the_reference_has_the_gradient_of_autograd(
    config: TrialConfig, words: tuple[str, ...]
) -> None:
    """In float64, to 1e-9: both targets, direct connections or none, dropout or none."""
    bench = Bench(config, words)
    mask = bench.reference().mask(bench.sampler.batch(2))
    batch = (bench.contexts(2), bench.targets(2), mask)
    loss, expected = autograd(bench.model.tensors, *batch)
    doubles = {name: t.double() for name, t in bench.model.tensors.items()}
    mask64 = None if mask is None else mask.double()
    found_loss, found = gradients(doubles, batch[0], batch[1].double(), mask64)
    assert loss == pytest.approx(found_loss.item(), rel=1e-9)
    assert_close(expected, found, 1e-9)


@pytest.mark.parametrize("folded", FOLDED)
@given(config=configs(), words=word_lists())
def test_the_kernels_have_the_gradient_of_autograd(
    folded: bool, config: TrialConfig, words: tuple[str, ...]
) -> None:
    """Folded or plain, to 1e-5 of the largest: what float32 can hold; and the same loss."""
    bench = Bench(config, words)
    mask = bench.reference().mask(bench.sampler.batch(2))
    loss, expected = autograd(bench.model.tensors, bench.contexts(2), bench.targets(2), mask)
    step = bench.kernels(folded)
    step.run(2, 3)
    assert_close(expected, step.tensors(step.gradient), 1e-5)
    assert step.pop_loss() == pytest.approx(loss, rel=1e-5)


@given(config=configs(), words=word_lists())
def test_folded_and_plain_agree(config: TrialConfig, words: tuple[str, ...]) -> None:
    """The two ways have the same gradients to 1e-5."""
    bench = Bench(config, words)
    folded, plain = bench.kernels(folded=True), bench.kernels(folded=False)
    folded.run(0, 1)
    plain.run(0, 1)
    assert_close(plain.tensors(plain.gradient), folded.tensors(folded.gradient), 1e-5)


@pytest.mark.parametrize("length", range(7))
@pytest.mark.parametrize("folded", FOLDED)
def test_paddings_of_every_length(folded: bool, length: int) -> None:
    """Words of one length: their contexts have up to that many real characters before the end."""
    words = ("abcdef"[:length] or "a", "fedcba"[:length] or "b")
    bench = Bench(TrialConfig(block_size=6, batch_size=40, direct=True), words)
    loss, expected = autograd(bench.model.tensors, bench.contexts(0), bench.targets(0), None)
    step = bench.kernels(folded)
    step.run(0, 1)
    assert_close(expected, step.tensors(step.gradient), 1e-5)
    assert step.pop_loss() == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("folded", FOLDED)
@given(config=configs(learning_rate=0.02), words=word_lists())
def test_several_steps_of_the_kernels_are_those_of_the_reference(
    folded: bool, config: TrialConfig, words: tuple[str, ...]
) -> None:
    """Five steps with either optimiser end at the same parameters, as far as float32 goes."""
    bench = Bench(config, words)
    ours, reference = bench.kernels(folded), bench.reference()
    ours.run(0, 5)
    reference.run(0, 5)
    loose = 2e-3 if config.optimizer == "adamw" else 1e-4  # AdamW divides tiny by tiny
    assert_close(reference.tensors(reference.parameters), ours.tensors(ours.parameters), loose)


@pytest.mark.parametrize("folded", FOLDED)
@given(config=configs(), words=word_lists())
def test_padding_stays_zero(folded: bool, config: TrialConfig, words: tuple[str, ...]) -> None:
    """What fills up rows and columns is no part of the model, and never becomes one."""
    bench = Bench(config, words)
    step = bench.kernels(folded)
    step.run(0, 5)
    layout = ParameterLayout(config, len(bench.model.vocabulary))
    ones = {name: torch.ones_like(tensor) for name, tensor in bench.model.tensors.items()}
    assert not step.parameters[layout.pack(ones) == 0].any()


@pytest.mark.parametrize("growth", [1.0, 1.5])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_updates_are_those_of_torch_optim(optimizer: str, growth: float) -> None:
    """SGD, and AdamW with decoupled decay: on weights and features but not on biases, and in the
    first layer the stronger the further back its character stands."""
    config = TrialConfig(
        optimizer=optimizer, weight_decay=0.2, decay_growth=growth, learning_rate=0.03,
        schedule="constant", direct=True, hidden_width=20, examples=32 * 10, targets="sampled",
    )  # fmt: skip
    bench = Bench(config, WORDS)
    step = bench.kernels()
    leaves = by_position(bench.model.tensors)
    decay = dict.fromkeys(leaves, 0.0) | dict.fromkeys(DECAYED, 0.2)
    for name in BY_POSITION:
        decay |= {f"{name}.0": 0.2 * growth, f"{name}.1": 0.2, f"{name}.2": 0.2 / growth}
    groups = [{"params": [leaf], "weight_decay": decay[name]} for name, leaf in leaves.items()]
    theirs: torch.optim.Optimizer
    if optimizer == "sgd":
        theirs = torch.optim.SGD(groups, lr=0.03)
    else:
        theirs = torch.optim.AdamW(groups, lr=0.03, betas=(FIRST_DECAY, SECOND_DECAY), eps=EPSILON)
    for number in range(10):
        step.run(number, number + 1)
        for name, gradient in by_position(step.tensors(step.gradient)).items():
            leaves[name].grad = gradient
        theirs.step()
    assert_close(leaves, by_position(step.tensors(step.parameters)), 1e-5)


def by_position(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of a model's tensors, those of the first layer apart for each character of context."""
    found = {}
    for name, tensor in tensors.items():
        parts = tensor.unbind() if name in BY_POSITION else ()
        found |= {f"{name}.{k}": part.clone() for k, part in enumerate(parts)}
        found |= {} if parts else {name: tensor.clone()}
    return found


@given(share=st.floats(0.05, 0.9), seed=st.integers(0, 10))
def test_dropout_keeps_its_share(share: float, seed: int) -> None:
    """The hidden units that a mask keeps are as many as asked for; what is kept is scaled up."""
    bench = Bench(TrialConfig(dropout=share, hidden_width=400, batch_size=200), WORDS, seed)
    masks = [bench.reference().mask(bench.sampler.batch(step)) for step in range(4)]
    mask = torch.cat([m for m in masks if m is not None])
    assert float((mask == 0).float().mean()) == pytest.approx(share, abs=0.02)
    assert float(mask.max()) == pytest.approx(1 / (1 - share), rel=1e-5)
    rows_differ = (mask[0] != mask[1]).float().mean()
    assert float(rows_differ) == pytest.approx(2 * share * (1 - share), abs=0.15)
