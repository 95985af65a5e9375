"""Ensemble selection: stored models whose averaged probabilities have the lowest dev loss.

Greedy forward selection with replacement (Caruana et al. 2004): start from the best model, then add
the one that lowers the average's loss most, until none does. The choice is recorded. Where the
study file names an ensemble as the winner, `test` opens the test split for exactly these models;
elsewhere it is only shown.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select

from makemore_core.data.dataset import Dataset
from makemore_core.errors import CheckpointError
from search.confidence_intervals import bootstrap
from search.errors import NotFound
from search.evaluation import candidates
from search.paths import DataDir
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy, load_model
from search.trials import confirmations, results

STORED = 10

Nats = NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """A stored model with its weight: a searched trial's (seed_index None) or a confirmed one."""

    trial: int
    seed_index: int | None
    seed: int
    checkpoint_sha256: str
    weight: float = 0.0
    """Its weight in the averaged probabilities; `share` in JSON."""

    def path(self, study: StoredStudy, data_dir: DataDir) -> Path:
        """The path of its checkpoint on this host."""
        if self.seed_index is None:
            return data_dir.checkpoint(study.uid, self.trial)
        return data_dir.confirmed(study.uid, self.trial, self.seed_index)

    def document(self) -> dict[str, Any]:
        """The member as in JSON and in the database."""
        document = asdict(self)
        return {("share" if name == "weight" else name): document[name] for name in document}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The member of a document."""
        rest = {name: value for name, value in document.items() if name != "share"}
        return cls(**rest, weight=document["share"])


@dataclass(frozen=True)
class Ensemble:
    """The chosen models and the loss of their averaged probabilities, in nats per character.

    They were selected on dev, so `dev_loss` is optimistic. `crossed_dev_loss` is less so: each half
    of the dev words is evaluated with an ensemble that was selected on the other half. The models
    were found on all of dev all the same; only the test split is independent of the selection.
    """

    members: list[Member]
    dev_loss: float
    dev_loss_ci95: tuple[float, float]  # over words
    dev_loss_unseen: float | None
    crossed_dev_loss: float
    crossed_dev_loss_ci95: tuple[float, float]

    def document(self) -> dict[str, Any]:
        """The ensemble as in JSON."""
        return asdict(self) | {"members": [member.document() for member in self.members]}


def choose(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Dataset, max_members: int
) -> Ensemble:
    """Selects an ensemble of at most `max_members` of a study's stored models.

    Raises:
        NotFound: none of them is stored on this host.
    """
    from makemore_core.training.evaluate import sum_by_word  # imported late: it loads torch

    stored, likelihoods = _likelihoods(storage, study, data_dir, data)
    weights = ensemble_selection(likelihoods, max_members)
    members = [
        Member(**vars(stored[index]) | {"weight": weight}) for index, weight in weights.items()
    ]
    lengths = [len(word) + 1 for word in data.dev_words]
    seen = set(data.train_words)
    unseen = np.repeat([word not in seen for word in data.dev_words], lengths)  # (N,)
    second_half = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)  # (N,): every other word
    nats = averaged_nats(likelihoods, weights)
    crossed = cross_fitted_nats(likelihoods, second_half, max_members)
    return Ensemble(
        members=members,
        dev_loss=float(nats.mean()),
        dev_loss_ci95=bootstrap(*sum_by_word(nats, data.dev_words)),
        dev_loss_unseen=float(nats[unseen].mean()) if unseen.any() else None,
        crossed_dev_loss=float(crossed.mean()),
        crossed_dev_loss_ci95=bootstrap(*sum_by_word(crossed, data.dev_words)),
    )


def ensemble_selection(likelihoods: NDArray[np.float64], max_members: int) -> dict[int, float]:
    """The selected models' weights by index, in order of selection; likelihoods: (M, N)."""
    chosen: list[int] = []
    total = np.zeros_like(likelihoods[0])
    best = np.inf
    while len(chosen) < max_members:
        losses = -np.log((total + likelihoods) / (len(chosen) + 1)).mean(axis=1)  # (M,)
        index = int(np.argmin(losses))
        if losses[index] >= best:
            break
        best = losses[index]
        chosen.append(index)
        total += likelihoods[index]
    return {index: chosen.count(index) / len(chosen) for index in chosen}


