"""Jobs: long work on a study that was asked for over HTTP, and is done by a process of a service.

A job is claimed by one process at a time, which renews its claim while it works. If that process
ends before the job does, another one takes it up; what the first one stored is not done again.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, select, update
from sqlalchemy.sql import ColumnElement

from search.errors import Refused
from search.formatting import iso_time
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.system.processes import HOST, is_dead

ACTIVE = ("waiting", "running")
MAX_TRIES = 3
"""How often a job is taken up whose process died."""
MAX_SHOWN = 20


@dataclass(frozen=True)
class JobView:
    """A job as it is shown."""

    id: str
    kind: str
    state: str  # waiting, running, done, failed
    arguments: Mapping[str, Any]
    token: str
    estimated_seconds: float | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    progress: Mapping[str, Any] | None
    error: str | None
    result: Mapping[str, Any] | None


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this process works on."""

    id: str
    claim: str
    study_uid: str
    kind: str
    arguments: Mapping[str, Any]


@retry_storage
def request(
    storage: Storage,
    study: StoredStudy,
    kind: str,
    arguments: Mapping[str, Any],
    token: str,
    estimated_seconds: float,
    on_added: Callable[[Connection], object] = lambda _: None,
) -> JobView:
    """Adds a job, unless the same one is waiting or running; returns it.

    Args:
        on_added: called in the transaction that adds it.

    Raises:
        Refused: one with other arguments is waiting or running.
    """
    j, s = tables.jobs, tables.studies
    with storage.write() as connection:
        connection.execute(select(s.c.uid).where(s.c.uid == study.uid).with_for_update())
        active = select(j).where(
            j.c.study_uid == study.uid, j.c.kind == kind, j.c.state.in_(ACTIVE)
        )
        row = connection.execute(active).first()
        if row is None:
            job_id = secrets.token_hex(16)
            connection.execute(
                j.insert().values(
                    id=job_id,
                    study_uid=study.uid,
                    kind=kind,
                    arguments=dict(arguments),
                    token_name=token,
                    state="waiting",
                    estimated_seconds=estimated_seconds,
                    created_at=storage.now(),
                )
            )
            on_added(connection)
            row = connection.execute(select(j).where(j.c.id == job_id)).one()
    if row.arguments != arguments:
        asked = ", ".join(f"{key} = {value}" for key, value in row.arguments.items())
        raise Refused(f"study {study.name}: a {kind} with {asked} is under way; wait for its end")
    return _view(row)


@retry_storage
def of_study(storage: Storage, study: StoredStudy) -> list[JobView]:
    """The last jobs of a study, the latest first."""
    j = tables.jobs
    query = select(j).where(j.c.study_uid == study.uid).order_by(j.c.created_at.desc())
    with storage.read() as connection:
        return [_view(row) for row in connection.execute(query.limit(MAX_SHOWN))]


@retry_storage
def next_id(storage: Storage) -> str | None:
    """The id of the oldest job that nobody works on; None if there is none."""
    j = tables.jobs
    query = (
        select(j.c.id, j.c.state, j.c.host, j.c.pid, storage.lately(j.c.seen_at).label("lately"))
        .where(j.c.state.in_(ACTIVE))
        .order_by(j.c.created_at)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        if row.state == "waiting" or not row.lately or is_dead(row.host, row.pid):
            return str(row.id)
    return None


@retry_storage
def claim(storage: Storage, job_id: str) -> ClaimedJob | None:
    """Claims a job for this process; None if another one works on it, or it was tried too often."""
    j, own = tables.jobs, secrets.token_hex(16)
    with storage.write() as connection:
        row = connection.execute(select(j).where(j.c.id == job_id).with_for_update()).first()
        if row is None or row.state not in ACTIVE or _is_held(storage, connection, row):
            return None
        if row.tries >= MAX_TRIES:
            error = f"{row.kind}: its process died {MAX_TRIES} times"
            _end(storage, connection, j.c.id == job_id, "failed", error=error)
            return None
        connection.execute(
            update(j)
            .where(j.c.id == job_id)
            .values(
                state="running",
                worker_id=own,
                host=HOST,
                pid=os.getpid(),
                tries=row.tries + 1,
                started_at=storage.now() if row.started_at is None else row.started_at,
                seen_at=storage.now(),
            )
        )
    return ClaimedJob(job_id, own, row.study_uid, row.kind, row.arguments)


def _is_held(storage: Storage, connection: Connection, row: Any) -> bool:
    if row.state == "waiting":
        return False
    seen = select(storage.lately(tables.jobs.c.seen_at)).where(tables.jobs.c.id == row.id)
    return bool(connection.execute(seen).scalar()) and not is_dead(row.host, row.pid)


@retry_storage
def heartbeat(storage: Storage, job: ClaimedJob, progress: Mapping[str, Any]) -> bool:
    """Renews the claim of a job; False if it is this process' no more, as its study was deleted."""
    with storage.write() as connection:
        renewed = connection.execute(
            update(tables.jobs)
            .where(_is(job))
            .values(seen_at=storage.now(), progress=dict(progress))
        )
    return bool(renewed.rowcount)


@retry_storage
def finish(storage: Storage, job: ClaimedJob, result: Mapping[str, Any]) -> None:
    """Records the result of a job."""
    with storage.write() as connection:
        _end(storage, connection, _is(job), "done", result=dict(result))


@retry_storage
def fail(storage: Storage, job: ClaimedJob, error: str) -> None:
    """Records that a job cannot be done."""
    with storage.write() as connection:
        _end(storage, connection, _is(job), "failed", error=error)


@retry_storage
def release(storage: Storage, job: ClaimedJob) -> None:
    """Gives a job back that this process was told to leave; that counts as no try."""
    j = tables.jobs
    with storage.write() as connection:
        connection.execute(
            update(j).where(_is(job)).values(state="waiting", tries=j.c.tries - 1, worker_id=None)
        )


def _end(
    storage: Storage, connection: Connection, which: ColumnElement[bool], state: str, **values: Any
) -> None:
    connection.execute(
        update(tables.jobs).where(which).values(state=state, ended_at=storage.now(), **values)
    )


def _is(job: ClaimedJob) -> ColumnElement[bool]:
    return and_(tables.jobs.c.id == job.id, tables.jobs.c.worker_id == job.claim)


def _view(row: Any) -> JobView:
    return JobView(
        id=row.id,
        kind=row.kind,
        state=row.state,
        arguments=row.arguments,
        token=row.token_name,
        estimated_seconds=row.estimated_seconds,
        created_at=iso_time(row.created_at),
        started_at=None if row.started_at is None else iso_time(row.started_at),
        ended_at=None if row.ended_at is None else iso_time(row.ended_at),
        progress=row.progress,
        error=row.error,
        result=row.result,
    )
