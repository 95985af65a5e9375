"""What the tests of the core stand on: small corpora, and the lecture's where it can be found."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from makemore_core.config import TrialConfig
from makemore_core.data import corpus
from makemore_core.data.contexts import CountedContexts, count_contexts
from makemore_core.data.dataset import Dataset, ngram_targets
from makemore_core.model.network import Model, initialize
from makemore_core.training.batches import BatchSampler
from makemore_core.training.kernel_step import KernelStep
from makemore_core.training.torch_step import TorchStep

WORDS = ("emma", "olivia", "ava", "isabella", "sophia", "charlotte", "mia", "amelia", "evelyn", "a")


def toy_data(
    words: tuple[str, ...] = WORDS, dev: tuple[str, ...] = ("ella", "ava", "sam")
) -> Dataset:
    """Train and dev words with the alphabet of both."""
    return Dataset("." + "".join(sorted(set("".join(words + dev)))), words, dev)


def lecture_corpus() -> corpus.Corpus:
    """The lecture's names; where they are not to be had the test is skipped, but never in CI."""
    directory = os.environ.get(corpus.CORPORA_VARIABLE)
    if directory is None or not (Path(directory) / "names.txt").is_file():
        reason = f"names.txt is needed: set {corpus.CORPORA_VARIABLE} to its directory"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return corpus.load("names", Path("nowhere"))


@st.composite
def word_lists(draw: st.DrawFn) -> tuple[str, ...]:
    """Words of one to nine of a few characters, repeats among them."""
    alphabet = draw(st.sampled_from(["ab", "abcdefg", "aβ語🙂é", "abcdefghijklmnopqrstuvwxyz"]))
    return tuple(draw(st.lists(st.text(alphabet, min_size=1, max_size=9), min_size=1, max_size=25)))


@st.composite
def configs(draw: st.DrawFn, **fixed: Any) -> TrialConfig:
    """Small configurations of every kind."""
    drawn = {
        "embedding_size": st.integers(1, 9),
        "hidden_width": st.integers(1, 40),
        "block_size": st.integers(1, 7),
        "batch_size": st.integers(1, 60),
        "learning_rate": st.floats(0.001, 0.5),
        "weight_decay": st.sampled_from([0.0, 0.3]),
        "decay_growth": st.sampled_from([1.0, 1.6]),
        "dropout": st.sampled_from([0.0, 0.4]),
        "smoothing": st.sampled_from([0.0, 0.3, 1.0]),
        "optimizer": st.sampled_from(["adamw", "sgd"]),
        "targets": st.sampled_from(["expected", "sampled"]),
        "direct": st.booleans(),
    }
    values: dict[str, Any] = {
        "schedule": "constant",
        "examples": 10_000,
        "initialisation": "lecture",
    }
    values |= {name: draw(strategy) for name, strategy in drawn.items() if name not in fixed}
    return TrialConfig(**values | fixed)


class Bench:
    """One configuration over some words, with both ways of the kernels and the reference."""

    def __init__(self, config: TrialConfig, words: tuple[str, ...], seed: int = 3) -> None:
        vocabulary = "." + "".join(sorted(set("".join(words))))
        self.config = config
        self.counted: CountedContexts = count_contexts(words, vocabulary, config.block_size)
        expected = ngram_targets(self.counted, vocabulary) if config.smoothing else None
        self.sampler = BatchSampler(config, self.counted, seed, 4, expected)
        fresh = initialize(config, vocabulary, torch.Generator().manual_seed(seed))
        half = {name: 0.5 * tensor for name, tensor in fresh.tensors.items()}
        self.model = Model(config, vocabulary, half)

    def kernels(self, folded: bool | None = None) -> KernelStep:
        return KernelStep(self.config, self.model, self.counted, self.sampler, folded)

    def reference(self) -> TorchStep:
        return TorchStep(self.config, self.model, self.counted, self.sampler, "cpu")

    def contexts(self, step: int) -> torch.Tensor:
        return torch.from_numpy(
            self.counted.contexts[self.sampler.batch(step).rows].astype(np.int64)
        )

    def targets(self, step: int) -> torch.Tensor:
        symbols = len(self.model.vocabulary)
        return torch.from_numpy(self.sampler.dense_targets(self.sampler.batch(step), symbols))
