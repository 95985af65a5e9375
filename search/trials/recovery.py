"""Recovery: ends the attempts of workers that are gone."""

import contextlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import not_, or_, select, update

from search.errors import NotFound, TrialLost
from search.retry import retry_storage
from search.storage import optuna_queries, tables
from search.storage.database import Storage
from search.study.study import StoredStudy, by_uid
from search.system.processes import is_dead
from search.trials.attempts import EXPIRED, KILLED, SHARED, finish_attempt
from search.trials.leases import end_worker


@retry_storage
def recover(storage: Storage, study: StoredStudy) -> int:
    """Ends every attempt of a study whose worker is gone; returns how many there were."""
    lost = _open_attempts_of_lost_workers(storage, study)
    for attempt in lost:
        trial_id, losses = _stored_trial(storage, study, attempt)
        values = {"outcome": "failed", "reason": KILLED, "dev_loss": min(losses, default=None)}
        with contextlib.suppress(TrialLost):  # another process ended it first
            finish_attempt(storage, study, attempt.id, trial_id, {}, **values)
    return len(lost)


def recover_all(storage: Storage) -> None:
    """As `recover`, for every study with a claimed slot."""
    storage.lease_observer.observe(tables.LEASE_SECONDS)
    for uid in _studies_under_way(storage):
        with contextlib.suppress(NotFound):  # deleted meanwhile
            recover(storage, by_uid(storage, uid))


@retry_storage
def _studies_under_way(storage: Storage) -> Sequence[str]:
    slots = tables.slots
    with storage.read() as connection:
        return (
            connection.execute(
                select(slots.c.study_uid).where(slots.c.state == "claimed").distinct()
            )
            .scalars()
            .all()
        )


def _open_attempts_of_lost_workers(storage: Storage, study: StoredStudy) -> list[Any]:
    """The attempts that workers hold which have ended, lost their lease, or are dead on this host.

    Writes of such a worker are refused afterwards.
    """
    attempts, workers, slots = tables.attempts, tables.workers, tables.slots
    with storage.read() as connection:
        rows = connection.execute(
            select(
                attempts,
                workers.c.host,
                workers.c.pid,
                workers.c.launch_id,
                workers.c.launcher_host,
                workers.c.launcher_pid,
                or_(workers.c.id.is_(None), workers.c.end_cause.is_not(None)).label("gone"),
                workers.c.ended_at.is_not(None).label("ended"),
                not_(storage.lately(workers.c.seen_at)).label("expired"),
            )
            .select_from(slots)
            .join(attempts, attempts.c.id == slots.c.attempt_id)
            .join(workers, attempts.c.worker_id == workers.c.id, isouter=True)
            .where(slots.c.study_uid == study.uid, slots.c.state == "claimed")
        ).all()
        now = connection.execute(select(storage.now())).scalar_one()
    observed = storage.lease_observer.observe(tables.LEASE_SECONDS, now)
    return [row for row in rows if row.gone or _is_lost(storage, row, observed)]


def _is_lost(storage: Storage, row: Any, observed: bool) -> bool:
    """Whether a worker is dead or without a lease, and is ended here: not one whose launcher will
    record what ended it."""
    if row.ended or is_dead(row.host, row.pid):
        if _has_launcher(row) and not row.expired:
            return False
        end_worker(storage, row.worker_id, SHARED)
        return True
    return bool(row.expired) and observed and _evict(storage, row.worker_id)


def _has_launcher(row: Any) -> bool:
    """Whether a worker has a launcher that is not known to be dead."""
    return row.launch_id is not None and not is_dead(row.launcher_host, row.launcher_pid)


def _evict(storage: Storage, worker_id: str) -> bool:
    """Ends a worker whose lease has expired, unless no worker may have been able to renew one."""
    workers = tables.workers
    with storage.write() as connection:
        if not storage.lease_observer.observe(tables.LEASE_SECONDS):  # the transaction had to wait
            return False
        ended = connection.execute(
            update(workers)
            .where(
                workers.c.id == worker_id,
                workers.c.ended_at.is_(None),
                not_(storage.lately(workers.c.seen_at)),
            )
            .values(ended_at=storage.now(), end_cause=EXPIRED)
        )
    return bool(ended.rowcount)


@retry_storage
def _stored_trial(
    storage: Storage, study: StoredStudy, attempt: Any
) -> tuple[int | None, Sequence[float]]:
    """Optuna's id of an attempt's trial, if there is one, and the dev losses that it reported."""
    if attempt.trial is None:
        return None, []
    with storage.read() as connection:
        trial_id = optuna_queries.trial_id_of(connection, study.optuna_id, attempt.trial)
        return trial_id, optuna_queries.losses_of(connection, trial_id)
