"""Creates a study, or resumes the stored one if its definition is the same."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from makemore_core.data import corpus as corpora
from makemore_core.data.corpus import Corpus
from search.errors import Drift
from search.paths import DataDir
from search.retry import retry_files, retry_storage
from search.spec import auto_learning_rate
from search.spec.study_spec import StudySpec
from search.storage import optuna_studies, tables
from search.storage.database import Storage
from search.study import corpora as stored_corpora
from search.study.opening import Predecessor, ensure_same_predecessor, with_opening
from search.study.study import (
    StoredStudy,
    by_uid,
    ensure_artifacts_reachable,
    ensure_not_lost,
    ensure_not_moved,
    ensure_open,
    files_of,
    find,
    warn_of_other_programs,
)

InTransaction = Callable[[Connection, str], object]
"""Receives a transaction that changes a study, and the study's uid; may raise to give up."""


def _nothing(_connection: Connection, _uid: str) -> None:
    """Leaves a transaction as it is."""


def create_or_resume(
    storage: Storage,
    spec: StudySpec,
    corpus: Corpus,
    data_dir: DataDir,
    artifacts: str | None = None,
    predecessor: Predecessor | None = None,
    on_created: InTransaction = _nothing,
    on_resumed: InTransaction = _nothing,
) -> StoredStudy:
    """Returns the stored study of this name, creates it if there is none, and updates its budget.

    Args:
        artifacts: the shared place of its model files, as `artifact_stores.validate_location`
            returns it; a study without one gets it, and the local files are uploaded.
        predecessor: what a new study begins from; of a study that exists only its name counts.
        on_created: called in the transaction that adds a new study.
        on_resumed: called in the one that stores the budget, also of a study that is new.

    Raises:
        Drift: the stored study has another definition; the message names the fields. Or it began
            from another study.
        StudyClosed: its test split has been opened.
        BadInput: this host cannot reach its model files.
    """
    study = find(storage, spec.study.name)
    if study is None:
        resolved = auto_learning_rate.resolve_auto(spec.resolved_for(corpus), corpus)
        opened = with_opening(resolved, corpus, predecessor)
        study = _create(storage, opened, corpus, artifacts, on_created)
    ensure_same_predecessor(study.spec, predecessor.study if predecessor else None)
    spec = spec.with_defaults(study.spec.defaults).resolved_for(corpus)
    spec = auto_learning_rate.adopt_stored_range(spec, study.spec)
    ensure_same_definition(study, spec, corpus)
    ensure_not_moved(study)
    ensure_open(study)
    ensure_not_lost(study)
    warn_of_other_programs(storage, study)
    study = _ensure_artifacts(storage, study, data_dir, artifacts)
    if not data_dir.corpus(corpus.fingerprint).is_file():
        with contextlib.suppress(OSError):  # the storage holds it as well
            corpora.save(corpus, data_dir.corpus(corpus.fingerprint))
    return _update_budget(storage, study, spec, corpus, on_resumed)


def resume(
    storage: Storage,
    study: StoredStudy,
    trials: int | None,
    timeout: Any = None,
    on_resumed: InTransaction = _nothing,
) -> StoredStudy:
    """Withdraws a `stop`, and replaces what is given of the budget.

    Args:
        timeout: seconds, or a duration such as "2m".
        on_resumed: called in the transaction that does so.

    Raises:
        StudyFileError: a value is none.
        StudyClosed: the test split has been opened.
        Refused: the study was moved, or another program deleted its trials.
    """
    ensure_not_moved(study)
    ensure_open(study)
    ensure_not_lost(study)
    spec = study.spec.with_values("budget", trials=trials, timeout=timeout)
    return _update_budget(storage, study, spec, None, on_resumed)


