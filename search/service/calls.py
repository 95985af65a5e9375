"""What the service has its helper processes do: all that needs torch, or much time.

Each function opens what it needs by itself, as it is called in another process. A module that loads
torch is imported there alone.
"""

import functools
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from makemore_core.data.corpus import Corpus
from search.paths import DataDir
from search.spec.study_spec import StudySpec
from search.storage.database import Storage, open_storage
from search.study import study
from search.study.study import StoredStudy

if TYPE_CHECKING:
    from makemore_core.model.network import Model

KEPT_MODELS = 4


@dataclass(frozen=True)
class StudyPlace:
    """Where another process finds a study."""

    storage_url: str = field(repr=False)  # it may hold a password
    data_dir: DataDir
    uid: str

    def open(self) -> tuple[Storage, StoredStudy]:
        """The study, over a storage that stays open."""
        storage = _open_storage(self.storage_url)
        return storage, study.by_uid(storage, self.uid)


@functools.cache
def _open_storage(url: str) -> Storage:
    return open_storage(url)


def preview(spec: StudySpec, words: Corpus, workers: int, threads: int) -> dict[str, Any]:
    """What `preview` shows of a study."""
    from search.study import cost_estimate

    return cost_estimate.of_file(spec, words, workers, threads).as_document()


def sample(
    place: StudyPlace, count: int, seed: int, temperature: float, prefix: str, new: bool
) -> list[str]:
    """Words from the model of a study's winner."""
    from makemore_core.model import sampling
    from search.trials import results

    storage, stored = place.open()
    best = results.require_best(storage, stored)
    model = _winning_model(place, str(best.checkpoint_sha256))
    words = study.corpus_of(storage, stored, place.data_dir).words if new else ()
    return sampling.sample(
        model, count, seed, temperature=temperature, prefix=prefix, exclude=frozenset(words)
    )


@functools.lru_cache(KEPT_MODELS)
def _winning_model(place: StudyPlace, _sha256: str) -> "Model":
    from search.evaluation import winner
    from search.trials import results

    storage, stored = place.open()
    best = results.require_best(storage, stored)
    return winner.load_winning_model(stored, place.data_dir, best)


def test(place: StudyPlace) -> dict[str, Any]:
    """Opens the test split as `test` does, or returns the recorded result."""
    from search.dashboard.trial_pictures import PicturePublisher
    from search.evaluation import final_test

    storage, stored = place.open()
    if final_test.recorded(storage, stored) is None:
        study.ensure_not_moved(stored)
    result = final_test.open_and_evaluate(storage, stored, place.data_dir)
    if result.first_time:
        PicturePublisher(storage, stored, place.data_dir).finish()
    return asdict(result)


def report(place: StudyPlace, path: Path) -> None:
    """Writes the report about a study to a file."""
    from search.report.page import write_report

    storage, stored = place.open()
    write_report(storage, stored, place.data_dir, path)


def describe_corpus(words: Corpus, split_seed: int, block_size: int) -> dict[str, Any]:
    """What `corpus` shows."""
    from search.terminal import answers

    return answers.corpus_document(words, split_seed, block_size)
