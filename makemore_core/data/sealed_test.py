"""The test split: the only module that returns its words.

Only `search.evaluation.final_test` may import it (import-linter).
"""

from makemore_core.data.corpus import Corpus
from makemore_core.data.splits import shuffled


def open_test_split(corpus: Corpus, seed: int) -> tuple[str, ...]:
    """The words of the test split. Record the opening before calling this."""
    words, _, second_cut = shuffled(corpus, seed)
    return tuple(words[second_cut:])
