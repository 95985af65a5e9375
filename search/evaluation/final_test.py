"""Opens the test split, once for a study, and records the result.

The opening is recorded, with the configuration and the checkpoints' hashes, before the first test
tensor exists; the same transaction closes the study. A second `test` returns the record. One that
was interrupted before its result is completed by the next `test`: the same opening, of the same
checkpoints.
"""

import contextlib
import os
import secrets
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import literal, not_, or_, select, update
from sqlalchemy.exc import IntegrityError

from makemore_core.data.corpus import Corpus
from makemore_core.data.dataset import Dataset
from makemore_core.data.sealed_test import open_test_split
from makemore_core.model.network import Model
from makemore_core.training.evaluate import example_nats, sum_by_word
from search.confidence_intervals import bootstrap
from search.errors import StorageLost
from search.evaluation import ensemble
from search.evaluation.winner import Winner, winner
from search.formatting import iso_time
from search.paths import DataDir
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.storage.rows import OpeningRow
from search.study.study import StoredStudy, corpus_of, load_model
from search.system.processes import HOST, is_dead

CLAIM_SECONDS = 60.0
"""The age at which an opening without a result counts as interrupted."""
PER_MODEL = ("seed", "checkpoint_sha256", "trial", "share")
"""The keys of each model in a result; the last two of an ensemble's models."""


@dataclass(frozen=True)
class TestResult:
    """The result on the test split. Losses in nats per predicted character.

    Of a configuration it is the mean loss of its models; of an ensemble the loss of its averaged
    probabilities, and `trial` is the best single configuration, as in `best`.
    """

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
    ensemble: bool


@retry_storage
def recorded(storage: Storage, study: StoredStudy) -> OpeningRow | None:
    """The study's opening; None if there is none."""
    o = tables.openings
    with storage.read() as connection:
        row = connection.execute(select(o).where(o.c.study_uid == study.uid)).first()
    return None if row is None else OpeningRow.of(row)


def _opening_of(storage: Storage, study: StoredStudy) -> OpeningRow:
    """The opening of a study that has one: such a row is never deleted."""
    opening = recorded(storage, study)
    if opening is None:
        raise StorageLost(f"study {study.name}: the record of its test opening is gone")
    return opening


def recorded_result(storage: Storage, study: StoredStudy) -> TestResult | None:
    """What the test split said of the study; None: it has not been opened, or not to the end."""
    opening = recorded(storage, study)
    if opening is None or opening.result is None:
        return None
    return _result(opening, False, opened_before(storage, study))


@retry_storage
def opened_before(storage: Storage, study: StoredStudy) -> list[dict[str, Any]]:
    """The other studies that opened the same split of the same corpus before this one."""
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
        {"study": row.study_name, "opened_at": iso_time(row.claimed_at)}
        for row in rows
        if own is None or row.claimed_at < own.claimed_at
    ]


def open_and_evaluate(storage: Storage, study: StoredStudy, data_dir: DataDir) -> TestResult:
    """Opens the test split for the study's winner, or returns the recorded result.

    Raises:
        NotFound: the study has no complete trial.
        CheckpointError: a checkpoint of the winner is missing or is not the one recorded.
    """
    before = opened_before(storage, study)
    opening = recorded(storage, study)
    if opening is not None and opening.result is not None:
        return _result(opening, False, before)
    corpus = corpus_of(storage, study, data_dir)
    won = winner(storage, study, data_dir) if opening is None else None
    if won is not None:
        _load(study, data_dir, won.models)  # raises before anything is opened
    token = secrets.token_hex(16)
    opening = _claim(storage, study, won, token)
    if opening.result is None:
        models = _load(study, data_dir, opening.models)
        result = _evaluate(models, corpus, study.spec.study.split_seed, opening.models)
        opening = _record(storage, study, token, result)
    return _result(opening, opening.claimed_by == token, before)


def _load(study: StoredStudy, data_dir: DataDir, models: list[dict[str, Any]]) -> list[Model]:
    directory = data_dir.checkpoints(study.uid)
    return [
        load_model(study, directory / each["file"], each["checkpoint_sha256"]) for each in models
    ]


