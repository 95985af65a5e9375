"""The paper's ten rows from `studies/bengio.toml` (Bengio et al. 2003, table 1), on characters."""

import functools
import math
import os
from pathlib import Path

import pytest

from makemore_core.config import TrialConfig
from makemore_core.data import corpus, ngram
from makemore_core.data.dataset import Dataset
from makemore_core.lecture.mixture import Mixture, mix
from makemore_core.training.trainer import train
from search.spec import search_space, study_file

FILE = Path(__file__).parents[3] / "studies" / "bengio.toml"
EXAMPLES = 300_000
"""Of the file's two million."""

PAPER = [(5, 50, 60, True), (5, 0, 60, True), (5, 50, 30, True), (3, 50, 30, True),
         (5, 100, 30, False)]  # fmt: skip
"""n, h, m and direct connections of MLP1, 3, 5, 7 and 9; each but mixed is the row after it."""

NOISE = 0.005
"""Nats: two standard deviations over seeds of the noisiest of the networks, at this length."""


def configurations() -> list[TrialConfig]:
    """The five networks of the file, shortened."""
    spec = study_file.read(FILE)
    return [
        search_space.configuration(spec.space, {}, entry, examples=EXAMPLES, evaluations=2)
        for entry in spec.enqueue
    ]


@functools.cache
def names() -> Dataset:
    """The lecture's corpus."""
    directory = os.environ.get(corpus.CORPORA_VARIABLE, "")
    if not (directory and (Path(directory) / "names.txt").is_file()):
        reason = f"names.txt is needed: set {corpus.CORPORA_VARIABLE} to its directory"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return Dataset.from_corpus(corpus.load("names", Path(directory)), 42)


@functools.cache
def rows() -> list[Mixture]:
    """The ten rows, in the order of the paper's table."""
    data = names()
    trigram = ngram.fit(data.train_words, data.vocabulary, 3)
    models = [train(config, data, 1).model for config in configurations()]
    return [mix(model, trigram, data, share) for model in models for share in (1.0, None)]


def test_the_file_has_the_papers_networks() -> None:
    """All five are tried, nothing is pruned, and they differ as in the table."""
    spec = study_file.read(FILE)
    found = [(c.block_size + 1, c.hidden_width, c.embedding_size, c.direct)
             for c in configurations()]  # fmt: skip
    assert found == PAPER
    assert (5, "none") == (spec.budget.trials, spec.pruner.kind)
    assert {("inverse", "sgd", 1e-4)} == {
        (c.schedule, c.optimizer, c.weight_decay) for c in configurations()
    }


@pytest.mark.long
def test_mixing_never_hurts() -> None:
    """Not any of the five; and it helps most where the network is weakest."""
    pairs = zip(rows()[0::2], rows()[1::2], strict=True)
    gains = [alone.dev_loss - mixed.dev_loss for alone, mixed in pairs]
    assert min(gains) >= -1e-9  # the weight is fitted on the dev split
    mlp1, mlp3, mlp5, mlp7, mlp9 = gains
    assert min(mlp3, mlp7) > max(mlp1, mlp5, mlp9)


@pytest.mark.long
def test_the_hidden_layer_helps() -> None:
    """As in the paper: MLP1 and MLP5 beat MLP3, alone and mixed, by far more than the noise."""
    mlp1, mlp2, mlp3, mlp4, mlp5, mlp6 = rows()[:6]
    assert min(mlp3.dev_loss - mlp1.dev_loss, mlp3.dev_loss - mlp5.dev_loss) > 5 * NOISE
    assert min(mlp4.dev_loss - mlp2.dev_loss, mlp4.dev_loss - mlp6.dev_loss) > 2 * NOISE


@pytest.mark.long
def test_a_longer_context_helps() -> None:
    """As in the paper: n = 5 beats n = 3 (MLP5 and MLP7, MLP6 and MLP8)."""
    mlp5, mlp6, mlp7, mlp8 = rows()[4:8]
    assert mlp7.dev_loss - mlp5.dev_loss > 5 * NOISE
    assert mlp8.dev_loss - mlp6.dev_loss > 5 * NOISE


@pytest.mark.long
def test_the_mixed_network_without_direct_connections_beats_every_trigram() -> None:
    """The paper's best row, MLP10, against the smoothed trigram; its perplexity is of its nats."""
    mlp10 = rows()[9]
    trigram = ngram.fit(names().train_words, names().vocabulary, 3)
    assert mlp10.dev_loss < trigram.loss(names().dev_words) - 10 * NOISE
    assert math.exp(mlp10.dev_loss) == pytest.approx(mlp10.dev_perplexity)
