"""Compiles every kernel, so that no trial waits for the compiler."""

from dataclasses import replace

from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset, ngram_targets
from makemore_core.training.batches import BatchSampler
from makemore_core.training.trainer import train


def warm_up() -> None:
    """Trains tiny models that together use every kernel.

    The first call on a machine compiles for about ten seconds and caches the result on disk; later
    calls take a fraction of a second. Call it once before starting several processes.
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
    counted = data.contexts(2).train
    for targets in ("expected", "sampled"):  # smooth targets that are not written out
        config = replace(plain, targets=targets, smoothing=0.5)
        BatchSampler(
            config, counted, 0, 1, ngram_targets(counted, data.vocabulary, max_numbers=0)
        ).batch(0)
