"""A study's winner: its models, what the test split is opened for, and its description."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import NotFound
from search.evaluation import ensemble
from search.formatting import verb_and_arguments
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy, load_model
from search.trials import confirmations, results
from search.trials.results import BestView, EnsembleView

if TYPE_CHECKING:
    from makemore_core.model.network import Model


@dataclass(frozen=True)
class Winner:
    """What the test split is opened for: a configuration and its models, or an ensemble."""

    trial: int  # as `best`, also where an ensemble is opened
    config: dict[str, Any]  # likewise
    dev_loss: float  # the mean over models; of an ensemble: of the averaged probabilities
    models: list[dict[str, Any]]  # {seed, checkpoint_sha256, file}; of an ensemble: trial, share

    @property
    def description(self) -> str:
        return describe_winner(self.trial, self.models)


def describe_winner(trial: int, models: Sequence[Mapping[str, Any]]) -> str:
    """The winner that a test is of, as text."""
    return f"an ensemble of {len(models)} models" if "share" in models[0] else f"trial {trial}"


def winner(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Winner:
    """The winner with all its models; or the ensemble, if the study file names one.

    Raises:
        NotFound: the study has no complete trial, or no ensemble where its file names one.
    """
    best = results.require_best(storage, study)
    if study.spec.confirm.ensemble:
        dev_loss, models = _ensemble(storage, study, data_dir)
    elif best.dev_loss_mean is None:
        seed = results.attempt_of_trial(storage, study, best.trial).training_seed
        path = data_dir.checkpoint(study.uid, best.trial)
        dev_loss, models = best.dev_loss, [_model(seed, best.checkpoint_sha256, path)]
    else:
        dev_loss, models = best.dev_loss_mean, _retrained(storage, study, data_dir, best.trial)
    return Winner(best.trial, dict(best.config), dev_loss, models)


def model_file(study: StoredStudy, data_dir: DataDir, best: BestView) -> Path:
    """The path of the model with the winner's `checkpoint_sha256`, which `sample` draws from."""
    if best.seed_index is None:
        return data_dir.checkpoint(study.uid, best.trial)
    return data_dir.confirmed(study.uid, best.trial, best.seed_index)


def load_winning_model(study: StoredStudy, data_dir: DataDir, best: BestView) -> "Model":
    """The model with the winner's `checkpoint_sha256`, fetched from the artifact store if needed.

    Raises:
        CheckpointError: it is missing, or not what was recorded.
    """
    return load_model(study, model_file(study, data_dir, best), best.checkpoint_sha256)


def describe_model(best: BestView) -> str:
    """The model of `checkpoint_sha256`, as text."""
    if best.seed_index is None:
        return f"trial {best.trial}, as searched (not confirmed)"
    return f"trial {best.trial}, confirmed: retrained on fresh seed {best.seed_index + 1}"


def _retrained(
    storage: Storage, study: StoredStudy, data_dir: DataDir, trial: int
) -> list[dict[str, Any]]:
    return [
        _model(each.seed, each.checkpoint_sha256, data_dir.confirmed(study.uid, *each.key))
        for each in confirmations.models(storage, study)
        if each.trial == trial
    ]


def _ensemble(
    storage: Storage, study: StoredStudy, data_dir: DataDir
) -> tuple[float, list[dict[str, Any]]]:
    chosen = ensemble.recorded(storage, study)
    if chosen is None:
        raise NotFound(
            f"study {study.name}: its file names an ensemble of at most "
            f"{study.spec.confirm.ensemble} models as the winner, and none is chosen yet; "
            f"`{verb_and_arguments('confirm', study.name)}` first"
        )
    models = [
        _model(each.seed, each.checkpoint_sha256, each.path(study, data_dir))
        | {"trial": each.trial, "share": each.weight}
        for each in chosen.members
    ]
    return chosen.dev_loss, models


def _model(seed: int, sha256: str | None, path: Path) -> dict[str, Any]:
    return {"seed": seed, "checkpoint_sha256": sha256, "file": path.name}


def describe_best(best: BestView) -> str:
    """A study's winner with its searched and confirmed loss, as text; every display begins so."""
    if best.dev_loss_mean is None:
        return f"best {best.dev_loss:.4f} (trial {best.trial}, one seed, not confirmed)"
    seeds = "one fresh seed" if best.seeds == 1 else f"mean of {best.seeds} fresh seeds"
    return (
        f"best {best.dev_loss_mean:.4f} (trial {best.trial}, confirmed: {seeds}; "
        f"{best.dev_loss:.4f} as searched)"
    )


def remarks_on(best: BestView) -> list[str]:
    """Remarks on a winner: a trial with a lower searched loss, or an ensemble."""
    remarks = []
    if best.unconfirmed is not None:
        remarks.append(
            f"trial {best.unconfirmed.trial} has a lower searched loss "
            f"({best.unconfirmed.dev_loss:.4f}) and is not confirmed; `confirm` again to compare"
        )
    if best.ensemble is not None:
        remarks.append(describe_ensemble(best.ensemble))
    return remarks


def describe_ensemble(chosen: EnsembleView) -> str:
    """An ensemble, and whether `test` opens the test split for it, as text."""
    if chosen.models is None or chosen.dev_loss is None:
        return (
            f"the study file names an ensemble of at most {chosen.at_most} models as the winner; "
            "`confirm` has chosen none yet"
        )
    about = f"an ensemble of {chosen.models} models has dev loss {chosen.dev_loss:.4f} (too good: "
    about += "dev chose it)"
    if chosen.wins:
        return f"{about}; the study file names it the winner, and `test` opens the split for it"
    return (
        f"{about}; `test` does not use it, as the study file names none: `ensemble = "
        f"{chosen.at_most}` under [confirm] would"
    )
