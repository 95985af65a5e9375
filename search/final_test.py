"""Opens the test split, once for a study, and records what it said.

The opening is recorded, with the configuration and the checkpoint's hash, before a single test
tensor exists; the same transaction closes the study. A second `test` finds the record. One that
was interrupted before its result is the same opening of the same checkpoint: the next `test`
finishes it.
"""

import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from makemore_core.contexts import Data
from makemore_core.corpus import Corpus
from makemore_core.evaluate import word_losses
from makemore_core.model import Model
from makemore_core.sealed_test import open_test_split
from search import results, tables
from search.errors import StorageLost
from search.paths import DataDir
from search.processes import HOST, is_dead
from search.results import BestView
from search.storage import Storage
from search.study import StoredStudy, kept_corpus, load_model

BOOTSTRAP_RESAMPLES = 10_000
CLAIM_SECONDS = 60.0
"""After so long without a result, an opening counts as interrupted."""


@dataclass(frozen=True)
class TestResult:
    """What the test split said, once. Losses in nats per predicted character."""

    study: str
    trial: int
    test_loss: float
    test_loss_ci95: tuple[float, float]
    test_loss_unseen: float | None
    dev_loss: float
    per_model: list[dict[str, Any]]
    evaluated_at: str
    first_time: bool
    opened_before: list[dict[str, Any]]


def recorded(storage: Storage, study: StoredStudy) -> Any | None:
    """The study's opening, if there is one."""
    o = tables.openings
    with storage.read() as connection:
        return connection.execute(select(o).where(o.c.study_uid == study.uid)).first()


def opened_before(storage: Storage, study: StoredStudy) -> list[dict[str, Any]]:
    """Which other studies opened the same split of the same corpus earlier than this one."""
    o = tables.openings
    own = recorded(storage, study)
    with storage.read() as connection:
        rows = connection.execute(
            select(o.c.study_name, o.c.claimed_at)
            .where(
                o.c.fingerprint == study.fingerprint,
                o.c.split_seed == study.spec.study.split_seed,
                o.c.study_uid != study.uid,
            )
            .order_by(o.c.claimed_at)
        ).all()
    return [
        {"study": row.study_name, "opened_at": _told_time(row.claimed_at)}
        for row in rows
        if own is None or row.claimed_at < own.claimed_at
    ]


def test(storage: Storage, study: StoredStudy, data_dir: DataDir) -> TestResult:
    """Opens the test split for the study's winner, or shows the recorded answer.

    Raises:
        NotFound: the study has no complete trial.
        CheckpointError: the winner's checkpoint is missing or is not the one that was recorded.
    """
    before = opened_before(storage, study)
    opening = recorded(storage, study)
    if opening is not None and opening.result is not None:
        return _result(opening, False, before)
    if opening is None:
        winner = results.require_best(storage, study)
        load_model(
            study, winner.trial, winner.checkpoint_sha256, data_dir
        )  # before anything is opened
        corpus = kept_corpus(study, data_dir)
    else:
        corpus = kept_corpus(study, data_dir)
        winner = None
    token = secrets.token_hex(16)
    opening = _claim(storage, study, winner, token)
    if opening.result is None:
        models = opening.models
        model = load_model(study, opening.trial, models[0]["checkpoint_sha256"], data_dir)
        result = _evaluate(model, corpus, study.spec.study.split_seed, models)
        opening = _record(storage, study, token, result)
    return _result(opening, opening.claimed_by == token, before)


def _claim(storage: Storage, study: StoredStudy, winner: BestView | None, token: str) -> Any:
    """Records the opening and closes the study; or waits for, or takes over, an earlier one."""
    if winner is not None:
        try:
            return _claim_first(storage, study, winner, token)
        except IntegrityError:
            pass  # another `test` was first; its opening is the only one
    deadline = time.monotonic() + 2 * CLAIM_SECONDS
    while time.monotonic() < deadline:
        opening = recorded(storage, study)
        if opening is not None and (opening.result is not None or opening.claimed_by == token):
            return opening
        _take_over_if_interrupted(storage, study, token)
        time.sleep(0.2)
    raise StorageLost(f"study {study.name}: another process holds its test opening; try again")


