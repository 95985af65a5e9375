"""What the test split will be opened for: settled by the search, by `confirm`, or by the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search import confirm, ensemble, results
from search.errors import NotFound
from search.paths import DataDir
from search.storage import Storage
from search.study import StoredStudy


@dataclass(frozen=True)
class Winner:
    """What the test split is opened for: a configuration and its models, or an ensemble."""

    trial: int  # of an ensemble: its first model's
    config: dict[str, Any]
    dev_loss: float  # the mean over the models; of an ensemble: of the averaged probabilities
    models: list[dict[str, Any]]  # {seed, checkpoint_sha256, file}; of an ensemble: trial, share

    @property
    def told(self) -> str:
        return told_winner(self.trial, self.models)


def told_winner(trial: int, models: Sequence[Mapping[str, Any]]) -> str:
    """What a test is of, in a few words."""
    return f"an ensemble of {len(models)} models" if "share" in models[0] else f"trial {trial}"


def winner(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Winner:
    """The ensemble, if the study file says so; else the winner of `confirm`, with all its models;
    without a confirmation the best trial.

    Raises:
        NotFound: the study has no complete trial, or no ensemble where it wants one.
    """
    if study.spec.confirm.ensemble:
        return _ensemble(storage, study, data_dir)
    confirmed = confirm.candidates(storage, study)
    if not confirmed:
        best = results.require_best(storage, study)
        seed = results.recorded_attempt(storage, study, best.trial).training_seed
        path = data_dir.checkpoint(study.uid, best.trial)
        models = [_model(seed, best.checkpoint_sha256, path)]
        return Winner(best.trial, dict(best.config), best.dev_loss, models)
    first = confirmed[0]
    models = [
        _model(each.seed, each.checkpoint_sha256, data_dir.confirmed(study.uid, *each.key))
        for each in confirm.trained(storage, study)
        if each.trial == first.trial
    ]
    return Winner(first.trial, first.config, first.dev_loss_mean, models)


def _ensemble(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Winner:
    chosen = ensemble.recorded(storage, study)
    if chosen is None:
        raise NotFound(
            f"study {study.name}: its file names an ensemble of at most "
            f"{study.spec.confirm.ensemble} models as the winner, and none is chosen yet; "
            f"`confirm {study.name}` first"
        )
    models = [
        _model(each.seed, each.checkpoint_sha256, each.path(study, data_dir))
        | {"trial": each.trial, "share": each.share}
        for each in chosen.members
    ]
    first = chosen.members[0].trial
    config = dict(results.recorded_attempt(storage, study, first).config)
    return Winner(first, config, chosen.dev_loss, models)


def _model(seed: int, sha256: str | None, path: Path) -> dict[str, Any]:
    return {"seed": seed, "checkpoint_sha256": sha256, "file": path.name}
