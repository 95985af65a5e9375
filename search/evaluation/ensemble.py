"""A handful of stored models whose averaged probabilities do best on dev, chosen greedily.

Caruana et al. 2004: start from the best model, then add whichever improves the average most, a
model again if need be, until none does. The choice is recorded. Where the study file names an
ensemble as the winner, `test` opens the test split for exactly these models; elsewhere it is only
shown.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

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
    """A stored model: a searched trial's (seed_index None) or a confirmed one."""

    trial: int
    seed_index: int | None
    seed: int
    checkpoint_sha256: str
    share: float = 0.0
    """Of the averaged probabilities."""

    def path(self, study: StoredStudy, data_dir: DataDir) -> Path:
        """Where its checkpoint lies on this machine."""
        if self.seed_index is None:
            return data_dir.checkpoint(study.uid, self.trial)
        return data_dir.confirmed(study.uid, self.trial, self.seed_index)


@dataclass(frozen=True)
class Ensemble:
    """The chosen models and the loss of their averaged probabilities, in nats per character.

    Dev chose them, so `dev_loss` is too good. `crossed_dev_loss` is fairer: each half of the dev
    words is judged by an ensemble that the other half chose. The models themselves were found on
    all of dev all the same; only the test split has seen none of this.
    """

    members: list[Member]
    dev_loss: float
    dev_loss_ci95: tuple[float, float]  # over words
    dev_loss_unseen: float | None
    crossed_dev_loss: float
    crossed_dev_loss_ci95: tuple[float, float]


def choose(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Dataset, max_members: int
) -> Ensemble:
    """Chooses at most `max_members` of a study's stored models.

    Raises:
        NotFound: none of them is stored on this host.
    """
    from makemore_core.training.evaluate import sum_by_word  # torch, which a launcher does without

    stored, likelihoods = _likelihoods(storage, study, data_dir, data)
    shares = ensemble_selection(likelihoods, max_members)
    members = [Member(**vars(stored[index]) | {"share": share}) for index, share in shares.items()]
    lengths = [len(word) + 1 for word in data.dev_words]
    seen = set(data.train_words)
    unseen = np.repeat([word not in seen for word in data.dev_words], lengths)  # (N,)
    second_half = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)  # (N,): every other word
    nats = averaged_nats(likelihoods, shares)
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
    """The chosen models with their shares, the first chosen first; (M, N): of each example."""
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


def averaged_nats(likelihoods: NDArray[np.float64], shares: Mapping[int, float]) -> Nats:
    """Negative log of the averaged probabilities of each example. (N,)"""
    weights = np.array(list(shares.values()))
    return np.asarray(-np.log(weights @ likelihoods[list(shares)]))


def cross_fitted_nats(
    likelihoods: NDArray[np.float64], second_half: NDArray[np.bool_], max_members: int
) -> Nats:
    """As `averaged_nats`, each half of the examples by an ensemble that the other half chose."""
    nats = np.empty(len(second_half))
    for judged in (second_half, ~second_half):
        shares = ensemble_selection(likelihoods[:, ~judged], max_members)
        nats[judged] = averaged_nats(likelihoods[:, judged], shares)
    return nats


@retry_storage
def record(storage: Storage, study: StoredStudy, chosen: Ensemble, max_members: int) -> None:
    """Records an ensemble, which is the winner of a study whose file names one.

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
                members=[asdict(member) for member in chosen.members],
                dev_loss=chosen.dev_loss,
                chosen_at=storage.now(),
            )
        )


@dataclass(frozen=True)
class RecordedEnsemble:
    """What `confirm` chose, as `test` will open it."""

    members: list[Member]
    dev_loss: float


@retry_storage
def recorded(storage: Storage, study: StoredStudy) -> RecordedEnsemble | None:
    """The ensemble that `confirm` chose for a study whose file wants one of just that size."""
    e, size = tables.ensembles, study.spec.confirm.ensemble
    with storage.read() as connection:
        row = connection.execute(
            select(e.c.members, e.c.dev_loss).where(e.c.study_uid == study.uid, e.c.most == size)
        ).first()
    return row and RecordedEnsemble([Member(**member) for member in row.members], row.dev_loss)


def _likelihoods(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Dataset
) -> tuple[list[Member], NDArray[np.float64]]:
    """Every stored model, and the probability that it gives each dev example. (M, N)"""
    from makemore_core.training.evaluate import example_nats

    members, likelihoods = [], []
    for member in _stored(storage, study):
        try:
            model = load_model(study, member.path(study, data_dir), member.checkpoint_sha256)
        except CheckpointError:
            continue  # it lies on another host, or is damaged: the others do
        members.append(member)
        likelihoods.append(np.exp(-example_nats(model, data.dev_words)))
    if not members:
        raise NotFound(f"study {study.name}: none of its checkpoints lies in {data_dir.root}")
    return members, np.array(likelihoods)


def _stored(storage: Storage, study: StoredStudy) -> list[Member]:
    """The confirmed models, and those of the best trials that were kept."""
    confirmed = [
        Member(each.trial, each.seed_index, each.seed, each.checkpoint_sha256)
        for each in confirmations.models(storage, study)
    ]
    best = [
        results.attempt_of_trial(storage, study, each.trial)
        for each in results.best_trials(storage, study, STORED)
        if each.checkpoint_sha256
    ]
    searched = [
        Member(each.trial, None, each.training_seed, each.checkpoint_sha256) for each in best
    ]
    return confirmed + searched
