"""Losses to beat: the bigram of the study's own corpus, and the lecture's where it applies."""

from dataclasses import dataclass

from makemore_core import ngram
from makemore_core.corpus import NAMES_SHA256, Corpus
from makemore_core.errors import CoreError, CorpusError
from search import stored_corpora
from search.errors import SearchError
from search.paths import DataDir
from search.storage import Storage
from search.study import StoredStudy, kept_corpus

LECTURE_DEV_LOSS = 2.17
"""The lecture's best, on its own split of its own corpus."""
LECTURE_SPLIT_SEED = 42


@dataclass(frozen=True)
class Baselines:
    """Dev losses of others; None where there is no such number."""

    bigram: float | None
    bigram_unseen: float | None
    lecture: float | None
    why_no_bigram: str | None = None


def lecture(study: StoredStudy) -> float | None:
    """The lecture's dev loss, if the study searches on the very same split."""
    same = study.fingerprint == NAMES_SHA256 and study.spec.study.split_seed == LECTURE_SPLIT_SEED
    return LECTURE_DEV_LOSS if same else None


def baselines(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Baselines:
    """Fits the bigram on the study's training split: a fraction of a second for 30,000 words."""
    try:
        corpus = _corpus(storage, study, data_dir)
    except (SearchError, CoreError) as error:
        return Baselines(None, None, lecture(study), str(error))
    view = ngram.baseline(corpus, study.spec.study.split_seed, order=2)
    return Baselines(view.dev_loss, view.dev_loss_unseen, lecture(study))


def _corpus(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Corpus:
    """The study's words, unless they would have to be downloaded."""
    kept = stored_corpora.kept(storage, study.fingerprint, data_dir)
    if kept is None and study.spec.study.corpus == "names":
        raise CorpusError("its corpus is not stored, and is not downloaded for this")
    return kept or kept_corpus(storage, study, data_dir)
