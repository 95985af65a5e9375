"""Corpora that were uploaded: named by their fingerprint, kept until they are deleted."""

import re
from dataclasses import dataclass

from sqlalchemy import Row, delete, select

from makemore_core.data import corpus as core_corpus
from makemore_core.data.corpus import BUILT_IN, Corpus
from makemore_core.errors import CorpusError
from search.errors import NotFound
from search.formatting import iso_time
from search.paths import DataDir
from search.retry import retry_storage
from search.service import limits
from search.service.scopes import Caller
from search.storage import tables
from search.storage.database import Storage
from search.study import corpora
from search.trials import changes

FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Upload:
    """An uploaded corpus."""

    fingerprint: str
    name: str
    bytes: int
    token: str
    uploaded_at: str


@retry_storage
def all_uploads(storage: Storage) -> list[Upload]:
    """Every uploaded corpus, the oldest first."""
    with storage.read() as connection:
        rows = connection.execute(select(tables.uploads).order_by(tables.uploads.c.uploaded_at))
        return [_upload(row) for row in rows]


@retry_storage
def find(storage: Storage, fingerprint: str) -> Upload | None:
    """The uploaded corpus of this fingerprint, if there is one."""
    query = select(tables.uploads).where(tables.uploads.c.fingerprint == fingerprint)
    with storage.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _upload(row)


@retry_storage
def add(storage: Storage, words: Corpus, caller: Caller) -> tuple[Upload, bool]:
    """Keeps a corpus; returns it, and whether it is new.

    Raises:
        CorpusError: it is too large to be stored.
        Problem: 403, the token's limit would be exceeded.
    """
    u = tables.uploads
    size = len("\n".join(words.words).encode())
    if size > corpora.MAX_BYTES:
        raise CorpusError(
            f"corpus {words.name}: its words have more than {corpora.MAX_BYTES // 10**6} MB, as "
            "often as they occur; leave the counts out, or take a part of it"
        )
    with storage.write() as connection:
        known = connection.execute(select(u).where(u.c.fingerprint == words.fingerprint)).first()
        if known is not None:
            return _upload(known), False
        limits.check_upload(connection, caller, size)
        corpora.insert_if_missing(connection, words)
        connection.execute(
            u.insert().values(
                fingerprint=words.fingerprint,
                name=words.name,
                size=size,
                token_id=caller.token_id,
                token_name=caller.name,
                uploaded_at=storage.now(),
            )
        )
        details = {"fingerprint": words.fingerprint, "name": words.name, "bytes": size}
        changes.insert(storage, connection, caller.author, "upload", None, None, **details)
    added = find(storage, words.fingerprint)
    assert added is not None
    return added, True


def remove(storage: Storage, fingerprint: str, caller: Caller) -> None:
    """Deletes an uploaded corpus; studies of it keep their words.

    Raises:
        NotFound: there is none.
    """
    if find(storage, fingerprint) is None:
        raise no_such_corpus(fingerprint)
    with storage.write() as connection:
        details = {"fingerprint": fingerprint}
        changes.insert(storage, connection, caller.author, "delete corpus", None, None, **details)
        u = tables.uploads
        connection.execute(delete(u).where(u.c.fingerprint == fingerprint))
        corpora.delete_if_unreferenced(connection, fingerprint)


def load(storage: Storage, name: str, data_dir: DataDir) -> Corpus:
    """A built-in corpus by its name, or an uploaded one by its fingerprint; never a file.

    Raises:
        NotFound: it is neither.
        CorpusError: a built-in one cannot be loaded.
    """
    if name in BUILT_IN:
        return core_corpus.load(name, data_dir.root)
    upload = find(storage, name) if FINGERPRINT.fullmatch(name) else None
    words = None if upload is None else corpora.load_cached(storage, name, data_dir)
    if upload is None or words is None:
        raise no_such_corpus(name)
    return Corpus(upload.name, words.words)


def no_such_corpus(name: str) -> NotFound:
    """The error for a name that is neither built in nor uploaded, whatever else it may be."""
    return NotFound(f"corpus {name[:80]}: {NEITHER}")


NEITHER = (
    f"neither a built-in corpus ({', '.join(BUILT_IN)}) nor the fingerprint of an uploaded one"
)


def _upload(row: Row[tuple[object, ...]]) -> Upload:
    values = row._mapping
    return Upload(
        fingerprint=values["fingerprint"],
        name=values["name"],
        bytes=values["size"],
        token=values["token_name"],
        uploaded_at=iso_time(values["uploaded_at"]),
    )
