"""The leases of workers: registered, renewed, ended, expired."""

import contextlib
import functools
import os
import secrets
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from search.errors import TrialLost
from search.retry import retry_storage
from search.storage import tables
from search.storage.clock import now
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.system.processes import HOST, Launch
from search.trials import outbox, working_time
from search.trials.attempts import EXPIRED, INTERRUPTED, KILLED


class NoClaim(Enum):
    """Why a worker cannot claim a slot."""

    WAIT = "other workers hold the last slots"
    BUDGET_MET = "the budget is met"
    STOPPED = "a stop was requested"
    EVICTED = "this worker's lease expired"
    CLOSED = "the test split has been opened"
    DELETED = "the study has been deleted"


def renew_lease(connection: Connection, study_uid: str, worker_id: str) -> NoClaim | None:
    """Locks the study's row and renews a worker's lease; returns why it must leave, or None.

    The time that the worker has worked is added to the study's.
    """
    row = connection.execute(_locked_study(), {"study": study_uid}).first()
    if row is None:
        return NoClaim.DELETED
    if row.closed_at is not None:
        return NoClaim.CLOSED
    if row.stop_requested_at is not None:
        return NoClaim.STOPPED
    renewed = connection.execute(_renewal(), {"worker": worker_id})
    if not renewed.rowcount:
        return NoClaim.EVICTED
    working_time.add(connection, study_uid, worker_id)
    return None


@functools.cache
def _locked_study() -> Select[Any]:
    studies = tables.studies
    columns = studies.c.stop_requested_at, studies.c.closed_at
    return select(*columns).where(studies.c.uid == bindparam("study")).with_for_update()


@functools.cache
def _renewal() -> Update:
    workers = tables.workers
    is_alive = (workers.c.id == bindparam("worker")) & workers.c.ended_at.is_(None)
    return update(workers).where(is_alive).values(seen_at=now())


def register_worker(
    storage: Storage, study: StoredStudy, launch: Launch | None = None, log: str | None = None
) -> str:
    """Registers this process as a worker of a study; its lease begins.

    Args:
        log: the path of its log.
    """
    worker_id = secrets.token_hex(16)
    _register(storage, study, worker_id, launch, None if log is None else Path(log).name)
    return worker_id


@retry_storage
def _register(
    storage: Storage, study: StoredStudy, worker_id: str, launch: Launch | None, log: str | None
) -> None:
    # IntegrityError: inserted already, by a try whose answer was lost
    with contextlib.suppress(IntegrityError), storage.write() as connection:
        working_time.begin(connection, study.uid, worker_id)
        connection.execute(
            tables.workers.insert().values(
                id=worker_id,
                study_uid=study.uid,
                host=HOST,
                pid=os.getpid(),
                started_at=now(),
                seen_at=now(),
                launch_id=launch.id if launch else None,
                launcher_host=launch.host if launch else None,
                launcher_pid=launch.pid if launch else None,
                log=log,
            )
        )


@retry_storage
def heartbeat(storage: Storage, study: StoredStudy, worker_id: str) -> None:
    """Renews a worker's lease.

    Raises:
        TrialLost: it has expired, and another worker may have claimed the slot; or the study was
            stopped, closed or deleted.
    """
    with storage.write() as connection:
        refusal = renew_lease(connection, study.uid, worker_id)
    working_time.committed(worker_id)
    if refusal is NoClaim.EVICTED:
        raise TrialLost(KILLED)
    if refusal is not None:
        raise TrialLost(INTERRUPTED)


@retry_storage
def end_worker(storage: Storage, worker_id: str, cause: str | None = None) -> None:
    """Ends a worker, with the cause if it is gone; the attempt that it holds is lost."""
    workers = tables.workers
    is_at_work = (workers.c.id == worker_id) & workers.c.ended_at.is_(None)
    with storage.write() as connection:
        study_uid = connection.execute(select(workers.c.study_uid).where(is_at_work)).scalar()
        if study_uid is not None:
            working_time.add(connection, study_uid, worker_id)
        connection.execute(
            update(workers)
            .where(workers.c.id == worker_id, workers.c.end_cause.is_(None))
            .values(ended_at=_ended_by_now(), end_cause=cause)
        )
        if study_uid is not None:
            outbox.record_progress(connection, study_uid)  # its timeout may be over
    working_time.end(worker_id)


@retry_storage
def end_launched(storage: Storage, launch_ids: Sequence[str], cause: str) -> None:
    """Ends the workers of a launcher's processes that have exited without ending them.

    Workers that such a process had ended before are left as they are.
    """
    workers, slots = tables.workers, tables.slots
    holders = select(slots.c.worker_id).where(slots.c.state == "claimed")
    with storage.write() as connection:
        connection.execute(
            update(workers)
            .where(
                workers.c.launch_id.in_(launch_ids),
                workers.c.end_cause.is_(None),
                or_(workers.c.ended_at.is_(None), workers.c.id.in_(holders)),
            )
            .values(ended_at=_ended_by_now(), end_cause=cause)
        )


def _ended_by_now() -> ColumnElement[float]:
    return func.coalesce(tables.workers.c.ended_at, now())


@retry_storage
def expired_workers(storage: Storage, launch_ids: Sequence[str]) -> dict[str, str]:
    """The workers of these launches whose lease has expired: launch ids by worker id."""
    workers = tables.workers
    with storage.read() as connection:
        rows = connection.execute(
            select(workers.c.id, workers.c.launch_id).where(
                workers.c.launch_id.in_(launch_ids), workers.c.end_cause == EXPIRED
            )
        )
        return {row.id: row.launch_id for row in rows}


@retry_storage
def studies_of(storage: Storage, launch_ids: Sequence[str]) -> list[str]:
    """The uids of the studies that these launches' workers were at when they were ended."""
    workers = tables.workers
    query = select(workers.c.study_uid).where(
        workers.c.launch_id.in_(launch_ids), workers.c.end_cause.is_not(None)
    )
    with storage.read() as connection:
        return list(connection.execute(query.distinct()).scalars())
