"""Studies as the storage holds them: finds, stops and deletes them; loads words and models."""

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
from search.errors import BadInput, Drift, NotFound, Refused, StudyClosed
from search.formatting import verb_and_arguments
from search.paths import DataDir
from search.retry import retry_storage
from search.spec import toml_writer
from search.spec.study_file import read
from search.spec.study_spec import StudySpec, from_document
from search.storage import artifact_stores, optuna_queries, optuna_studies, tables
from search.storage.database import Storage
from search.storage.study_files import StudyFiles
from search.study import corpora
from search.system import file_errors
from search.system.processes import is_dead

if TYPE_CHECKING:
    from makemore_core.model.network import Model

log = logging.getLogger(__name__)

CHILD_TABLES = (
    tables.slots,
    tables.attempts,
    tables.confirmations,
    tables.ensembles,
    tables.jobs,
    tables.workers,
)
"""The tables whose rows are deleted with their study."""


@dataclass(frozen=True)
class StoredStudy:
    """A study as the storage holds it."""

    uid: str
    name: str
    optuna_id: int
    spec: StudySpec
    fingerprint: str
    corpus_name: str
    artifacts: str | None  # the shared place of its model files; None: each host's data directory
    closed: bool
    stopped: bool
    moved_to: str | None  # the storage that it was moved to

    @property
    def lost(self) -> bool:
        """Whether another program deleted it from Optuna's tables."""
        return self.optuna_id == optuna_studies.MISSING

    @property
    def open(self) -> bool:
        """Whether workers may work on it."""
        return not (self.closed or self.stopped)


def load_corpus(spec: StudySpec, data_dir: DataDir) -> Corpus:
    """Loads the corpus that a study file names."""
    section = spec.study
    return corpus.load(section.corpus, data_dir.root, section.layout, dedupe=section.dedupe)


def present_corpus(
    storage: Storage, study: StoredStudy, spec: StudySpec, data_dir: DataDir
) -> Corpus:
    """Loads the corpus that a study file names now, or the stored words where it has no file.

    A built-in corpus is not loaded again: what a package or a download contains now does not
    concern a study that exists.

    Raises:
        CorpusError: there is neither a file nor stored words.
        Drift: the file is no corpus any more.
    """
    cached = corpora.load_cached(storage, study.fingerprint, data_dir)
    if cached is None:
        return load_corpus(spec, data_dir)
    cached = Corpus(study.corpus_name, cached.words)
    now, stored = spec.study, study.spec.study
    same_name = Path(now.corpus).name == Path(stored.corpus).name
    if same_name and now.corpus in corpus.BUILT_IN and now.dedupe == stored.dedupe:
        return cached
    layout = stored.layout if same_name and now.layout == corpus.PLAIN else now.layout
    try:
        return corpus.load(now.corpus, data_dir.root, layout, dedupe=now.dedupe)
    except CorpusMissing as missing:
        if not same_name:
            raise
        return replace(cached, notes=(f"{missing}; the study's stored words are used",))
    except CorpusError as error:
        if _holds_as_it_is(spec, study):
            return cached
        raise Drift(
            f"study {study.name}: its corpus is no longer what it was created with: {error}; "
            "restore the file, or remove it (the storage holds the study's words)"
        ) from None


def _holds_as_it_is(spec: StudySpec, study: StoredStudy) -> bool:
    """Whether a file that is refused today has the study's words, one on each line."""
    path, layout = Path(spec.study.corpus), CorpusFormat(separator=AS_IT_IS)
    try:
        words = corpus.read_file(path, layout, dedupe=spec.study.dedupe)
    except CorpusError:
        return False
    words = words.deduplicated() if spec.study.dedupe else words
    return words.fingerprint == study.fingerprint


def corpus_of(storage: Storage, study: StoredStudy, data_dir: DataDir) -> Corpus:
    """Loads the words of a study: cached here, from the storage, or from the user's file.

    Raises:
        CorpusMissing: they are in none of the three.
        Drift: they are only in the file, which has changed.
    """
    cached = corpora.load_cached(storage, study.fingerprint, data_dir)
    try:
        words = Corpus(study.corpus_name, (cached or load_corpus(study.spec, data_dir)).words)
    except CorpusMissing as missing:
        raise CorpusMissing(
            f"study {study.name}: its words are neither in the storage nor in "
            f"{data_dir.corpus(study.fingerprint).parent}, and {missing}; put the file there"
        ) from None
    if words.fingerprint != study.fingerprint:
        raise Drift(
            f"study {study.name}: its corpus {study.corpus_name} has changed (fingerprint "
            f"{words.fingerprint[:12]}…, the study's is {study.fingerprint[:12]}…); "
            "restore the file, or give the study another name"
        )
    return words


def ensure_open(study: StoredStudy) -> None:
    """Raises StudyClosed if the study's test split has been opened."""
    if study.closed:
        raise StudyClosed(
            f"study {study.name}: its test split has been opened, which closed it to further "
            "trials; give the study another name to search on"
        )


def ensure_not_moved(study: StoredStudy) -> None:
    """Raises Refused if the study was moved, since it would be resumed in two storages."""
    if study.moved_to is not None:
        raise Refused(
            f"study {study.name}: was moved to {study.moved_to}; use it there, with --storage"
        )


def ensure_not_lost(study: StoredStudy) -> None:
    """Raises Refused if another program deleted the study from Optuna's tables."""
    if study.lost:
        raise Refused(
            f"study {study.name}: another program deleted its trials from Optuna's tables; "
            f"`{verb_and_arguments('delete', study.name)} --yes` removes the rest, after which it "
            "can be created again"
        )


