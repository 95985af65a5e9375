"""Count-based baselines: the lecture's bigram, and interpolated modified Kneser-Ney n-grams.

An n-gram of order n predicts a character from the n - 1 before it, padded with the boundary at the
start of a word, as the network's contexts are. Smoothing is that of Chen & Goodman 1999, "An
empirical study of smoothing techniques for language modeling", section 3 and equations 24 to 26:

    p(x | h) = max(c(hx) - D(c(hx)), 0) / c(h) + backoff_weight(h) p(x | h')

h' is h without its oldest character, D takes one of three values for counts of 1, 2 and more, and
backoff_weight(h) is the probability that the discounts free. c counts occurrences at the highest
order, and below it the different characters that stand before hx. At the bottom is the uniform
distribution over the vocabulary, all of which can be predicted (the boundary as the end of a word).

Nothing stands before a word, so (as in SRILM and KenLM) a context ends with its first boundary from
the right, further padding adds nothing to it, and what follows it is counted by occurrences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from makemore_core.config import RANGES
from makemore_core.data.characters import foreign_character
from makemore_core.data.contexts import CountedContexts, count_contexts
from makemore_core.data.corpus import BOUNDARY, Corpus
from makemore_core.data.splits import split
from makemore_core.errors import ConfigError, CorpusError

MAX_ORDER = int(RANGES["block_size"].high) + 1
"""The longest context that a network may have, and one."""

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For an order whose counts of counts give none (KenLM: `lmplz --discount_fallback`)."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NgramBaseline:
    """The losses of count models of one order on a corpus, in nats per predicted character.

    `all_words_loss` is the lecture's figure (2.454 for its bigram): relative frequencies without
    smoothing, fitted and evaluated on every word. The other losses are of modified Kneser-Ney,
    fitted on the train words. They are exact for these words and this split: nothing is random.
    """

    order: int
    train_loss: float
    dev_loss: float
    dev_loss_unseen: float | None
    """Over the dev words that are no train words; None if there are none."""
    all_words_loss: float


@dataclass(frozen=True)
class NgramLevel:
    """The smoothed statistics of one length of context: C contexts, P pairs with what follows."""

    contexts: Integers  # (C,) sorted: index of the context one shorter * V + its oldest character
    pairs: Integers  # (P,) sorted: index of the context * V + next character
    discounted: Floats  # (P,) max(c - D(c), 0) / c(h)
    backoff_weight: Floats  # (C,) weight of the next shorter context


@dataclass(frozen=True)
class ContextTree:
    """An n-gram as a suffix tree of the contexts it was fitted on: N contexts of all lengths, P
    pairs. It takes the place of distributions that are too large to write out; see
    `training/batches.py`.

    The distribution after a context x is discounted[x] + backoff_weight[x] * that after the context
    one shorter; below the root, which has no characters, is the uniform distribution.
    """

    symbols: int
    longest: NDArray[np.int32]  # (U,) of each context that was asked for, the longest known
    shorter: NDArray[np.int32]  # (N,) the context without its oldest character; of the root -1
    start: NDArray[np.int64]  # (N + 1,) where its pairs are
    next_character: NDArray[np.int32]  # (P,)
    discounted: NDArray[np.float32]  # (P,)
    backoff_weight: NDArray[np.float32]  # (N,)

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays."""
        arrays = (getattr(self, field.name) for field in fields(self))
        return sum(each.nbytes for each in arrays if isinstance(each, np.ndarray))


