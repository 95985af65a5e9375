"""Baselines: the losses of count models of the study's corpus, and the lecture's where it applies.

The count models are fitted once for each study, in a second or two, and stored as an attribute of
the study, so that every display of a best can show them.
"""

import threading
from dataclasses import asdict, dataclass, replace
from typing import Any

from makemore_core.data import ngram
from makemore_core.data.corpus import NAMES_SHA256, Corpus
from makemore_core.data.dataset import Dataset
from makemore_core.errors import CoreError, CorpusError
from search.errors import SearchError
from search.paths import DataDir
from search.retry import retry_storage
from search.storage import optuna_studies
from search.storage.database import Storage
from search.study import corpora
from search.study.study import StoredStudy, corpus_of

LECTURE_DEV_LOSS = 2.17
"""The lecture's best, on its own split of its own corpus."""
LECTURE_SPLIT_SEED = 42

HIGHEST_ORDER = 8
"""On names, a context of more than six or seven characters does not help a count model."""
MAX_COUNTED = 12_000_000
"""The limit of examples times the highest order: a larger corpus is counted up to a lower order, at
least the bigram, so that fitting takes a few seconds and some hundred megabytes."""

ATTRIBUTE = "makemore:baselines"
"""The attribute of a study in Optuna's tables that holds its count models."""


@dataclass(frozen=True)
class Baselines:
    """The baselines' dev losses; None where there is none."""

    bigram: float | None
    bigram_unseen: float | None
    lecture: float | None
    why_no_bigram: str | None = None
    ngram: float | None = None
    """The interpolated Kneser-Ney n-gram whose order has the lowest dev loss."""
    ngram_unseen: float | None = None
    ngram_order: int | None = None

    @property
    def count_model(self) -> dict[str, Any] | None:
        """The best count model, as in JSON."""
        if self.ngram is None:
            return None
        unseen = self.ngram_unseen
        return {"order": self.ngram_order, "dev_loss": self.ngram, "dev_loss_unseen": unseen}

    @property
    def order_name(self) -> str:
        """The best count model's name."""
        return order_name(self.ngram_order)

    @property
    def named(self) -> list[tuple[str, float]]:
        """The count models by name; the bigram once, where it is the best of them."""
        known = [("bigram", self.bigram)]
        if self.ngram_order != 2:
            known.append((self.order_name, self.ngram))
        return [(name, loss) for name, loss in known if loss is not None]


def order_name(order: int | None) -> str:
    """The name of a count model of an order.

    >>> order_name(2), order_name(6)
    ('bigram', '6-gram')
    """
    return {1: "unigram", 2: "bigram"}.get(order or 0, f"{order}-gram")


def compare_with_counts(dev_loss: float, others: Baselines) -> str:
    """A dev loss compared with the best count model, as text; empty without one.

    >>> compare_with_counts(2.0, Baselines(2.5, None, None, ngram=2.1, ngram_order=6))
    '0.1000 ahead of the best count model (a 6-gram, dev loss 2.1000)'
    """
    if others.ngram is None:
        return ""
    model = f"the best count model (a {others.order_name}, dev loss {others.ngram:.4f})"
    gap = round(others.ngram - dev_loss, 4)
    if gap == 0:
        return f"level with {model}"
    return f"{abs(gap):.4f} {'ahead of' if gap > 0 else 'behind'} {model}"


def lecture(study: StoredStudy) -> float | None:
    """The lecture's dev loss, if the study has the same split of the same corpus."""
    same = study.fingerprint == NAMES_SHA256 and study.spec.study.split_seed == LECTURE_SPLIT_SEED
    return LECTURE_DEV_LOSS if same else None


def baselines(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Baselines:
    """A study's baselines; fitted now if they are not stored."""
    return stored_baselines(storage, study) or _fitted(storage, study, data_dir)


@retry_storage
def stored_baselines(storage: Storage, study: StoredStudy) -> Baselines | None:
    """A study's stored baselines; None if there are none."""
    kept = optuna_studies.system_attributes(storage, study.optuna_id).get(ATTRIBUTE)
    return Baselines(**kept) if isinstance(kept, dict) else None


def store_baselines(storage: Storage, study: StoredStudy, fitted: Baselines) -> None:
    """Stores fitted baselines, unless they are stored already."""
    if fitted.why_no_bigram is None and stored_baselines(storage, study) != fitted:
        optuna_studies.set_system_attribute(storage, study.optuna_id, ATTRIBUTE, asdict(fitted))


_fitting = threading.Lock()
_of_this_process: dict[tuple[str, int], Baselines] = {}
"""By fingerprint and split seed; the live view and the study's note fit at the same time."""


def _fitted(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Baselines:
    split_seed = study.spec.study.split_seed
    with _fitting:
        found = _of_this_process.get((study.fingerprint, split_seed))
        if found is None:
            try:
                corpus = _corpus(storage, study, data_dir)
            except (SearchError, CoreError) as error:
                return Baselines(None, None, lecture(study), str(error))
            found = count_models(Dataset.from_corpus(corpus, split_seed))
            _of_this_process[study.fingerprint, split_seed] = found
    return replace(found, lecture=lecture(study))


def count_models(data: Dataset) -> Baselines:
    """The bigram, and the best of the interpolated Kneser-Ney n-grams, by their dev loss."""
    examples = sum(len(word) + 1 for word in data.train_words)
    highest = min(HIGHEST_ORDER, max(2, MAX_COUNTED // examples))
    block = data.contexts(highest - 1)
    orders = ngram.dev_losses(
        block.train, block.dev, block.dev_unseen_count, data.vocabulary, highest
    )
    bigram = orders[min(1, len(orders) - 1)]
    best = min(orders, key=lambda each: each.dev_loss)
    return Baselines(
        bigram=bigram.dev_loss,
        bigram_unseen=bigram.dev_loss_unseen,
        lecture=None,
        ngram=best.dev_loss,
        ngram_unseen=best.dev_loss_unseen,
        ngram_order=best.order,
    )


def _corpus(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Corpus:
    """The study's corpus; raises CorpusError if it would have to be downloaded."""
    kept = corpora.load_cached(storage, study.fingerprint, data_dir)
    if kept is None and study.spec.study.corpus == "names":
        raise CorpusError("its corpus is not stored, and is not downloaded for this")
    return kept or corpus_of(storage, study, data_dir)
