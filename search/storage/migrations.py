"""Brings our tables from an older version to this program's, one step at a time.

Version 1 is what `tables.py` described first. A change of `tables.py` appends a step here that
makes the same change to tables that exist, spelt out: `tables.py` goes on changing, a step does
not. Optuna's tables are migrated by Optuna's own tool.
"""

import logging
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Integer,
    bindparam,
    column,
    select,
    table,
    text,
    update,
)

from search.errors import StorageUnavailable
from search.storage import tables
from search.system.processes import is_dead

log = logging.getLogger(__name__)

Migration = Callable[[Connection], None]


def _corpora_and_artifacts(connection: Connection) -> None:
    """Version 2: studies that other hosts can work on."""
    connection.execute(
        text(
            "CREATE TABLE makemore_corpora ("
            "fingerprint VARCHAR(64) NOT NULL PRIMARY KEY, words TEXT NOT NULL)"
        )
    )
    connection.execute(text("ALTER TABLE makemore_studies ADD COLUMN artifacts TEXT"))


def _ensembles(connection: Connection) -> None:
    """Version 3: ensembles that a study's file names as its winner."""
    connection.execute(
        text(
            "CREATE TABLE makemore_ensembles ("
            "study_uid VARCHAR(32) NOT NULL PRIMARY KEY"
            " REFERENCES makemore_studies (uid) ON DELETE CASCADE,"
            " most INTEGER NOT NULL, members JSON NOT NULL,"
            " dev_loss FLOAT NOT NULL, chosen_at FLOAT NOT NULL)"
        )
    )


def _attempts_by_loss(connection: Connection) -> None:
    """Version 4: the best of ten thousand trials, without a look at each."""
    connection.execute(
        text(
            "CREATE INDEX makemore_attempts_by_loss"
            " ON makemore_attempts (study_uid, outcome, dev_loss, trial)"
        )
    )


def _moved_studies(connection: Connection) -> None:
    """Version 5: a study that was moved must not be continued in two places."""
    connection.execute(text("ALTER TABLE makemore_studies ADD COLUMN moved_to TEXT"))


def _services(connection: Connection) -> None:
    """Version 6: whether anybody works on whatever is submitted."""
    connection.execute(
        text(
            "CREATE TABLE makemore_services ("
            "id VARCHAR(32) NOT NULL PRIMARY KEY, host TEXT NOT NULL,"
            " pid INTEGER NOT NULL, seen_at FLOAT NOT NULL)"
        )
    )


def times_in_utc(connection: Connection) -> None:
    """Version 7: the times of our trials in UTC, as Optuna 5 stores them.

    Older code wrote the local time of its machine, which is taken to be in the zone of this one.
    When an attempt began and ended is known in UTC as well: that tells the two hours apart that a
    clock set back shows twice, and the trials of the oldest code, which Optuna wrote, in UTC.

    Raises:
        StorageUnavailable: a worker of the older code is at work, which would go on writing them.
    """
    trials = table(
        "trials",
        column("trial_id", Integer),
        column("datetime_start", DateTime),
        column("datetime_complete", DateTime),
    )
    ours = text(
        "SELECT t.trial_id, t.datetime_start, t.datetime_complete, a.started_at, a.ended_at"
        " FROM makemore_attempts a JOIN makemore_studies s ON s.uid = a.study_uid"
        " JOIN trials t ON t.study_id = s.optuna_id AND t.number = a.trial"
    ).columns(
        column("trial_id", Integer),
        trials.c.datetime_start,
        trials.c.datetime_complete,
        column("started_at"),
        column("ended_at"),
    )
    changed = []
    for trial_id, start, complete, started_at, ended_at in connection.execute(ours).all():
        times = (in_utc(start, started_at), in_utc(complete, ended_at))
        if times != (start, complete):
            changed.append({"id": trial_id, "start": times[0], "complete": times[1]})
    if not changed:
        return
    _ensure_no_workers(connection)
    connection.execute(
        update(trials)
        .where(trials.c.trial_id == bindparam("id"))
        .values(datetime_start=bindparam("start"), datetime_complete=bindparam("complete")),
        changed,
    )
    log.warning(
        "storage: the times of %d trials, which an older version wrote in local time, are in UTC "
        "now; they were taken to be in the zone of this machine, %s",
        len(changed),
        _name_of_zone(),
    )