@retry_storage
def find(storage: Storage, name: str) -> StoredStudy | None:
    """Returns the stored study of this name, if there is one."""
    with storage.read() as connection:
        row = connection.execute(_studies().where(tables.studies.c.name == name)).first()
    return None if row is None else _stored(row)


@retry_storage
def by_uid(storage: Storage, uid: str) -> StoredStudy:
    """Returns the stored study of this uid.

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
    """Returns every study of the storage, the oldest first."""
    with storage.read() as connection:
        rows = connection.execute(_studies().order_by(tables.studies.c.created_at))
        return [_stored(row) for row in rows]


def resolve(storage: Storage, argument: str) -> StoredStudy:
    """Resolves a STUDY argument: a study's name in the storage, or the path of its study file.

    Raises:
        NotFound: the storage has no such study.
    """
    study = find(storage, argument)
    if study is None and Path(argument).suffix == ".toml":
        study = find(storage, read(Path(argument)).study.name)
    if study is None:
        with storage.read() as connection:
            names = connection.execute(select(tables.studies.c.name)).scalars().all()
        listed = ", ".join(sorted(names)[:8]) or "none"
        raise NotFound(
            f"study {argument}: not in storage {storage.redacted_url}; it holds: {listed}"
        )
    warn_of_other_programs(storage, study)
    return study


def warn_of_other_programs(storage: Storage, study: StoredStudy) -> None:
    """Logs a warning if another program deleted, renamed or added to a study in Optuna's tables."""
    if study.lost:
        log.warning(
            "study %s: another program deleted its trials from Optuna's tables; what is shown is "
            "from makemore-search's own records",
            study.name,
        )
        return
    with storage.read() as connection:
        count = optuna_queries.count_foreign_trials(connection, study.optuna_id, study.uid)
    if count:
        log.warning(
            "study %s: another program added %d of the trials in Optuna's tables; they are ignored",
            study.name,
            count,
        )
    if (renamed := optuna_studies.name(storage, study.optuna_id)) != study.name:
        log.warning(
            "study %s: another program renamed it to %s in Optuna's tables; makemore-search still "
            "calls it %s",
            study.name,
            renamed,
            study.name,
        )


def ensure_artifacts_reachable(study: StoredStudy) -> None:
    """Raises BadInput if this host cannot reach the shared place of the study's model files."""
    if study.artifacts is not None:
        artifact_stores.validate_location(study.artifacts)


def ensure_writable(study: StoredStudy, data_dir: DataDir) -> None:
    """Raises BadInput if the study's model files cannot be written to the data directory."""
    file_errors.ensure_writable(data_dir.checkpoints(study.uid))


def files_of(study: StoredStudy, data_dir: DataDir) -> StudyFiles:
    """Returns the study's model files."""
    return StudyFiles(data_dir.checkpoints(study.uid), study.artifacts)


def load_model(study: StoredStudy, path: Path, sha256: str | None) -> "Model":
    """Loads a checkpoint, whose hash is compared with the recorded one before it is parsed.

    Args:
        path: its place in the data directory, to which it is downloaded if it is missing.

    Raises:
        CheckpointError: it is missing, or its hash is another one.
    """
    from makemore_core.model import checkpoint  # torch, which a launcher does without

    if sha256 is None:
        raise CheckpointError(f"checkpoint {path}: none was saved")
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
    """Writes a configuration as a file for `train`."""
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
    """Asks every worker of the study to end as on Ctrl-C; `run` and `submit` withdraw that."""
    with storage.write() as connection:
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid)
            .values(stop_requested_at=storage.now())
        )


def has_workers(storage: Storage, study: StoredStudy) -> bool:
    """Whether the study has workers that renewed their lease and are not known to be dead."""
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


def has_running_job(storage: Storage, study: StoredStudy) -> bool:
    """Whether a process of a service works at a job of the study, such as a confirmation."""
    j = tables.jobs
    is_running = (j.c.study_uid == study.uid) & (j.c.state == "running")
    query = select(j.c.host, j.c.pid).where(is_running, storage.lately(j.c.seen_at))
    with storage.read() as connection:
        rows = connection.execute(query).all()
    return any(not is_dead(row.host, row.pid) for row in rows)


@retry_storage
def mark_moved(storage: Storage, study: StoredStudy, target: str) -> None:
    """Marks a study as moved to another storage, which makes it read-only in this one."""
    with storage.write() as connection:
        connection.execute(
            update(tables.studies)
            .where(tables.studies.c.uid == study.uid)
            .values(moved_to=target, stop_requested_at=storage.now())
        )


def delete_study(storage: Storage, study: StoredStudy, data_dir: DataDir) -> None:
    """Removes a study with its trials and checkpoints, but not the record of its test opening.

    The checkpoints of a moved study belong to the study in the other storage, so they stay.

    Raises:
        BadInput: workers are running.
    """
    if has_workers(storage, study):
        raise BadInput(
            f"study {study.name}: workers are running; "
            f"run `{verb_and_arguments('stop', study.name)}` first"
        )
    with contextlib.suppress(KeyError):  # another program deleted it already
        storage.optuna.delete_study(study.optuna_id)
    with storage.write() as connection:
        for child in CHILD_TABLES:
            connection.execute(delete(child).where(child.c.study_uid == study.uid))
        connection.execute(delete(tables.studies).where(tables.studies.c.uid == study.uid))
        corpora.delete_if_unreferenced(connection, study.fingerprint)
    if study.moved_to is None:
        files_of(study, data_dir).delete_all()


def _studies() -> Select[Any]:
    """Selects our studies, each with the id of Optuna's study that it is bound to now."""
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