@dataclass(frozen=True)
class NgramModel:
    """An interpolated modified Kneser-Ney model; `levels[k]` has the contexts of k characters.

    >>> model = fit(("emma", "ava", "eva"), ".aemv", order=3)
    >>> model.probabilities(".e").round(3)
    array([0.039, 0.067, 0.039, 0.428, 0.428])
    """

    vocabulary: str
    order: int
    levels: tuple[NgramLevel, ...]

    def probabilities(self, context: str) -> Floats:
        """The probability of each character of the vocabulary after the context. (V,)

        A context shorter than `order - 1` is the beginning of a word.
        """
        _check_words([context.lstrip(BOUNDARY)], self.vocabulary)
        padded = context.rjust(self.order, BOUNDARY)
        codes = np.array([[self.vocabulary.index(character) for character in padded]])
        distribution: Floats = self.distributions(codes)[0]
        return distribution

    def distributions(self, contexts: NDArray[np.integer]) -> Floats:
        """The distributions after many contexts at once: (U, block) indices to (U, V).

        Memory: V numbers for each context that the model knows, and for each that is asked for.
        """
        base = len(self.vocabulary)
        result = np.full((len(contexts), base), 1 / base)
        dense = np.full((1, base), 1 / base)  # of the contexts one shorter
        index = np.zeros(len(contexts), np.int64)
        for length, level in enumerate(self.levels):
            if length:
                index = _find(level.contexts, index * base + contexts[:, -length])
            shorter = level.contexts // base if length else np.zeros(1, np.int64)
            dense = level.backoff_weight[:, None] * dense[shorter]  # (C, V)
            dense[np.divmod(level.pairs, base)] += level.discounted
            seen = index >= 0
            result[seen] = dense[index[seen]]
        return result

    def tree(self, contexts: NDArray[np.integer]) -> ContextTree:
        """The same distributions as a tree, which takes no more memory than the counts."""
        base = len(self.vocabulary)
        first = np.cumsum([0, *(len(level.contexts) for level in self.levels)])
        longest = np.zeros(len(contexts), np.int32)
        index = np.zeros(len(contexts), np.int64)
        shorter, pairs = [np.array([-1])], [self.levels[0].pairs]
        for length, level in enumerate(self.levels[1:], start=1):
            index = _find(level.contexts, index * base + contexts[:, -length])
            longest[index >= 0] = first[length] + index[index >= 0]
            shorter.append(first[length - 1] + level.contexts // base)
            pairs.append(first[length] * base + level.pairs)
        every = np.concatenate(pairs)  # index of the context among all * V + next character
        return ContextTree(
            symbols=base,
            longest=longest,
            shorter=np.concatenate(shorter).astype(np.int32),
            start=np.searchsorted(every, np.arange(first[-1] + 1) * base),
            next_character=(every % base).astype(np.int32),
            discounted=_joined([level.discounted for level in self.levels]),
            backoff_weight=_joined([level.backoff_weight for level in self.levels]),
        )

    def log_probabilities(self, counted: CountedContexts) -> Floats:
        """The log-probability of each (context, next character) pair, in nats. (P,)

        Raises:
            ConfigError: the contexts have fewer than `order - 1` characters.
        """
        if counted.contexts.shape[1] < self.order - 1:
            raise ConfigError(
                f"order: contexts of {counted.contexts.shape[1]} characters are too short for "
                f"an n-gram of order {self.order}; count them with block size {self.order - 1}"
            )
        contexts = counted.contexts[counted.row_of_pair]  # (P, block)
        return np.log(self._interpolate(contexts, counted.next_character.astype(np.int64)))

    def loss(self, words: Sequence[str]) -> float:
        """Mean negative log-likelihood in nats per predicted character, ends of words included."""
        counted = _counted(words, self.vocabulary, self.order)
        return float(-(counted.count @ self.log_probabilities(counted)) / counted.examples)

    def _interpolate(self, contexts: NDArray[np.integer], following: Integers) -> Floats:
        """The probability of each row's next character, from the shortest context up. (N,)"""
        base = len(self.vocabulary)
        probability = np.full(len(following), 1 / base)
        index = np.zeros(len(following), np.int64)  # of the context at this level; -1: never seen
        for length, level in enumerate(self.levels):
            if length:
                index = _find(level.contexts, index * base + contexts[:, -length])
            probability = _refined(level, index, following, probability, base)
        return probability


@dataclass(frozen=True)
class OrderLoss:
    """The dev losses of an n-gram, in nats per predicted character; no random part in them."""

    order: int
    dev_loss: float
    dev_loss_unseen: float | None
    """Over the dev words that are no train words; None if there are none."""


def dev_losses(
    train: CountedContexts,
    dev: CountedContexts,
    dev_unseen_count: NDArray[np.int64],
    vocabulary: str,
    highest: int,
) -> list[OrderLoss]:
    """The dev losses of the n-grams of every order up to `highest`, fitted on train; counted once.

    Both have contexts of at least `highest - 1` characters. Orders beyond the longest word, which
    would equal the one below, are left out.
    """
    base, unseen = len(vocabulary), int(dev_unseen_count.sum())
    grams = _count_grams(train, base, highest)
    contexts = dev.contexts[dev.row_of_pair]  # (P, block)
    following = dev.next_character.astype(np.int64)
    probability = np.full(len(following), 1 / base)
    index = np.zeros(len(following), np.int64)
    losses = []
    for length, (gram, longer) in enumerate(zip(grams, [*grams[1:], None], strict=True)):
        if length:
            index = _find(gram.contexts, index * base + contexts[:, -length])
        highest_level = _smooth(gram, gram.occurrences, base)
        nats = -np.log(_refined(highest_level, index, following, probability, base))
        losses.append(
            OrderLoss(
                order=length + 1,
                dev_loss=float(nats @ dev.count) / dev.examples,
                dev_loss_unseen=float(nats @ dev_unseen_count) / unseen if unseen else None,
            )
        )
        level = _smooth(gram, _adjusted(gram, longer), base)
        probability = _refined(level, index, following, probability, base)
    return losses


def _refined(
    level: NgramLevel, index: Integers, following: Integers, probability: Floats, base: int
) -> Floats:
    """The probability of each row's next character, from that by a context one shorter. (N,)

    Args:
        index: (N,) of each row's context in the level; -1: never seen, its probability stays.
    """
    seen = index >= 0
    known = index[seen]
    pair = _find(level.pairs, known * base + following[seen])
    direct = np.where(pair >= 0, level.discounted[pair], 0.0)
    refined = probability.copy()
    refined[seen] = direct + level.backoff_weight[known] * probability[seen]
    return refined


def baseline(corpus: Corpus, split_seed: int, order: int = 2) -> NgramBaseline:
    """Fits and evaluates the count models of one order.

    Kneser-Ney sees the train and dev words alone; only `all_words_loss` touches every word.
    """
    words = split(corpus, split_seed)
    model = fit(words.train, corpus.vocabulary, order)
    train = set(words.train)
    unseen = [word for word in words.dev if word not in train]
    return NgramBaseline(
        order=order,
        train_loss=model.loss(words.train),
        dev_loss=model.loss(words.dev),
        dev_loss_unseen=model.loss(unseen) if unseen else None,
        all_words_loss=unsmoothed_loss(corpus.words, corpus.vocabulary, order),
    )


def unsmoothed_loss(words: Sequence[str], vocabulary: str, order: int) -> float:
    """The loss of relative frequencies, c(hx) / c(h), on the very words they were counted in.

    Order 2 on the lecture's names: 2.45401. The lecture shows 2.4541 for it because it adds
    228,146 terms up in single precision; with its smoothing, N + 1, it is 2.45458.
    """
    counted = _counted(words, vocabulary, order)
    count, of_context = counted.count, counted.frequency[counted.row_of_pair]  # (P,), (P,)
    if order == 1:
        totals = np.bincount(counted.next_character, weights=count)
        count = totals[totals > 0]  # (at most V,)
        of_context = np.full(len(count), counted.examples)
    return float(-(count @ np.log(count / of_context)) / counted.examples)


def fit(words: Sequence[str], vocabulary: str, order: int) -> NgramModel:
    """Fits a model: counts the n-grams of the words up to an order, and smooths them.

    Raises:
        ConfigError: the order is not from 1 to MAX_ORDER.
        CorpusError: there are no words, or one has a character outside the vocabulary.
    """
    return fit_counted(_counted(words, vocabulary, order), vocabulary, order)


def fit_counted(counted: CountedContexts, vocabulary: str, order: int) -> NgramModel:
    """Fits a model to counted contexts of at least `order - 1` characters."""
    grams = _count_grams(counted, len(vocabulary), order)
    longer = [*grams[1:], None]
    levels = tuple(
        _smooth(gram, _adjusted(gram, above), len(vocabulary))
        for gram, above in zip(grams, longer, strict=True)
    )
    return NgramModel(vocabulary, order, levels)


@dataclass(frozen=True)
class _Grams:
    """The occurrences of one length of context; `contexts` and `pairs` as in NgramLevel."""

    contexts: Integers  # (C,)
    pairs: Integers  # (P,)
    occurrences: Integers  # (P,)
    shorter: Integers  # (P,) the same pair without its oldest character, in the level below


def _count_grams(counted: CountedContexts, base: int, order: int) -> list[_Grams]:
    """All lengths of context from 0 to `order - 1`, or to the last that occurs."""
    context_of = counted.contexts[counted.row_of_pair].astype(np.int64)  # (P, block)
    following = counted.next_character.astype(np.int64)
    row = np.arange(len(following))  # the counted pairs that have a context this long
    index, below = np.zeros_like(row), np.zeros_like(row)
    grams: list[_Grams] = []
    while len(grams) < order and len(row):
        oldest = context_of[row, -len(grams)] if grams else np.ones_like(row)  # any but 0
        contexts, index = np.unique(index * base + oldest, return_inverse=True)
        pairs, first, pair = np.unique(
            index * base + following[row], return_index=True, return_inverse=True
        )
        occurrences = np.bincount(pair, weights=counted.count[row]).astype(np.int64)
        grams.append(_Grams(contexts, pairs, occurrences, below[first]))
        inside = oldest != 0  # the word goes on to the left
        row, index, below = row[inside], index[inside], pair[inside]
    return grams


def _adjusted(grams: _Grams, longer: _Grams | None) -> Integers:
    """Below the highest order, how many characters stand before a pair instead of its count. (P,)

    A pair that begins a word keeps its count: nothing stands before it.
    """
    if longer is None:
        return grams.occurrences
    before = np.bincount(longer.shorter, minlength=len(grams.pairs))
    return np.where(before > 0, before, grams.occurrences)


def _smooth(grams: _Grams, counts: Integers, base: int) -> NgramLevel:
    """The level with discounted counts, and the freed probability as weights. (P,) -> Level"""
    context = grams.pairs // base  # (P,)
    discount = np.array((0.0, *discounts(counts)))[np.minimum(counts, 3)]  # (P,)
    total = np.bincount(context, weights=counts)  # (C,)
    backoff_weight = np.bincount(context, weights=discount) / total
    return NgramLevel(
        grams.contexts, grams.pairs, (counts - discount) / total[context], backoff_weight
    )


def discounts(counts: Integers) -> tuple[float, float, float]:
    """D1, D2 and D3+ from the counts of counts (Chen & Goodman 1999, equation 26).

    Where one of n1 to n4 is zero or a discount is not above 0, as in tiny corpora, the whole order
    gets FALLBACK_DISCOUNTS: a context with a backoff weight of 0 would make unseen characters
    impossible.

    >>> discounts(np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4]))
    (0.5, 1.0, 2.0)
    """
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    result = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return result if min(result) > 0 else FALLBACK_DISCOUNTS


def _counted(words: Sequence[str], vocabulary: str, order: int) -> CountedContexts:
    """The words as contexts of `order - 1` characters (of one for order 1, which ignores it)."""
    if not 1 <= order <= MAX_ORDER:
        raise ConfigError(f"order: {order} is not from 1 to {MAX_ORDER}")
    _check_words(words, vocabulary)
    return count_contexts(words, vocabulary, max(order - 1, 1))


def _check_words(words: Sequence[str], vocabulary: str) -> None:
    if not words:
        raise CorpusError("n-gram: no words to count")
    if not set().union(*words) <= set(vocabulary[1:]):
        raise foreign_character(words, vocabulary)


def _joined(parts: Sequence[Floats]) -> NDArray[np.float32]:
    return np.concatenate(parts).astype(np.float32)


def _find(ordered: Integers, wanted: Integers) -> Integers:
    """The index of each wanted value in an ascending array, or -1. (N,)"""
    index = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[index] == wanted, index, -1)
