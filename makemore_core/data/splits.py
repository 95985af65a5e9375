"""The 80/10/10 split by word, from a seed: train and dev words, and the number of test words."""

import random
from dataclasses import dataclass

from makemore_core.data.corpus import Corpus


@dataclass(frozen=True)
class Splits:
    """The train and dev words, and the number of test words."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    test_words: int


def split(corpus: Corpus, seed: int) -> Splits:
    """Splits a corpus as the lecture does: shuffled once, then cut at 80 % and 90 %.

    With `seed` 42 on the lecture's corpus: 25,626 / 3,203 / 3,204 words.
    """
    words, first_cut, second_cut = shuffled(corpus, seed)
    return Splits(
        train=tuple(words[:first_cut]),
        dev=tuple(words[first_cut:second_cut]),
        test_words=len(words) - second_cut,
    )


def shuffled(corpus: Corpus, seed: int) -> tuple[list[str], int, int]:
    """All words in their shuffled order, and the two cuts.

    The order depends on the seed and the number of words alone, never on the words, so no word of
    the test split can influence which words are trained on.
    """
    words = list(corpus.words)
    random.Random(seed).shuffle(words)
    return words, int(0.8 * len(words)), int(0.9 * len(words))