def _claim(storage: Storage, study: StoredStudy, won: Winner | None, token: str) -> OpeningRow:
    """Records an opening and closes the study; or waits for an earlier one, or takes it over."""
    if won is not None:
        # IntegrityError: another `test` was first, and its opening is the only one
        with contextlib.suppress(IntegrityError):
            return _record_opening(storage, study, won, token)
    deadline = time.monotonic() + 2 * CLAIM_SECONDS
    while time.monotonic() < deadline:
        opening = recorded(storage, study)
        if opening is not None and (opening.result is not None or opening.claimed_by == token):
            return opening
        _take_over_if_interrupted(storage, study, token)
        time.sleep(0.2)
    raise StorageLost(f"study {study.name}: another process holds its test opening; try again")


@retry_storage
def _record_opening(storage: Storage, study: StoredStudy, won: Winner, token: str) -> OpeningRow:
    opening = tables.openings.insert().values(
        study_uid=study.uid,
        study_name=study.name,
        fingerprint=study.fingerprint,
        split_seed=study.spec.study.split_seed,
        trial=won.trial,
        config=won.config,
        dev_loss=won.dev_loss,
        models=won.models,
        claimed_by=token,
        claimed_at=storage.now(),
        seen_at=storage.now(),
        host=HOST,
        pid=os.getpid(),
    )
    close = update(tables.studies).where(tables.studies.c.uid == study.uid)
    with storage.write() as connection:
        connection.execute(opening)
        connection.execute(close.values(closed_at=storage.now()))
    return _opening_of(storage, study)


@retry_storage
def _take_over_if_interrupted(storage: Storage, study: StoredStudy, token: str) -> None:
    """Takes over an opening whose process is dead, or older than CLAIM_SECONDS."""
    o = tables.openings
    opening = recorded(storage, study)
    if opening is None:
        return
    ago = storage.now() - o.c.seen_at
    stale = not_(ago.between(-CLAIM_SECONDS, CLAIM_SECONDS))  # or the clock was set back
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
    models: list[Model], corpus: Corpus, split_seed: int, described: list[dict[str, Any]]
) -> dict[str, Any]:
    """The winner's loss, its interval over words, and each model's own loss."""
    words = open_test_split(corpus, split_seed)
    each_nats = np.array([example_nats(model, words) for model in models])  # (M, N)
    averaged = "share" in described[0]
    if averaged:
        weights = {index: model["share"] for index, model in enumerate(described)}
        example = ensemble.averaged_nats(np.exp(-each_nats), weights)
    else:
        example = each_nats.mean(axis=0)
    nats, characters = sum_by_word(example, words)
    seen = set(Dataset.from_corpus(corpus, split_seed).train_words)
    unseen = np.array([word not in seen for word in words])
    return {
        "test_loss": _loss(nats, characters),
        "test_loss_ci95": bootstrap(nats, characters),
        "test_loss_unseen": _loss(nats[unseen], characters[unseen]) if unseen.any() else None,
        "ensemble": averaged,
        "per_model": [
            {
                **{key: model[key] for key in PER_MODEL if key in model},
                "test_loss": float(own.mean()),
            }
            for model, own in zip(described, each_nats, strict=True)
        ],
    }


def _loss(nats: NDArray[np.float64], characters: NDArray[np.int64]) -> float:
    return float(nats.sum() / characters.sum())


@retry_storage
def _record(storage: Storage, study: StoredStudy, token: str, result: dict[str, Any]) -> OpeningRow:
    """Stores the result, unless another process took the opening over and stored its own."""
    o = tables.openings
    with storage.write() as connection:
        connection.execute(
            update(o)
            .where(o.c.study_uid == study.uid, o.c.claimed_by == token, o.c.evaluated_at.is_(None))
            .values(result=result, evaluated_at=storage.now())
        )
    return _opening_of(storage, study)


def _result(opening: OpeningRow, first_time: bool, before: list[dict[str, Any]]) -> TestResult:
    result, evaluated_at = opening.result, opening.evaluated_at
    assert result is not None and evaluated_at is not None
    return TestResult(
        study=opening.study_name,
        trial=opening.trial,
        test_loss=result["test_loss"],
        test_loss_ci95=tuple(result["test_loss_ci95"]),
        test_loss_unseen=result["test_loss_unseen"],
        dev_loss=opening.dev_loss,
        per_model=result["per_model"],
        evaluated_at=iso_time(evaluated_at),
        first_time=first_time,
        opened_before=before,
        ensemble=result.get("ensemble", False),
    )