def working_time(connection: Connection) -> None:
    """Version 9: the working time of a study is added up by its workers' own clocks.

    Up to now it was the union of the times, by the wall clock, from which to which they were seen.
    """
    for what in (
        "studies ADD COLUMN worked_seconds FLOAT NOT NULL DEFAULT 0",
        "studies ADD COLUMN worked_until FLOAT",
        "attempts ADD COLUMN worked_seconds FLOAT",
    ):
        connection.execute(text(f"ALTER TABLE makemore_{what}"))
    spans = defaultdict[str, list[tuple[float, float]]](list)
    for uid, start, end in connection.execute(
        text(
            "SELECT study_uid, started_at, coalesce(ended_at, seen_at) FROM makemore_workers"
            " ORDER BY started_at"
        )
    ).all():
        until = spans[uid][-1][1] if spans[uid] else start
        spans[uid].append((max(start, until), max(end, until)))
    for uid, own in spans.items():
        connection.execute(
            text("UPDATE makemore_studies SET worked_seconds = :seconds WHERE uid = :uid"),
            {"uid": uid, "seconds": worked_before(own, math.inf)},
        )
    ended = text("SELECT id, study_uid, ended_at FROM makemore_attempts WHERE ended_at IS NOT NULL")
    rows = [
        {"id": number, "seconds": worked_before(spans[uid], ended_at)}
        for number, uid, ended_at in connection.execute(ended).all()
    ]
    if rows:
        connection.execute(
            text("UPDATE makemore_attempts SET worked_seconds = :seconds WHERE id = :id"), rows
        )


def _marks(connection: Connection) -> None:
    """Version 10: Optuna's study bears the uid of ours, since its number and name may change."""
    connection.execute(
        text(
            "INSERT INTO study_user_attributes (study_id, key, value_json)"
            " SELECT o.study_id, 'makemore-search:study', '\"' || s.uid || '\"'"
            " FROM makemore_studies s"
            " JOIN studies o ON o.study_id = s.optuna_id AND o.study_name = s.name"
        )
    )


def worked_before(spans: Sequence[tuple[float, float]], moment: float) -> float:
    """Seconds up to a moment that lie within spans, which do not overlap."""
    return sum(max(0.0, min(end, moment) - start) for start, end in spans)


