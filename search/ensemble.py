"""A handful of stored models whose averaged probabilities do best on dev, chosen greedily.

Caruana et al. 2004: start from the best model, then add whichever improves the average most, a
model again if need be, until none does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from makemore_core.contexts import Data
from makemore_core.corpus import Corpus
from makemore_core.errors import CheckpointError
from makemore_core.evaluate import example_nats
from search import confirm, results
from search.errors import NotFound
from search.paths import DataDir
from search.storage import Storage
from search.study import StoredStudy, load_model

STORED = 10


@dataclass(frozen=True)
class Member:
    """A stored model: a searched trial's (seed_index None) or a confirmed one."""

    trial: int
    seed_index: int | None
    checkpoint_sha256: str


@dataclass(frozen=True)
class Ensemble:
    """The chosen models, repeats included, and the loss of their averaged probabilities."""

    members: list[Member]
    dev_loss: float
    dev_loss_unseen: float | None


def choose(
    storage: Storage, study: StoredStudy, data_dir: DataDir, corpus: Corpus, most: int
) -> Ensemble:
    """Chooses at most `most` of a study's stored models.

    Raises:
        NotFound: none of them is stored on this host.
    """
    data = Data.of(corpus, study.spec.study.split_seed)
    members, likelihoods = _likelihoods(storage, study, data_dir, data)
    chosen = greedy(likelihoods, most)
    nats = -np.log(np.mean([likelihoods[index] for index in chosen], axis=0))
    seen = set(data.train_words)
    lengths = [len(word) + 1 for word in data.dev_words]
    unseen = np.repeat([word not in seen for word in data.dev_words], lengths)
    return Ensemble(
        members=[members[index] for index in chosen],
        dev_loss=float(nats.mean()),
        dev_loss_unseen=float(nats[unseen].mean()) if unseen.any() else None,
    )


def greedy(likelihoods: Sequence[NDArray[np.float64]], most: int) -> list[int]:
    """Indices of the chosen models; `likelihoods` are those of each example, (N,) for a model."""
    chosen: list[int] = []
    total = np.zeros_like(likelihoods[0])
    best = np.inf
    while len(chosen) < most:
        losses = [-np.log((total + each) / (len(chosen) + 1)).mean() for each in likelihoods]
        index = int(np.argmin(losses))
        if losses[index] >= best:
            break
        best = losses[index]
        chosen.append(index)
        total += likelihoods[index]
    return chosen


def _likelihoods(
    storage: Storage, study: StoredStudy, data_dir: DataDir, data: Data
) -> tuple[list[Member], list[NDArray[np.float64]]]:
    """Every stored model, and the probability that it gives each dev example. (N,)"""
    searched = [
        Member(each.trial, None, str(each.checkpoint_sha256))
        for each in results.best_trials(storage, study, STORED)
        if each.checkpoint_sha256
    ]
    confirmed = [
        Member(each.trial, each.seed_index, each.checkpoint_sha256)
        for each in confirm.trained(storage, study)
    ]
    members, likelihoods = [], []
    for member in (*confirmed, *searched):
        try:
            model = load_model(study, _path(study, data_dir, member), member.checkpoint_sha256)
        except CheckpointError:
            continue  # it lies on another host, or is damaged: the others do
        members.append(member)
        likelihoods.append(np.exp(-example_nats(model, data.dev_words)))
    if not members:
        raise NotFound(f"study {study.name}: none of its checkpoints lies in {data_dir.root}")
    return members, likelihoods


def _path(study: StoredStudy, data_dir: DataDir, member: Member) -> Path:
    if member.seed_index is None:
        return data_dir.checkpoint(study.uid, member.trial)
    return data_dir.confirmed(study.uid, member.trial, member.seed_index)
