"""All that a report says of a study, read from the storage at one go."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from makemore_core.errors import CheckpointError
from search.evaluation import winner
from search.evaluation.baselines import Baselines, baselines
from search.figures import numpy_model
from search.figures.numpy_model import NumpyModel
from search.paths import DataDir
from search.report.plotly_parts import subsample
from search.spec import search_space
from search.storage.database import Storage
from search.study.study import StoredStudy, files_of
from search.trials import confirmations, history
from search.trials import status as results
from search.trials.confirmations import Candidate
from search.trials.history import AttemptView, OpeningView
from search.trials.results import BestView
from search.trials.status import StatusView

MAX_FOR_IMPORTANCE = 3_000
MIN_FOR_IMPORTANCE = 8
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
        """Words that the winner's model made up."""
        return [] if self.model is None else numpy_model.sample(self.model, SAMPLES, SAMPLES_SEED)


def gather(storage: Storage, study: StoredStudy, data_dir: DataDir) -> ReportData:
    """Reads a study; of this machine only its corpus and the winner's checkpoint are needed."""
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
    """The winner's model, its hash checked, or why there is none to show."""
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


def importances(facts: ReportData) -> dict[str, float]:
    """Each hyperparameter's share in being among the best complete trials; {} with too few.

    PED-ANOVA (Watanabe et al. 2023), by Optuna: fast, and it looks at the good end of the space.
    """
    distributions = search_space.distributions(facts.study.spec.space)
    complete = [a for a in facts.attempts if a.outcome == "complete" and a.dev_loss is not None]
    if len(complete) < MIN_FOR_IMPORTANCE or len(distributions) < 2:
        return {}
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        [
            create_trial(
                state=TrialState.COMPLETE,
                params={name: a.config[name] for name in distributions},
                distributions=distributions,
                value=a.dev_loss,
            )
            for a in subsample(complete, MAX_FOR_IMPORTANCE)
        ]
    )
    try:
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (ValueError, RuntimeError):  # the trials are too few or too alike to tell
        return {}
