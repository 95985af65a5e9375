"""A study as the storage holds it: found, stopped and deleted; its words and its models."""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, delete, select, update

from makemore_core.data import corpus
from makemore_core.data.corpus import Corpus
from makemore_core.data.corpus_format import CorpusFormat
from makemore_core.data.corpus_lines import AS_IT_IS
from makemore_core.errors import CheckpointError, CorpusError, CorpusMissing
from search import file_errors
from search.errors import BadInput, Drift, NotFound, Refused, StudyClosed
from search.formatting import verb_and_arguments
from search.paths import DataDir
from search.processes import is_dead
from search.retry import retry_storage
from search.spec import toml_writer
from search.spec.study_file import StudySpec, from_document, read
from search.storage import artifact_stores, optuna_queries, optuna_studies, tables
from search.storage.database import Storage
from search.storage.study_files import StudyFiles
from search.study import corpora

if TYPE_CHECKING:
    from makemore_core.model.network import Model

log = logging.getLogger(__name__)

CHILD_TABLES = (
    tables.slots,
    tables.attempts,
    tables.confirmations,
    tables.ensembles,
    tables.workers,
)
"""The tables whose rows go with their study."""


@dataclass(frozen=True)
class StoredStudy:
    """A study as the storage holds it."""

    uid: str
    name: str
    optuna_id: int
    spec: StudySpec
    fingerprint: str
    corpus_name: str
    artifacts: str | None  # where its model files lie for every host; None: where they arose
    closed: bool
    stopped: bool
    moved_to: str | None  # the storage that it goes on in

    @property
    def lost(self) -> bool:
        """Whether another program deleted Optuna's part of it."""
        return self.optuna_id == optuna_studies.MISSING

    @property
    def open(self) -> bool:
        """Whether workers may work on it."""
        return not (self.closed or self.stopped)


def load_corpus(spec: StudySpec, data_dir: DataDir) -> Corpus:
    """The corpus of a study file, as the user has it now."""
    section = spec.study
    return corpus.load(section.corpus, data_dir.root, section.layout, dedupe=section.dedupe)


def present_corpus(
    storage: Storage, study: StoredStudy, spec: StudySpec, data_dir: DataDir
) -> Corpus:
    """The corpus that a file names for a study that exists: as the user has it now, so that a
    change is seen; the words that the study keeps where there is no such file here.

    Raises:
        CorpusError: there are neither.
        Drift: the file has become something that is no corpus.
    """
    kept = corpora.load_cached(storage, study.fingerprint, data_dir)
    if kept is None:
        return load_corpus(spec, data_dir)
    kept = Corpus(study.corpus_name, kept.words)
    given, known = spec.study, study.spec.study
    same_name = Path(given.corpus).name == Path(known.corpus).name
    if same_name and given.corpus in corpus.BUILT_IN and given.dedupe == known.dedupe:
        return kept  # what a package or a download has now is no business of the user's
    layout = known.layout if same_name and given.layout == corpus.PLAIN else given.layout
    try:
        return corpus.load(given.corpus, data_dir.root, layout, dedupe=given.dedupe)
    except CorpusMissing as missing:
        if not same_name:
            raise
        return replace(kept, notes=(f"{missing}; its words are those that the study keeps",))
    except CorpusError as error:
        if _holds_as_it_is(spec, study):
            return kept
        raise Drift(
            f"study {study.name}: its corpus is no longer what it was created with: {error}; "
            "restore the file, or remove it (the study keeps its words)"
        ) from None


def _holds_as_it_is(spec: StudySpec, study: StoredStudy) -> bool:
    """Whether a file that would be refused today has the study's words on its lines."""
    path, layout = Path(spec.study.corpus), CorpusFormat(separator=AS_IT_IS)
    try:
        found = corpus.read_file(path, layout, dedupe=spec.study.dedupe)
    except CorpusError:
        return False
    found = found.deduplicated() if spec.study.dedupe else found
    return found.fingerprint == study.fingerprint


