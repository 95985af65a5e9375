"""The training loop: its curve, its promises of reproducibility, and its ways to stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import WORDS, toy_data
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.errors import Diverged
from makemore_core.model import checkpoint
from makemore_core.model.snapshot import Snapshot
from makemore_core.training.evaluate import split_loss
from makemore_core.training.trainer import (
    Evaluation,
    TrainingRun,
    TrialResult,
    evaluation_steps,
    steps_per_block,
    train,
)

CONFIG = TrialConfig(
    hidden_width=16, batch_size=8, examples=8 * 700, evaluations=7, optimizer="adamw",
    learning_rate=0.01, dropout=0.1, weight_decay=0.1, schedule="cosine", warmup=0.1,
)  # fmt: skip
LECTURE = TrialConfig(
    hidden_width=16, batch_size=8, examples=8 * 700, evaluations=3, initialisation="lecture",
    targets="sampled",
)  # fmt: skip


class Stop(Exception):
    """Raised by the callbacks of these tests."""


def bits(result: TrialResult) -> tuple[Any, ...]:
    """Everything of a result that must not differ by a bit: all but the times."""
    curve = tuple(replace(evaluation, seconds=0.0) for evaluation in result.curve)
    tensors = tuple(t.numpy().tobytes() for t in result.model.tensors.values())
    return (
        *(getattr(result, name) for name in ("dev_loss", "train_loss", "steps")),
        curve,
        tensors,
    )


def snapshots_of(config: TrialConfig, data: Dataset) -> list[Snapshot]:
    taken: list[Snapshot] = []
    train(config, data, 1, on_block=lambda run: taken.append(run.snapshot()))
    return taken


@pytest.mark.parametrize("config", [CONFIG, LECTURE])
def test_two_identical_runs_are_bitwise_equal(config: TrialConfig) -> None:
    """Same configuration, data and seed: the same bits. Another seed: others."""
    data = toy_data()
    first, again, other = (train(config, data, seed) for seed in (1, 1, 2))
    assert bits(first) == bits(again)
    assert bits(first) != bits(other)


@pytest.mark.parametrize("config", [CONFIG, LECTURE])
def test_a_resumed_run_is_bitwise_equal_to_an_undisturbed_one(
    config: TrialConfig, tmp_path: Path
) -> None:
    """From any snapshot, kept on disk in between."""
    data = toy_data()
    expected = bits(train(config, data, 1))
    taken = snapshots_of(config, data)
    assert len(taken) >= 3
    for number, snapshot in enumerate(taken):
        checkpoint.save_snapshot(tmp_path / f"{number}", snapshot, {})
        kept, _ = checkpoint.load_snapshot(tmp_path / f"{number}")
        assert bits(train(config, data, 1, resume=kept)) == expected


def test_a_snapshot_of_another_run_is_refused() -> None:
    """Another seed or configuration is no run to go on with."""
    data = toy_data()
    snapshot = snapshots_of(CONFIG, data)[0]
    with pytest.raises(ValueError, match="another"):
        train(CONFIG, data, 2, resume=snapshot)
    with pytest.raises(ValueError, match="another"):
        train(replace(CONFIG, learning_rate=0.02), data, 1, resume=snapshot)


def test_words_of_the_test_split_change_no_bit() -> None:
    """With every test word replaced by another, all of a run stays as it is."""
    from makemore_core.data import corpus, splits

    words = [a + b + c for a in "abcde" for b in "fghij" for c in "klm"]
    here = corpus.Corpus("here", tuple(words))
    shuffled, _, second_cut = splits.shuffled(here, 42)
    test_words = set(shuffled[second_cut:])
    other = corpus.Corpus("there", tuple(w[::-1] if w in test_words else w for w in words))
    results = [train(CONFIG, Dataset.from_corpus(each, 42), 1) for each in (here, other)]
    assert bits(results[0]) == bits(results[1])


@given(examples=st.integers(1, 10_000), size=st.integers(1, 100), evaluations=st.integers(1, 300))
def test_evaluations_are_evenly_spaced(examples: int, size: int, evaluations: int) -> None:
    """The k-th after round(k * steps / evaluations) steps, merged where those are equal."""
    config = TrialConfig(examples=examples, batch_size=size, evaluations=evaluations)
    found = evaluation_steps(config)
    assert found[-1] == config.steps
    assert found == sorted(set(found))
    assert len(found) == min(evaluations, config.steps)
    gaps = [b - a for a, b in zip([0, *found], found, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_the_result_is_that_of_the_best_evaluation() -> None:
    """dev_loss is the lowest of the curve, and the model is from there; losses are exact."""
    data = toy_data()
    seen: list[Evaluation] = []
    result = train(replace(CONFIG, dropout=0.0), data, 3, on_evaluation=seen.append)
    assert tuple(seen) == result.curve
    best = min(result.curve, key=lambda e: e.dev_loss)
    assert result.dev_loss == best.dev_loss
    assert result.final_dev_loss == result.curve[-1].dev_loss > result.dev_loss
    counts = data.contexts(3)
    found = split_loss(result.model, counts.dev, counts.dev_unseen_count)
    assert found.all == pytest.approx(result.dev_loss, rel=1e-6)
    assert found.unseen == pytest.approx(result.dev_loss_unseen, rel=1e-6)
    assert split_loss(result.model, counts.train).all == pytest.approx(result.train_loss, rel=1e-6)
    assert (700, 5600) == (result.steps, result.examples)
    assert [e.examples for e in result.curve] == [e.step * 8 for e in result.curve]
    assert 0 < result.curve[0].seconds <= result.curve[-1].seconds <= result.train_seconds


def test_training_learns_and_its_running_loss_says_so() -> None:
    """The mean batch loss of the last stretch is near the exact training loss, below the first."""
    config = replace(CONFIG, dropout=0.0, evaluations=70)
    result = train(config, toy_data(dev=WORDS), 1)
    assert result.train_loss < 1.0
    assert result.curve[-1].train_loss == pytest.approx(result.train_loss, abs=0.1)
    assert result.curve[-1].train_loss < 0.5 * result.curve[0].train_loss


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_divergence_is_an_outcome(optimizer: Any) -> None:
    """A learning rate far too high ends in Diverged at an evaluation, not in numbers."""
    config = replace(
        LECTURE, learning_rate=1e6, optimizer=optimizer, weight_decay=1e6, schedule="constant"
    )
    with pytest.raises(Diverged, match="step"):
        train(config, toy_data(), 1)


def test_patience_stops_a_run_that_no_longer_improves() -> None:
    """So many evaluations without improvement; the result says so."""
    config = replace(CONFIG, learning_rate=0.5, schedule="constant", evaluations=70, patience=3)
    result = train(config, toy_data(), 1)
    assert result.stopped_early
    best = min(result.curve, key=lambda e: e.dev_loss)
    assert 3 == len(result.curve) - best.index
    assert result.steps < config.steps


def test_patience_waits_for_a_step_schedule_to_step() -> None:
    """However long nothing improves, it does not stop before the learning rate has fallen."""
    config = replace(
        CONFIG, learning_rate=0.5, schedule="step", step_at=0.6, evaluations=70, patience=1
    )
    result = train(config, toy_data(), 1)
    assert result.steps > 0.6 * config.steps


@pytest.mark.parametrize("callback", ["on_evaluation", "on_block"])
def test_a_callback_may_end_the_run(callback: str) -> None:
    """What it raises comes out as it is."""

    def stop(_: Any) -> None:
        raise Stop

    hooks: dict[str, Callable[[Any], None]] = {callback: stop}
    with pytest.raises(Stop):
        train(CONFIG, toy_data(), 1, **hooks)  # type: ignore[arg-type]


def test_blocks_come_often_and_know_where_they_are() -> None:
    """`on_block` is called between blocks of steps, with the position and examples so far."""
    places: list[tuple[int, int]] = []

    def note(run: TrainingRun) -> None:
        places.append((run.step, run.examples))

    train(CONFIG, toy_data(), 1, on_block=note)
    assert (700, 5600) == places[-1]
    assert all(examples == 8 * step for step, examples in places)
    large = replace(CONFIG, hidden_width=4096, batch_size=4096, block_size=32, embedding_size=64)
    assert 1 == steps_per_block(large, 27)
    assert steps_per_block(CONFIG, 27) > 100


def test_other_devices_train_alike() -> None:
    """Elsewhere the reference does the steps: the same curve, as far as float32 goes."""
    config = replace(CONFIG, examples=8 * 20, evaluations=2)
    here, there = (train(config, toy_data(), 1, device=device) for device in ("cpu", "cpu:0"))
    assert there.dev_loss == pytest.approx(here.dev_loss, abs=1e-4)


@settings(max_examples=15)
@given(words=st.lists(st.text("aβ語🙂é", min_size=1, max_size=70), min_size=1, max_size=6))
def test_any_alphabet_and_any_length(words: list[str]) -> None:
    """Characters beyond ASCII, words longer than any block, a corpus of one word."""
    config = replace(CONFIG, examples=80, block_size=64, embedding_size=2, evaluations=1)
    result = train(config, Dataset(".aβéz語🙂", tuple(words), ("z", words[0])), 1)
    assert result.dev_loss > 0
    assert all(torch.isfinite(t).all() for t in result.model.tensors.values())


def test_dev_words_that_are_all_seen_have_no_unseen_loss() -> None:
    """Nothing is made up for an empty set of words."""
    result = train(replace(CONFIG, examples=80), toy_data(dev=WORDS[:3]), 1)
    assert result.dev_loss_unseen is None
