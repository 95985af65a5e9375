"""What every program of this bench trains: the data and the configurations of one study file."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from makemore_core.config import TrialConfig
from makemore_core.data import corpus as corpora
from makemore_core.data.corpus import Corpus
from makemore_core.data.dataset import Dataset
from search.spec import search_space, study_file
from search.spec.search_space import Value
from search.spec.study_spec import StudySpec

RUNS = Path("runs")
"""Where a corpus lies once it was fetched."""


@dataclass(frozen=True)
class Race:
    """What one contender is given for one run."""

    study: Path
    """A study file that `fair_study` wrote."""
    place: Path
    """An empty directory of its own."""
    seed: int
    workers: int
    seconds: float
    """Wall time, from the command on."""


def spec_of(study: Path) -> StudySpec:
    """Returns a study file's study, with what it leaves to its corpus settled."""
    spec = study_file.read(study)
    return spec.resolved_for(words_of(spec))


def data_of(spec: StudySpec) -> Dataset:
    """The training and dev split of a study; read once in each process."""
    study = spec.study
    return _data(study.corpus, study.split_seed, study.dedupe)


@functools.cache
def _data(corpus: str, split_seed: int, dedupe: bool) -> Dataset:
    return Dataset.from_corpus(corpora.load(corpus, RUNS, dedupe=dedupe), split_seed)


def words_of(spec: StudySpec) -> Corpus:
    """All words of a study's corpus."""
    return corpora.load(spec.study.corpus, RUNS, dedupe=spec.study.dedupe)


def config_of(spec: StudySpec, searched: Mapping[str, Value]) -> TrialConfig:
    """A configuration of a study, with its budget for each trial."""
    budget: dict[str, Any] = {
        "examples": spec.budget.examples,
        "evaluations": spec.budget.evaluations,
        "patience": spec.early_stopping.patience,
    }
    return search_space.configuration(spec.space, searched, {}, **budget)
