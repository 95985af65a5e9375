"""The data of a report, read from the storage."""

from collections.abc import Sequence
from dataclasses import dataclass

from makemore_core.errors import CheckpointError
from search.evaluation import winner
from search.evaluation.baselines import Baselines, baselines
from search.figures import numpy_model
from search.figures.numpy_model import NumpyModel
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy, files_of
from search.trials import confirmations, history
from search.trials import status as results
from search.trials.confirmations import Candidate
from search.trials.history import AttemptView, OpeningView
from search.trials.results import BestView
from search.trials.status import StatusView

SAMPLES, SAMPLES_SEED = 20, 1


@dataclass(frozen=True)
class ReportData:
    """A study, its trials, and its winner, if it has one."""

    study: StoredStudy
    status: StatusView
    attempts: Sequence[AttemptView]
    others: Baselines
    confirmed: Sequence[Candidate]
    winner: AttemptView | None
    model: NumpyModel | None
    why_no_model: str
    opening: OpeningView | None
    opened_before: Sequence[OpeningView]

    @property
    def samples(self) -> list[str]:
        """Words drawn from the winner's model."""
        return [] if self.model is None else numpy_model.sample(self.model, SAMPLES, SAMPLES_SEED)


def gather(storage: Storage, study: StoredStudy, data_dir: DataDir) -> ReportData:
    """Reads a study; this machine must have its corpus, and for samples the winner's checkpoint."""
    attempts = history.attempts(storage, study)
    confirmed = confirmations.candidates(storage, study)
    status = results.status(storage, study)
    best = status.best
    won = next((a for a in attempts if best is not None and a.trial == best.trial), None)
    model, why = _model(study, data_dir, best)
    opening, before = history.openings(storage, study)
    return ReportData(
        study=study,
        status=status,
        attempts=attempts,
        others=baselines(storage, study, data_dir),
        confirmed=confirmed,
        winner=won,
        model=model,
        why_no_model=why,
        opening=opening,
        opened_before=before,
    )


def _model(
    study: StoredStudy, data_dir: DataDir, best: BestView | None
) -> tuple[NumpyModel | None, str]:
    """The winner's model, its hash checked, or the reason why it cannot be shown."""
    if best is None:
        return None, "no trial is complete yet"
    if best.checkpoint_sha256 is None:
        return None, f"no checkpoint of trial {best.trial} was kept"
    path = winner.model_file(study, data_dir, best)
    try:
        return files_of(study, data_dir).load(numpy_model.load, path, best.checkpoint_sha256), ""
    except CheckpointError as error:
        if not path.is_file():
            return None, f"the checkpoint of trial {best.trial} is not on this machine"
        return None, str(error)
