"""The study that both sides work on, with as many trials in it as is asked for, and what a trainer
that does nothing says."""

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import text

from makemore_core.config import TrialConfig
from makemore_core.data.corpus import Corpus
from makemore_core.training.trainer import Evaluation, TrialResult
from search.paths import DataDir
from search.spec import defaults, study_spec
from search.storage.database import Storage, create_storage
from search.storage.table_copy import Tables
from search.study import create
from search.study.study import StoredStudy
from tests.browser.large import fill_study

SIDES = ("ours", "optuna")
REPORTS = 20
WORDS = tuple("abc" * 3 + letter for letter in "abcdefghijklmnopqrstuvwxyz")
LOSS = 2.5
"""What every trial reports: no pruner stops what is as good as the others."""


def prepare(url: str, trials: int, sampler: str) -> None:
    """Creates the study, and fills it: each trial as our ledger leaves one that is complete.

    With the sampler "bayes" it is the default study.
    """
    with tempfile.TemporaryDirectory() as directory:
        storage = create_storage(url)
        document: dict[str, Any] = {
            "study": {"name": "load"},
            "budget": {"trials": 1_000_000, "examples": 2_000_000, "evaluations": REPORTS},
        }
        if sampler != "bayes":
            document |= {"sampler": {"kind": sampler}, "pruner": {"kind": "asha"}}
        version = defaults.LATEST if sampler == "bayes" else defaults.FIRST
        spec = study_spec.from_document(document, "load", version)
        corpus = Corpus("load", WORDS)
        stored = create.create_or_resume(storage, spec, corpus, DataDir(Path(directory)))
        if trials:
            _fill(storage, stored, trials)
        storage.close()


def evaluation(config: TrialConfig, index: int) -> Evaluation:
    """One of the reports."""
    step = max(1, config.steps * index // REPORTS)
    return Evaluation(index, step, step * config.batch_size, LOSS, None, LOSS, 0.0)


def result() -> TrialResult:
    """The end of a trial; its model is never looked at."""
    model: Any = None
    return TrialResult(LOSS, None, LOSS, LOSS, 1, 1, 1, 0.0, False, (), model)


def _fill(storage: Storage, stored: StoredStudy, trials: int) -> None:
    fill_study(storage, stored, trials, REPORTS)
    with storage.write() as connection:
        names = ["trials", "trial_params", "trial_values", "trial_intermediate_values"]
        filled = Tables(connection, [*names, "makemore_attempts"])
        for name in filled.names:
            filled.advance_sequences(name)
    with storage.engine.connect() as connection:  # as a database that has been in use for long
        connection.execute(text("ANALYZE"))
        connection.commit()
