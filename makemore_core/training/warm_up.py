"""Compiles every kernel once, so that no first trial waits for it."""

from dataclasses import replace

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset, ngram_targets
from makemore_core.training.batches import BatchSampler
from makemore_core.training.trainer import train


def warm_up() -> None:
    """Trains tiny models that between them use every kernel.

    The first time on a machine this takes about ten seconds of compiling, which stays on disk;
    afterwards a fraction of a second. Whoever starts several processes calls it once before.
    """
    words = ("ab", "ba", "aab", "b", "bab") * 2
    data = Dataset(".ab", words, words)
    plain = TrialConfig(
        embedding_size=4, hidden_width=8, block_size=2, batch_size=2, targets="sampled",
        examples=8, evaluations=1,
    )  # fmt: skip
    folded = TrialConfig(
        embedding_size=64, hidden_width=8, block_size=2, batch_size=512, optimizer="adamw",
        dropout=0.5, examples=1024, evaluations=1,
    )  # fmt: skip
    train(plain, data, 0)
    train(folded, data, 0)
    counted = data.at_block_size(2).train
    for targets in ("expected", "sampled"):  # smoothed ones, as of a large alphabet
        smoothed = replace(plain, targets=targets, smoothing=0.5)
        BatchSampler(smoothed, counted, 0, 1, ngram_targets(counted, data.vocabulary, most=0)).at(0)