def ensure_same_definition(study: StoredStudy, spec: StudySpec, corpus: Corpus) -> None:
    """Raises Drift with every field that differs from the stored definition."""
    stored, given = study.spec.definition(), spec.definition()
    differing = [
        f"{key} is {_abbreviate(stored.get(key))} in the storage "
        f"and {_abbreviate(given.get(key))} now"
        for key in stored
        if stored.get(key) != given.get(key)
    ]
    if corpus.fingerprint != study.fingerprint:
        differing.append(
            f"study.corpus is {study.corpus_name} ({study.fingerprint[:12]}…) in the storage and "
            f"{corpus.name} ({corpus.fingerprint[:12]}…) now"
        )
    if differing:
        raise Drift(f"study {study.name}: {'; '.join(differing)}; restore it, or rename the study")


@retry_storage
def _create(
    storage: Storage,
    spec: StudySpec,
    corpus: Corpus,
    artifacts: str | None,
    on_created: InTransaction,
) -> StoredStudy:
    """Adds a study to Optuna's tables and to ours; returns another process's, if that was first."""
    created = optuna.create_study(
        study_name=spec.study.name,
        storage=storage.optuna,
        direction="minimize",
        load_if_exists=True,
    )
    if created.direction != optuna.study.StudyDirection.MINIMIZE or created.get_trials(
        deepcopy=False
    ):
        existing = find(storage, spec.study.name)
        if existing is not None:  # another process created it meanwhile, and works on it already
            return existing
        raise Drift(
            f"study {spec.study.name}: the storage holds an Optuna study of this name that "
            "another program created; give the study another name"
        )
    uid = secrets.token_hex(16)
    optuna_id = storage.optuna.get_study_id_from_name(spec.study.name)
    row = tables.studies.insert().values(
        uid=uid,
        name=spec.study.name,
        optuna_id=optuna_id,
        document=spec.as_document(),
        corpus_name=corpus.name,
        fingerprint=corpus.fingerprint,
        artifacts=artifacts,
        created_at=storage.now(),
    )
    # IntegrityError: another process created it in the same moment
    with contextlib.suppress(IntegrityError), storage.write() as connection:
        stored_corpora.insert_if_missing(connection, corpus)
        connection.execute(row)
        optuna_studies.mark(connection, optuna_id, uid)
        on_created(connection, uid)
    stored = find(storage, spec.study.name)
    assert stored is not None
    return stored


def _ensure_artifacts(
    storage: Storage, study: StoredStudy, data_dir: DataDir, artifacts: str | None
) -> StoredStudy:
    """Records the place of the study's model files, and checks that this host can reach it."""
    if study.artifacts is None and artifacts is not None:
        study = replace(study, artifacts=artifacts)
        retry_files(files_of(study, data_dir).upload_all)
        _record_artifacts(storage, study)
    elif artifacts is None:
        ensure_artifacts_reachable(study)
    elif artifacts != study.artifacts:
        raise Drift(
            f"study {study.name}: its model files are in {study.artifacts}, not in {artifacts}; "
            "leave --artifacts out"
        )
    return study


@retry_storage
def _record_artifacts(storage: Storage, study: StoredStudy) -> None:
    with storage.write() as connection:
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid)
            .values(artifacts=study.artifacts)
        )


@retry_storage
def _update_budget(
    storage: Storage,
    study: StoredStudy,
    spec: StudySpec,
    corpus: Corpus | None,
    on_resumed: InTransaction,
) -> StoredStudy:
    """Stores what may change between runs, and withdraws a `stop`.

    Stores the words, if given, if the study was created by a version that did not store them.
    """
    document: dict[str, Any] = study.spec.as_document()
    given = spec.as_document()
    document |= {section: given[section] for section in ("budget", "confirm", "notify")}
    document["study"] |= {key: given["study"][key] for key in ("priority", "max_workers")}
    with storage.write() as connection:
        on_resumed(connection, study.uid)
        if corpus is not None:
            stored_corpora.insert_if_missing(connection, corpus)
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid, tables.studies.c.closed_at.is_(None))
            .values(document=document, stop_requested_at=None, optuna_id=study.optuna_id)
        )
    updated = by_uid(storage, study.uid)
    ensure_open(updated)  # it may have been closed meanwhile
    return updated


def _abbreviate(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