def averaged_nats(likelihoods: NDArray[np.float64], weights: Mapping[int, float]) -> Nats:
    """Negative log of the averaged probabilities of each example. (N,)"""
    vector = np.array(list(weights.values()))  # (K,)
    return np.asarray(-np.log(vector @ likelihoods[list(weights)]))


def cross_fitted_nats(
    likelihoods: NDArray[np.float64], second_half: NDArray[np.bool_], max_members: int
) -> Nats:
    """As `averaged_nats`, each half of the examples with an ensemble selected on the other. (N,)"""
    nats = np.empty(len(second_half))
    for half in (second_half, ~second_half):
        weights = ensemble_selection(likelihoods[:, ~half], max_members)
        nats[half] = averaged_nats(likelihoods[:, half], weights)
    return nats


@retry_storage
def record(storage: Storage, study: StoredStudy, chosen: Ensemble, max_members: int) -> None:
    """Records the ensemble that was selected among at most `max_members` models.

    Raises:
        StudyClosed: the test split has been opened meanwhile, so the winner is settled.
    """
    e, s = tables.ensembles, tables.studies
    with storage.write() as connection:
        closed = connection.execute(
            select(s.c.closed_at).where(s.c.uid == study.uid).with_for_update()
        ).scalar_one()
        if closed is not None:
            raise candidates.winner_settled_error(study)
        connection.execute(delete(e).where(e.c.study_uid == study.uid))
        connection.execute(
            e.insert().values(
                study_uid=study.uid,
                most=max_members,
                members=[member.document() for member in chosen.members],
                dev_loss=chosen.dev_loss,
                chosen_at=storage.now(),
            )
        )


@dataclass(frozen=True)
class RecordedEnsemble:
    """The ensemble that `confirm` selected, and that `test` will open."""

    members: list[Member]
    dev_loss: float


@retry_storage
def recorded(storage: Storage, study: StoredStudy) -> RecordedEnsemble | None:
    """The ensemble that `confirm` selected, if the study file names one of that size."""
    e, max_members = tables.ensembles, study.spec.confirm.ensemble
    with storage.read() as connection:
        row = connection.execute(
            select(e.c.members, e.c.dev_loss).where(
                e.c.study_uid == study.uid, e.c.most == max_members
            )
        ).first()
    return row and RecordedEnsemble(
        [Member.from_document(each) for each in row.members], row.dev_loss
    )


def _likelihoods(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Dataset
) -> tuple[list[Member], NDArray[np.float64]]:
    """Every stored model, and the probabilities that they give the dev examples. (M, N)"""
    from makemore_core.training.evaluate import example_nats

    members, likelihoods = [], []
    for member in _stored(storage, study):
        try:
            model = load_model(study, member.path(study, data_dir), member.checkpoint_sha256)
        except CheckpointError:
            continue  # on another host, or damaged: the others are used
        members.append(member)
        likelihoods.append(np.exp(-example_nats(model, data.dev_words)))
    if not members:
        raise NotFound(f"study {study.name}: none of its checkpoints is in {data_dir.root}")
    return members, np.array(likelihoods)


def _stored(storage: Storage, study: StoredStudy) -> list[Member]:
    """The confirmed models, and those of the best trials whose checkpoints are kept."""
    confirmed = [
        Member(each.trial, each.seed_index, each.seed, each.checkpoint_sha256)
        for each in confirmations.models(storage, study)
    ]
    best = [
        results.attempt_of_trial(storage, study, each.trial)
        for each in results.best_trials(storage, study, STORED)
    ]
    searched = [
        Member(each.trial, None, each.training_seed, each.checkpoint_sha256)
        for each in best
        if each.checkpoint_sha256
    ]
    return confirmed + searched
