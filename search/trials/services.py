"""Which processes work on whatever open studies a storage holds: `serve`, or `worker` alone.

Such a process is a worker of a study only while it is at one. So that `submit` and `status` can
tell whether anybody will take a study on, it also has a row of its own, whose time it renews.
Nothing else depends on that row: where it cannot be written, the process works all the same.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from search.processes import HOST, is_dead
from search.storage import tables
from search.storage.database import Storage

SECONDS_BETWEEN_BEATS = 10.0


class Service:
    """This process's row."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._id = secrets.token_hex(16)
        self._beaten = float("-inf")

    def beat(self) -> None:
        """Says that this process is still there, unless it did so a moment ago."""
        if time.monotonic() - self._beaten < SECONDS_BETWEEN_BEATS:
            return
        self._beaten = time.monotonic()
        with contextlib.suppress(SQLAlchemyError), self._storage.write() as connection:
            self._write(connection)

    def end(self) -> None:
        """Takes the row away."""
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
    """This process serves the storage while this lasts, and `beat` is called."""
    service = Service(storage)
    service.beat()
    try:
        yield service
    finally:
        service.end()


def is_served(storage: Storage, connection: Connection) -> bool:
    """Whether a process that takes on any open study was seen lately, and is not known to be dead.

    One that is at a long trial is seen as a worker of that study.
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
