"""The processes that work on every open study of a storage: `serve`, and `worker` without a study.

Such a process is a worker of a study only while it works on it. It also has a row of its own, with
a heartbeat, so that `submit` and `status` can tell whether a study will be worked on. Nothing else
depends on that row: where it cannot be written, the process works all the same.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from search.storage import tables
from search.storage.database import Storage
from search.system.processes import HOST, is_dead

HEARTBEAT_SECONDS = 10.0


class Service:
    """The row of this process."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._id = secrets.token_hex(16)
        self._last_heartbeat = float("-inf")

    def heartbeat(self) -> None:
        """Renews the row, at most once in HEARTBEAT_SECONDS."""
        if time.monotonic() - self._last_heartbeat < HEARTBEAT_SECONDS:
            return
        self._last_heartbeat = time.monotonic()
        with contextlib.suppress(SQLAlchemyError), self._storage.write() as connection:
            self._write(connection)

    def end(self) -> None:
        """Deletes the row."""
        services = tables.services
        with contextlib.suppress(SQLAlchemyError), self._storage.write() as connection:
            connection.execute(delete(services).where(services.c.id == self._id))

    def _write(self, connection: Connection) -> None:
        services, now = tables.services, self._storage.now()
        renewed = connection.execute(
            update(services).where(services.c.id == self._id).values(seen_at=now)
        )
        if renewed.rowcount:
            return
        connection.execute(
            delete(services).where(services.c.seen_at < now - 10 * tables.LEASE_SECONDS)
        )
        connection.execute(
            services.insert().values(id=self._id, host=HOST, pid=os.getpid(), seen_at=now)
        )


@contextlib.contextmanager
def serving(storage: Storage) -> Iterator[Service]:
    """Keeps a row for this process, which must call `heartbeat`."""
    service = Service(storage)
    service.heartbeat()
    try:
        yield service
    finally:
        service.end()


def is_served(storage: Storage, connection: Connection) -> bool:
    """Whether a process that works on every open study is alive, as far as is known here.

    During a long trial its heartbeat is that of a worker of the study.
    """
    services, workers = tables.services, tables.workers
    at_work = (
        select(workers.c.id)
        .where(
            workers.c.host == services.c.host,
            workers.c.pid == services.c.pid,
            workers.c.ended_at.is_(None),
            storage.lately(workers.c.seen_at),
        )
        .exists()
    )
    rows = connection.execute(
        select(services.c.host, services.c.pid).where(
            or_(storage.lately(services.c.seen_at), at_work)
        )
    )
    return any(not is_dead(row.host, row.pid) for row in rows)
