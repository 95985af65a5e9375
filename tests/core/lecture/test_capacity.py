"""Loss against size, and networks of no hidden units."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import WORDS, Bench, toy_data
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.errors import ConfigError
from makemore_core.lecture.capacity import CONFIG, CapacityPoint, capacity, verdict
from makemore_core.model import checkpoint
from makemore_core.model.sampling import sample
from makemore_core.training.evaluate import split_loss
from makemore_core.training.trainer import train

QUICK = replace(CONFIG, examples=256 * 150, evaluations=5, patience=1)
LINEAR = TrialConfig(
    hidden_width=0, direct=True, embedding_size=5, block_size=4, batch_size=16, examples=16 * 200
)


def test_small_networks_underfit_and_large_ones_overfit() -> None:
    """On ten names: train falls with the size, dev rises in the end."""
    told: list[int] = []
    points = capacity(
        QUICK, toy_data(), 1, (1, 4, 64), on_point=lambda point: told.append(point.hidden_width)
    )
    assert [1, 4, 64] == told
    train_losses = [point.train_loss for point in points]
    assert train_losses == sorted(train_losses, reverse=True)
    assert points[-1].dev_loss > points[0].dev_loss
    assert points[-1].dev_loss - points[-1].train_loss > 1
    assert [point.parameters for point in points] == sorted(point.parameters for point in points)


def told(*losses: tuple[int, float, float]) -> str:
    """The verdict on (width, train loss, dev loss), after the best."""
    points = [CapacityPoint(width, width, train, dev, 1.0) for width, train, dev in losses]
    return verdict(points).partition("(one seed): ")[2]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(4, 2.0, 2.3), (8, 1.9, 2.1), (16, 1.5, 2.2)], "smaller ones underfit, larger ones"),
        ([(4, 2.0, 2.1), (8, 1.9, 2.2)], "no smaller one was tried, larger ones overfit"),
        ([(4, 2.0, 2.2), (8, 1.9, 2.1)], "smaller ones underfit, no larger one was tried"),
        ([(8, 1.9, 2.1), (4, 2.0, 2.2)], "smaller ones underfit, no larger one was tried"),
        ([(4, 2.0, 2.1)], "no smaller one was tried, no larger one was tried"),
        ([(4, 2.0, 2.1), (8, 1.9, 2.1)], "no smaller one was tried, 8 is as good"),
        ([(4, 2.0, 2.1), (8, 2.5, 2.6)], "no smaller one was tried, 8 is worse on train as well"),
        (
            [(4, 2.0, 2.1), (8, 1.9, 2.2), (16, 2.5, 2.6), (32, 2.7, 2.8)],
            "no smaller one was tried, 8 overfits, 16 and 32 are worse on train as well",
        ),
        (
            [(2, 1.8, 2.5), (4, 2.1, 2.4), (8, 2.0, 2.1)],
            "4 underfits, 2 is worse on dev alone, no larger one was tried",
        ),
    ],
)
def test_the_verdict_is_of_the_curves_shape(
    losses: list[tuple[int, float, float]], expected: str
) -> None:
    """The best may be the smallest, the largest, in between, alone, or one of equals."""
    assert told(*losses).startswith(expected)


@given(
    st.lists(
        st.tuples(st.integers(0, 64), st.floats(1, 3), st.floats(1, 3)),
        min_size=1,
        max_size=8,
        unique_by=lambda point: point[0],
    )
)
def test_the_verdict_never_claims_what_the_points_deny(
    losses: list[tuple[int, float, float]],
) -> None:
    """Smaller ones underfit only if there are some, and train worse; larger ones overfit only if
    there are some, train better and do worse; the best is the lowest."""
    text = told(*losses)
    best = min(losses, key=lambda point: (round(point[2], 4), point[0]))
    smaller = [each for each in losses if each[0] < best[0]]
    larger = [each for each in losses if each[0] > best[0] and round(each[2] - best[2], 4) > 0]
    assert ("no smaller one" in text) == (not smaller)
    assert ("no larger one" in text) == (best[0] == max(each[0] for each in losses))
    if "smaller ones underfit" in text:
        assert smaller
        assert all(each[1] > best[1] for each in smaller)
    if "larger ones overfit" in text:
        assert larger
        assert all(each[1] < best[1] for each in larger)
    named = set(map(int, re.findall(r"\d+", text)))
    assert named <= {each[0] for each in losses} - {best[0]}


def test_every_size_goes_to_its_end() -> None:
    """Evaluated there alone: early stopping would hide overfitting."""
    (point,) = capacity(QUICK, toy_data(), 1, [8])
    whole = train(replace(QUICK, hidden_width=8, evaluations=1, patience=None), toy_data(), 1)
    assert (point.dev_loss, point.train_loss) == (whole.final_dev_loss, whole.train_loss)


def test_no_hidden_layer_is_a_linear_model() -> None:
    """The paper's MLP3: logits are the direct connections and the bias, nothing else."""
    result = train(LINEAR, toy_data(), 1)
    assert result.train_loss < 2.2
    tensors = result.model.tensors
    contexts = torch.randint(0, len(result.model.vocabulary), (7, 4))
    features = tensors["embedding"][contexts].flatten(1)
    expected = features @ tensors["direct_weight"].flatten(0, 1) + tensors["output_bias"]
    assert torch.allclose(expected, result.model.logits(contexts), atol=1e-5)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_no_hidden_layer_trains_as_the_reference(folded: bool, optimizer: str) -> None:
    """Either way of the kernels, over some steps; with dropout, which then has no unit to drop."""
    config = replace(LINEAR, optimizer=optimizer, learning_rate=0.02, dropout=0.3, weight_decay=0.1)
    bench = Bench(config, WORDS)
    kernels, reference = bench.kernels(folded), bench.reference()
    kernels.run(0, 12)
    reference.run(0, 12)
    expected, found = (step.tensors(step.parameters) for step in (reference, kernels))
    for name, tensor in expected.items():
        assert found[name].numpy() == pytest.approx(tensor.numpy(), abs=1e-4), name


def test_no_hidden_layer_is_kept_and_used_like_any_other(tmp_path: Path) -> None:
    """Saved, read, evaluated and sampled."""
    result = train(LINEAR, toy_data(), 1)
    checkpoint.save(tmp_path / "model", result.model, {})
    model, _ = checkpoint.load(tmp_path / "model")
    dev = toy_data().contexts(4).dev
    assert split_loss(model, dev).all == pytest.approx(result.dev_loss, abs=1e-6)
    assert 20 == len(sample(model, 20, 1))
    assert np.isfinite(result.dev_loss)


def test_no_way_from_the_context_to_the_output() -> None:
    """Neither hidden units nor direct connections is no model."""
    with pytest.raises(ConfigError, match=r"hidden_width: .* give direct = true"):
        TrialConfig(hidden_width=0)