def in_utc(stored: datetime | None, known: float | None) -> datetime | None:
    """A stored local time in UTC; `known` is roughly the same moment, in seconds since 1970."""
    if stored is None:
        return None
    readings = [stored.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    if known is not None:
        moment = datetime.fromtimestamp(known, UTC)
        if abs(stored.replace(tzinfo=UTC) - moment).total_seconds() < SHORTER_THAN_AN_OFFSET:
            return stored
        readings.sort(key=lambda reading: abs(reading - moment))
    return readings[0].replace(tzinfo=None)


SHORTER_THAN_AN_OFFSET = 600.0
"""Every zone is further from UTC than so many seconds, or in it."""


def _ensure_no_workers(connection: Connection) -> None:
    workers = text("SELECT host, pid, seen_at FROM makemore_workers WHERE ended_at IS NULL")
    for host, pid, seen_at in connection.execute(workers):
        if abs(time.time() - seen_at) < tables.LEASE_SECONDS and not is_dead(host, pid):
            raise StorageUnavailable(
                "storage: its tables are of an older version, and a worker of that version is at "
                f"work on them (process {pid} on {host}); end it with Ctrl-C, then repeat this"
            )


def _name_of_zone() -> str:
    now: Any = datetime.now().astimezone()
    named = os.environ.get("TZ", "").lstrip(":")
    return f"{named} ({now:%Z, UTC%z})" if named else f"{now:%Z (UTC%z)}"


def _causes_of_losses(connection: Connection) -> None:
    """Version 8: what ended a worker, so that a fate that many share is held against none."""
    for added in (
        "makemore_workers ADD COLUMN launch_id VARCHAR(32)",
        "makemore_workers ADD COLUMN launcher_host TEXT",
        "makemore_workers ADD COLUMN launcher_pid INTEGER",
        "makemore_workers ADD COLUMN end_cause VARCHAR(16)",
        "makemore_attempts ADD COLUMN inherited INTEGER",
        "makemore_slots ADD COLUMN expirations INTEGER DEFAULT 0 NOT NULL",
    ):
        connection.execute(text(f"ALTER TABLE {added}"))


def _service(connection: Connection) -> None:
    """Version 11: tokens, sessions, changes, uploads and jobs of the service over HTTP."""
    connection.execute(text("ALTER TABLE makemore_workers ADD COLUMN log TEXT"))
    for statement in (
        "TABLE makemore_tokens ("
        "id VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE,"
        " scope VARCHAR(16) NOT NULL, limits JSON NOT NULL,"
        " secret_sha256 VARCHAR(64) NOT NULL UNIQUE, created_at FLOAT NOT NULL, revoked_at FLOAT)",
        "TABLE makemore_sessions ("
        "secret_sha256 VARCHAR(64) NOT NULL PRIMARY KEY,"
        " token_id VARCHAR(32) NOT NULL REFERENCES makemore_tokens (id) ON DELETE CASCADE,"
        " created_at FLOAT NOT NULL)",
        "TABLE makemore_changes ("
        "id VARCHAR(32) NOT NULL PRIMARY KEY, study_uid VARCHAR(32), study_name TEXT,"
        " token_id VARCHAR(32), token_name VARCHAR(64) NOT NULL, action VARCHAR(32) NOT NULL,"
        " details JSON NOT NULL, made_at FLOAT NOT NULL)",
        "INDEX makemore_changes_by_study ON makemore_changes (study_uid)",
        "INDEX makemore_changes_by_token ON makemore_changes (token_id, action)",
        "TABLE makemore_uploads ("
        "fingerprint VARCHAR(64) NOT NULL PRIMARY KEY, name TEXT NOT NULL, size BIGINT NOT NULL,"
        " token_id VARCHAR(32), token_name VARCHAR(64) NOT NULL, uploaded_at FLOAT NOT NULL)",
        "TABLE makemore_jobs ("
        "id VARCHAR(32) NOT NULL PRIMARY KEY,"
        " study_uid VARCHAR(32) NOT NULL REFERENCES makemore_studies (uid) ON DELETE CASCADE,"
        " kind VARCHAR(16) NOT NULL, arguments JSON NOT NULL, token_name VARCHAR(64) NOT NULL,"
        " state VARCHAR(16) NOT NULL, estimated_seconds FLOAT, created_at FLOAT NOT NULL,"
        " started_at FLOAT, seen_at FLOAT, ended_at FLOAT, worker_id VARCHAR(32), host TEXT,"
        " pid INTEGER, tries INTEGER DEFAULT 0 NOT NULL, progress JSON, error TEXT, result JSON)",
        "INDEX makemore_jobs_by_study ON makemore_jobs (study_uid, created_at)",
    ):
        connection.execute(text(f"CREATE {statement}"))


def _outbox(connection: Connection) -> None:
    """Version 12: what became of a study, for those who want to be told; trials counted quickly."""
    connection.execute(
        text(
            "CREATE TABLE makemore_outbox ("
            "id VARCHAR(32) NOT NULL PRIMARY KEY, study_uid VARCHAR(32) NOT NULL,"
            " study_name TEXT NOT NULL, event VARCHAR(16) NOT NULL, data JSON NOT NULL,"
            " url TEXT, created_at FLOAT NOT NULL, tries INTEGER NOT NULL, next_try_at FLOAT,"
            " delivered_at FLOAT, problem TEXT)"
        )
    )
    for index in (
        "makemore_outbox_by_time ON makemore_outbox (next_try_at)",
        "makemore_attempts_by_outcome ON makemore_attempts (outcome, reason, seconds, trial)",
    ):
        connection.execute(text(f"CREATE INDEX {index}"))


MIGRATIONS: Sequence[Migration] = (
    _corpora_and_artifacts,
    _ensembles,
    _attempts_by_loss,
    _moved_studies,
    _services,
    times_in_utc,
    _causes_of_losses,
    working_time,
    _marks,
    _service,
    _outbox,
)
"""The n-th leads from version n to n + 1; the last to `tables.SCHEMA_VERSION`."""


def migrate(engine: Engine, steps: Sequence[Migration] = MIGRATIONS) -> int:
    """Takes each step that is missing in a transaction of its own; returns the version then.

    Of several processes at once, each step is taken by one of them, while the others wait. Tables
    of a newer program are left as they are.
    """
    while (version := _version(engine)) <= len(steps):
        _take(engine, version, steps[version - 1])
    return version


def _version(engine: Engine) -> int:
    with engine.connect() as connection:
        version: int = connection.execute(select(tables.schema.c.version)).scalar_one()
        return version


def _take(engine: Engine, version: int, step: Migration) -> None:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        current = connection.execute(select(tables.schema.c.version).with_for_update()).scalar_one()
        if current == version:
            step(connection)
            connection.execute(update(tables.schema).values(version=version + 1))
        connection.commit()
