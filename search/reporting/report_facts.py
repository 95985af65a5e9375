"""All that a report says of a study, read from the storage at one go."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from makemore_core.errors import CheckpointError
from search import confirm, ensemble, history, results, space
from search.baselines import Baselines, baselines
from search.confirm import Candidate
from search.ensemble import Recorded
from search.history import AttemptView, OpeningView, WorkingTime
from search.illustration import plain_model
from search.illustration.plain_model import PlainModel
from search.paths import DataDir
from search.reporting.plot_pieces import thin
from search.results import StatusView
from search.storage import Storage
from search.study import StoredStudy, shelf_of

MOST_FOR_IMPORTANCE = 3_000
FEWEST_FOR_IMPORTANCE = 8
SAMPLES, SAMPLES_SEED = 20, 1


@dataclass(frozen=True)
class Facts:
    """A study, its trials, and its winner, if it has one."""

    study: StoredStudy
    status: StatusView
    attempts: Sequence[AttemptView]
    work: WorkingTime
    others: Baselines
    confirmed: Sequence[Candidate]
    ensemble: Recorded | None
    winner: AttemptView | None
    model: PlainModel | None
    why_no_model: str
    opening: OpeningView | None
    opened_before: Sequence[OpeningView]

    @property
    def samples(self) -> list[str]:
        """Words that the winner's model made up."""
        return [] if self.model is None else plain_model.sample(self.model, SAMPLES, SAMPLES_SEED)


def gather(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Facts:
    """Reads a study; of this machine only its corpus and the winner's checkpoint are needed."""
    attempts = history.attempts(storage, study)
    confirmed = confirm.candidates(storage, study)
    status = results.status(storage, study)
    number = confirmed[0].trial if confirmed else status.best.trial if status.best else None
    winner = next((a for a in attempts if a.trial == number), None)
    model, why = _model(storage, study, data_dir, winner, bool(confirmed))
    opening, before = history.openings(storage, study)
    return Facts(
        study=study,
        status=status,
        attempts=attempts,
        work=history.working_time(storage, study),
        others=baselines(storage, study, data_dir),
        confirmed=confirmed,
        ensemble=ensemble.recorded(storage, study),
        winner=winner,
        model=model,
        why_no_model=why,
        opening=opening,
        opened_before=before,
    )


def _model(
    storage: Storage,
    study: StoredStudy,
    data_dir: DataDir,
    winner: AttemptView | None,
    confirmed: bool,
) -> tuple[PlainModel | None, str]:
    """The winner's model, its hash checked, or why there is none to show."""
    if winner is None:
        return None, "no trial is complete yet"
    files = [(data_dir.checkpoint(study.uid, winner.trial), winner.checkpoint_sha256)]
    if confirmed:
        first = next(each for each in confirm.trained(storage, study) if each.trial == winner.trial)
        files.append((data_dir.confirmed(study.uid, *first.key), first.checkpoint_sha256))
    why = f"no checkpoint of trial {winner.trial} was kept"
    for path, sha256 in files:
        if sha256 is not None:
            try:
                return shelf_of(study, data_dir).load(plain_model.load, path, sha256), ""
            except CheckpointError as error:
                why = str(error)
                if not path.is_file():
                    why = f"the checkpoint of trial {winner.trial} is not on this machine"
    return None, why


def importances(facts: Facts) -> dict[str, float]:
    """Each hyperparameter's share in being among the best complete trials; {} with too few.

    PED-ANOVA (Watanabe et al. 2023), by Optuna: fast, and it looks at the good end of the space.
    """
    distributions = space.distributions(facts.study.spec.search)
    complete = [a for a in facts.attempts if a.outcome == "complete" and a.dev_loss is not None]
    if len(complete) < FEWEST_FOR_IMPORTANCE or len(distributions) < 2:
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
            for a in thin(complete, MOST_FOR_IMPORTANCE)
        ]
    )
    try:
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (ValueError, RuntimeError):  # the trials are too few or too alike to tell
        return {}