def _claim_first(storage: Storage, study: StoredStudy, winner: BestView, token: str) -> Any:
    model = {"seed": study.spec.study.seed, "checkpoint_sha256": winner.checkpoint_sha256}
    a = tables.attempts
    with storage.write() as connection:
        model["seed"] = connection.execute(
            select(a.c.training_seed).where(a.c.study_uid == study.uid, a.c.trial == winner.trial)
        ).scalar_one()
        connection.execute(
            tables.openings.insert().values(
                study_uid=study.uid,
                study_name=study.name,
                fingerprint=study.fingerprint,
                split_seed=study.spec.study.split_seed,
                trial=winner.trial,
                config=winner.config,
                dev_loss=winner.dev_loss,
                models=[model],
                claimed_by=token,
                claimed_at=storage.now(),
                seen_at=storage.now(),
                host=HOST,
                pid=os.getpid(),
            )
        )
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid)
            .values(closed_at=storage.now())
        )
    return recorded(storage, study)


def _take_over_if_interrupted(storage: Storage, study: StoredStudy, token: str) -> None:
    """Takes over an opening whose process is dead, or has not been seen for a minute."""
    o = tables.openings
    opening = recorded(storage, study)
    if opening is None:
        return
    stale = o.c.seen_at < storage.now() - CLAIM_SECONDS
    with storage.write() as connection:
        connection.execute(
            update(o)
            .where(
                o.c.study_uid == study.uid,
                o.c.claimed_by == opening.claimed_by,
                o.c.evaluated_at.is_(None),
                or_(stale, literal(is_dead(opening.host, opening.pid))),
            )
            .values(claimed_by=token, seen_at=storage.now(), host=HOST, pid=os.getpid())
        )


def _evaluate(
    model: Model, corpus: Corpus, split_seed: int, models: list[dict[str, Any]]
) -> dict[str, Any]:
    words = open_test_split(corpus, split_seed)
    nats, characters = word_losses(model, words)
    seen = set(Data.of(corpus, split_seed).train_words)
    unseen = np.array([word not in seen for word in words])
    loss = float(nats.sum() / characters.sum())
    return {
        "test_loss": loss,
        "test_loss_ci95": bootstrap_interval(nats, characters),
        "test_loss_unseen": (
            float(nats[unseen].sum() / characters[unseen].sum()) if unseen.any() else None
        ),
        "per_model": [each | {"test_loss": loss} for each in models],
    }


def bootstrap_interval(
    nats: NDArray[np.float64], characters: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval of the mean loss, resampling words. Both are (W,)."""
    rng = np.random.default_rng(seed)
    losses = np.empty(BOOTSTRAP_RESAMPLES)
    for index in range(BOOTSTRAP_RESAMPLES):
        drawn = rng.integers(len(nats), size=len(nats))
        losses[index] = nats[drawn].sum() / characters[drawn].sum()
    low, high = np.quantile(losses, [0.025, 0.975])
    return float(low), float(high)


def _record(storage: Storage, study: StoredStudy, token: str, result: dict[str, Any]) -> Any:
    """Stores the result, unless another process took the opening over and was first."""
    o = tables.openings
    with storage.write() as connection:
        connection.execute(
            update(o)
            .where(o.c.study_uid == study.uid, o.c.claimed_by == token, o.c.evaluated_at.is_(None))
            .values(result=result, evaluated_at=storage.now())
        )
    return recorded(storage, study)


def _result(opening: Any, first_time: bool, before: list[dict[str, Any]]) -> TestResult:
    result = opening.result
    return TestResult(
        study=opening.study_name,
        trial=opening.trial,
        test_loss=result["test_loss"],
        test_loss_ci95=tuple(result["test_loss_ci95"]),
        test_loss_unseen=result["test_loss_unseen"],
        dev_loss=opening.dev_loss,
        per_model=result["per_model"],
        evaluated_at=_told_time(opening.evaluated_at),
        first_time=first_time,
        opened_before=before,
    )


def _told_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