def corpus_of(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Corpus:
    """The corpus a study was created with: this machine's copy, the storage's, or the user's file.

    Raises:
        CorpusError: there is neither, nor is there such a file.
        Drift: there is only the file, and it has changed.
    """
    kept = corpora.load_cached(storage, study.fingerprint, data_dir)
    try:
        found = Corpus(study.corpus_name, (kept or load_corpus(study.spec, data_dir)).words)
    except CorpusMissing as missing:
        raise CorpusMissing(
            f"study {study.name}: its words are neither in the storage nor in "
            f"{data_dir.corpus(study.fingerprint).parent}, and {missing}; put the file there"
        ) from None
    if found.fingerprint != study.fingerprint:
        raise Drift(
            f"study {study.name}: its corpus {study.corpus_name} has changed (fingerprint "
            f"{found.fingerprint[:12]}…, the study's is {study.fingerprint[:12]}…); "
            "restore the file, or give the study another name"
        )
    return found


def ensure_open(study: StoredStudy) -> None:
    """Raises StudyClosed once the study's test split has been opened."""
    if study.closed:
        raise StudyClosed(
            f"study {study.name}: its test split has been opened, which closed it to further "
            "trials; give the study another name to search on"
        )


def ensure_not_moved(study: StoredStudy) -> None:
    """Raises Refused for what `move-storage` left behind: it would be continued in two places."""
    if study.moved_to is not None:
        raise Refused(
            f"study {study.name}: was moved to {study.moved_to}; go on there, with --storage"
        )


def ensure_not_lost(study: StoredStudy) -> None:
    """Raises Refused once another program has deleted Optuna's part of the study."""
    if study.lost:
        raise Refused(
            f"study {study.name}: another program deleted its trials from Optuna's tables; "
            f"`{verb_and_arguments('delete', study.name)} --yes` removes the rest, and then it can "
            "begin anew"
        )


@retry_storage
def find(storage: Storage, name: str) -> StoredStudy | None:
    """The stored study of this name."""
    with storage.read() as connection:
        row = connection.execute(_studies().where(tables.studies.c.name == name)).first()
    return None if row is None else _stored(row)


@retry_storage
def by_uid(storage: Storage, uid: str) -> StoredStudy:
    """The stored study of this uid.

    Raises:
        NotFound: it has been deleted.
    """
    with storage.read() as connection:
        row = connection.execute(_studies().where(tables.studies.c.uid == uid)).first()
    if row is None:
        raise NotFound("the study has been deleted")
    return _stored(row)


@retry_storage
def all_studies(storage: Storage) -> list[StoredStudy]:
    """Every study of the storage, the oldest first."""
    with storage.read() as connection:
        rows = connection.execute(_studies().order_by(tables.studies.c.created_at))
        return [_stored(row) for row in rows]


def resolve(storage: Storage, argument: str) -> StoredStudy:
    """A STUDY argument: a study's name in the storage, or the path of its study file."""
    study = find(storage, argument)
    if study is None and Path(argument).suffix == ".toml":
        study = find(storage, read(Path(argument)).study.name)
    if study is None:
        with storage.read() as connection:
            names = connection.execute(select(tables.studies.c.name)).scalars().all()
        known = ", ".join(sorted(names)[:8]) or "none"
        raise NotFound(f"study {argument}: not in storage {storage.told}; it holds: {known}")
    tell_of_other_hands(storage, study)
    return study


def tell_of_other_hands(storage: Storage, study: StoredStudy) -> None:
    """Says what other programs did to a study of ours, if they did anything."""
    if study.lost:
        log.warning(
            "study %s: another program deleted its trials from Optuna's tables; what is told of it "
            "is from makemore-search's own records",
            study.name,
        )
        return
    with storage.read() as connection:
        count = optuna_queries.count_foreign_trials(connection, study.optuna_id, study.uid)
    if count:
        log.warning(
            "study %s: another program added %d of the trials in Optuna's tables; they are left "
            "out",
            study.name,
            count,
        )
    if (renamed := optuna_studies.name(storage, study.optuna_id)) != study.name:
        log.warning(
            "study %s: another program renamed it to %s in Optuna's tables; makemore-search goes "
            "on calling it %s",
            study.name,
            renamed,
            study.name,
        )


def ensure_artifacts_reachable(study: StoredStudy) -> None:
    """Raises BadInput unless this host can use the place of the study's model files."""
    if study.artifacts is not None:
        artifact_stores.validate_location(study.artifacts)


def ensure_writable(study: StoredStudy, data_dir: DataDir) -> None:
    """Raises BadInput unless this host can write the study's model files where it keeps its own."""
    file_errors.ensure_writable(data_dir.checkpoints(study.uid))


def files_of(study: StoredStudy, data_dir: DataDir) -> StudyFiles:
    """The study's model files."""
    return StudyFiles(data_dir.checkpoints(study.uid), study.artifacts)


def load_model(study: StoredStudy, path: Path, sha256: str | None) -> "Model":
    """A checkpoint of a study, its hash checked against the recorded one before it is parsed.

    Args:
        path: its place in the data directory, where it is fetched to if it is not there.

    Raises:
        CheckpointError: it is missing, or not what was recorded.
    """
    from makemore_core.model import checkpoint  # torch, which a launcher does without

    if sha256 is None:
        raise CheckpointError(f"checkpoint {path}: none was kept")
    try:
        return StudyFiles(path.parent, study.artifacts).load(checkpoint.load, path, sha256)[0]
    except CheckpointError:
        if path.exists():
            raise
        where = study.artifacts or "where it was trained: on another host, or in another data dir"
        raise CheckpointError(
            f"study {study.name}: {path.name} is not in {path.parent}; it lies {where}; give "
            "that --data-dir, or have the host that trained it run the study with --artifacts PLACE"
            if study.artifacts is None
            else f"study {study.name}: {path.name} is neither in {path.parent} nor in {where}"
        ) from None


def config_file(study: StoredStudy, config: Mapping[str, Any]) -> str:
    """A configuration as the file that `train` takes."""
    section = study.spec.study
    corpus = {
        "corpus": section.corpus,
        "split_seed": section.split_seed,
        "dedupe": section.dedupe,
        "column": section.column,
        "separator": section.separator,
        "count": section.count,
        "drop_unusable": section.drop_unusable or None,
    }
    return toml_writer.document({"config": {**corpus, **config}}).rstrip("\n")


@retry_storage
def request_stop(storage: Storage, study: StoredStudy) -> None:
    """Asks every worker of the study to end as on Ctrl-C; `run` and `submit` lift it again."""
    with storage.write() as connection:
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid)
            .values(stop_requested_at=storage.now())
        )


