"""The status of every study, read once for all who ask.

However many clients poll, the storage is asked at most once a second, and a study is read again
only when something of it changed; so a writer does not wait longer for many readers than for one.
When the storage is asked, and who waits for it, is up to `SharedAnswers`.
"""

import json
import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, and_, case, func, select, type_coerce

from search.errors import NotFound
from search.evaluation.documents import status_document
from search.finite import finite
from search.formatting import iso_time
from search.retry import retry_storage
from search.service.shared_answers import SharedAnswers
from search.storage import tables
from search.storage.database import Storage
from search.study import study
from search.trials.services import is_served

MAX_AGE = 15.0
"""Seconds after which a status is read again, whether or not something seems to have changed."""
ONLY_ALONE = ("jobs", "changes", "corpus")
"""Keys of a study's own document that the list of all leaves out."""


@dataclass(frozen=True)
class Entry:
    """A study's status as it was read."""

    uid: str
    name: str
    state: str
    is_at_rest: bool
    """Whether nobody works on it, or is to."""
    body: bytes
    """Its document as JSON."""
    in_list: bytes
    """The document in the list of all studies."""


@dataclass(frozen=True)
class _Read:
    entry: Entry
    key: Hashable
    at: float


class Watch:
    """The statuses of all studies of a storage."""

    def __init__(self, storage: Storage, answers: SharedAnswers) -> None:
        self._storage, self._answers = storage, answers
        self._lock = threading.Lock()
        self._reads: dict[str, _Read] = {}

    def entries(self) -> list[Entry]:
        """Every study, the oldest first."""
        return self._answers.get("statuses", self._read_again)

    def entry(self, name: str) -> Entry:
        """One study.

        Raises:
            NotFound: there is none of this name.
        """
        for entry in self.entries():
            if entry.name == name:
                return entry
        raise no_such_study(name)

    def forget(self, uid: str | None = None) -> None:
        """Has every answer be made again, with one study read whatever its state; to be called
        after a change."""
        with self._lock:
            self._reads = {each: read for each, read in self._reads.items() if each != uid}
        self._answers.clear()

    def _read_again(self) -> list[Entry]:
        known, found = self._reads, dict[str, _Read]()
        now = time.monotonic()
        for uid, (key, created_at) in _keys(self._storage).items():
            read = known.get(uid)
            if read is not None and read.key == key and now - read.at < MAX_AGE:
                found[uid] = read
                continue
            try:
                found[uid] = _Read(_entry(self._storage, uid, created_at), key, now)
            except NotFound:  # deleted meanwhile
                continue
        with self._lock:
            if self._reads is known:  # else something was forgotten meanwhile
                self._reads = found
        return [read.entry for read in found.values()]


def no_such_study(name: str) -> NotFound:
    """The error for a name of no study."""
    return NotFound(f"study {name}: there is none of this name")


@retry_storage
def _keys(storage: Storage) -> dict[str, tuple[Hashable, float]]:
    """What changes whenever a study's status does, by its uid; and when the study was created.

    Workers renew their leases every two seconds, which changes it as long as one is at work.
    """
    s, w, j = tables.studies, tables.workers, tables.jobs
    flags = (s.c.stop_requested_at, s.c.closed_at, s.c.moved_to, s.c.worked_seconds, s.c.optuna_id)
    alive = and_(w.c.ended_at.is_(None), storage.lately(w.c.seen_at))
    queries = [
        select(s.c.uid, type_coerce(s.c.document, Text), *flags, s.c.created_at).order_by(
            s.c.created_at, s.c.uid
        ),
        select(w.c.study_uid, func.count(), func.count(w.c.ended_at), func.count(case((alive, 1)))),
        select(j.c.study_uid, func.count(), func.max(j.c.seen_at), func.count(j.c.ended_at)),
        *(
            select(child.c.study_uid, func.count())
            for child in (tables.confirmations, tables.ensembles, tables.changes)
        ),
        select(tables.openings.c.study_uid, func.count(tables.openings.c.evaluated_at)),
    ]
    with storage.read() as connection:
        served = is_served(storage, connection)
        first, *others = [
            connection.execute(query.group_by(query.selected_columns[0]) if number else query).all()
            for number, query in enumerate(queries)
        ]
    keys: dict[str, list[Hashable]] = {row.uid: [served, *row] for row in first}
    for rows in others:
        for uid, *values in rows:
            if uid in keys:
                keys[uid].extend(values)
    return {row.uid: (tuple(keys[row.uid]), row.created_at) for row in first}


def _entry(storage: Storage, uid: str, created_at: float) -> Entry:
    """Reads a study's status."""
    stored = study.by_uid(storage, uid)
    document = status_document(storage, stored)
    document["created_at"] = iso_time(created_at)
    document["corpus"] = {"name": stored.corpus_name, "fingerprint": stored.fingerprint}
    active = any(job["state"] in ("waiting", "running") for job in document["jobs"])
    is_at_rest = not document["workers"] and not active and document["ended_by"] is not None
    listed = {key: value for key, value in document.items() if key not in ONLY_ALONE}
    return Entry(
        uid, stored.name, document["state"], is_at_rest, _encoded(document), _encoded(listed)
    )


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(finite(dict(document)), allow_nan=False, separators=(",", ":")).encode()
