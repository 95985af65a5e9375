"""Stores the words of each corpus once, so that a worker needs nothing but the database."""

import contextlib
import logging

from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import IntegrityError

from makemore_core.data import corpus as corpora
from makemore_core.data.corpus import Corpus
from makemore_core.errors import CorpusError
from search.paths import DataDir
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage

log = logging.getLogger(__name__)

MAX_BYTES = 64_000_000
"""Size in UTF-8 up to which words are stored; every host needs the file of a larger corpus."""


def insert_if_missing(connection: Connection, corpus: Corpus) -> None:
    """Stores a corpus unless it is there, in the transaction that adds a study of it."""
    words = "\n".join(corpus.words)
    if len(words.encode()) > MAX_BYTES:
        log.warning(
            "corpus %s: has more than %d MB, so it is not stored with the study; a worker on "
            "another host needs the file",
            corpus.name,
            MAX_BYTES // 10**6,
        )
        return
    c = tables.corpora
    stored = select(c.c.fingerprint).where(c.c.fingerprint == corpus.fingerprint)
    if connection.execute(stored.with_for_update()).first() is None:
        # IntegrityError: another study with the same words is being created in the same moment
        with contextlib.suppress(IntegrityError), connection.begin_nested():
            connection.execute(c.insert().values(fingerprint=corpus.fingerprint, words=words))


def delete_if_unreferenced(connection: Connection, fingerprint: str) -> None:
    """Removes a corpus that no study refers to any more, unless it was uploaded to be kept."""
    c = tables.corpora
    is_it = c.c.fingerprint == fingerprint
    # The lock comes first: a study that is being created with these words may hold it.
    connection.execute(select(c.c.fingerprint).where(is_it).with_for_update())
    by_study = select(tables.studies.c.fingerprint)
    by_upload = select(tables.uploads.c.fingerprint)
    connection.execute(
        delete(c).where(is_it, c.c.fingerprint.not_in(by_study), c.c.fingerprint.not_in(by_upload))
    )


def load_cached(storage: Storage, fingerprint: str, data_dir: DataDir) -> Corpus | None:
    """Reads a corpus from the data directory, or from the storage, which is then copied there."""
    path = data_dir.corpus(fingerprint)
    if path.is_file():
        with contextlib.suppress(CorpusError):  # damaged: there may be another
            saved = corpora.read_saved(path)
            if saved.fingerprint == fingerprint:
                return saved
    stored = _stored(storage, fingerprint)
    if stored is None or stored.fingerprint != fingerprint:
        return None
    with contextlib.suppress(OSError):  # without a copy it is fetched again
        corpora.save(stored, path)
    return stored


@retry_storage
def _stored(storage: Storage, fingerprint: str) -> Corpus | None:
    c = tables.corpora
    with storage.read() as connection:
        words = connection.execute(select(c.c.words).where(c.c.fingerprint == fingerprint)).scalar()
    return None if words is None else Corpus(fingerprint, tuple(words.split("\n")))