def has_workers(storage: Storage, study: StoredStudy) -> bool:
    """Whether anybody is at work on the study: seen lately, and not known to be dead."""
    workers = tables.workers
    with storage.read() as connection:
        rows = connection.execute(
            select(workers.c.host, workers.c.pid).where(
                workers.c.study_uid == study.uid,
                workers.c.ended_at.is_(None),
                storage.lately(workers.c.seen_at),
            )
        ).all()
    return any(not is_dead(row.host, row.pid) for row in rows)


@retry_storage
def mark_moved(storage: Storage, study: StoredStudy, target: str) -> None:
    """Notes that a study goes on in another storage; from now on it is only to be looked at."""
    with storage.write() as connection:
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid)
            .values(moved_to=target, stop_requested_at=storage.now())
        )


def delete_study(storage: Storage, study: StoredStudy, data_dir: DataDir) -> None:
    """Removes a study with its trials and checkpoints; the record of its test opening stays.

    The checkpoints of one that was moved are those of the study that goes on elsewhere: they stay.
    """
    if has_workers(storage, study):
        raise BadInput(
            f"study {study.name}: workers are running; "
            f"`{verb_and_arguments('stop', study.name)}` first"
        )
    with contextlib.suppress(KeyError):  # another program deleted it already
        storage.optuna.delete_study(study.optuna_id)
    with storage.write() as connection:
        for child in CHILD_TABLES:
            connection.execute(delete(child).where(child.c.study_uid == study.uid))
        connection.execute(delete(tables.studies).where(tables.studies.c.uid == study.uid))
        corpora.delete_if_unreferenced(connection, study.fingerprint)
    if study.moved_to is None:
        files_of(study, data_dir).clear()


def _studies() -> Select[Any]:
    """Our studies, each with the number that Optuna's has now."""
    return select(tables.studies, optuna_studies.bound_id().label("bound_id"))


def _stored(row: Any) -> StoredStudy:
    return StoredStudy(
        uid=row.uid,
        name=row.name,
        optuna_id=row.bound_id,
        spec=from_document(row.document, f"study {row.name}"),
        fingerprint=row.fingerprint,
        corpus_name=row.corpus_name,
        artifacts=row.artifacts,
        closed=row.closed_at is not None,
        stopped=row.stop_requested_at is not None,
        moved_to=row.moved_to,
    )
