"""The corpora of the studies, stored once each, so that a worker needs nothing but the database."""

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
"""Of words in UTF-8; what is larger stays a file, which every host then needs for itself."""


def insert_if_missing(connection: Connection, corpus: Corpus) -> None:
    """Stores a corpus, unless it is there; as part of a transaction that names it."""
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
    same = select(c.c.fingerprint).where(c.c.fingerprint == corpus.fingerprint)
    if connection.execute(same.with_for_update()).first() is None:
        # IntegrityError: another study with the same words is being created in the same moment
        with contextlib.suppress(IntegrityError), connection.begin_nested():
            connection.execute(c.insert().values(fingerprint=corpus.fingerprint, words=words))


def delete_if_unreferenced(connection: Connection, fingerprint: str) -> None:
    """Removes a corpus that no study names any more."""
    c = tables.corpora
    same = c.c.fingerprint == fingerprint
    # First the lock, which a study that is being created with these words may hold.
    connection.execute(select(c.c.fingerprint).where(same).with_for_update())
    named = select(tables.studies.c.fingerprint)
    connection.execute(delete(c).where(same, c.c.fingerprint.not_in(named)))


def load_cached(storage: Storage, fingerprint: str, data_dir: DataDir) -> Corpus | None:
    """This machine's copy of a corpus, else the storage's, of which a copy is then kept here."""
    path = data_dir.corpus(fingerprint)
    if path.is_file():
        with contextlib.suppress(CorpusError):  # damaged: there may be another
            found = corpora.read_saved(path)
            if found.fingerprint == fingerprint:
                return found
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
