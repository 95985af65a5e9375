"""Moves all studies of one database into another: all rows, compared one by one, or none.

The target must hold no studies, so that every row keeps its keys and every reference holds. The
source keeps its studies read-only: a worker there finds nothing to do, and a command that would
resume a study names the new storage. Model files stay where they are.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy.exc import DatabaseError

from search.errors import BadInput, Refused, StorageLost
from search.formatting import verb_and_arguments
from search.retry import error_summary
from search.storage import table_copy
from search.storage.database import Storage, create_storage, open_storage
from search.storage.table_copy import Tables
from search.study import study


@dataclass(frozen=True)
class MoveResult:
    """What was moved, and both storages."""

    source: str  # without a password, as is `target`
    target: str
    studies: int
    rows: int


def move(
    source_url: str,
    target_url: str,
    on_rows: Callable[[int, int], None],
    recover: Callable[[Storage], None],
) -> MoveResult:
    """Copies every study, compares the copies, then marks the studies at the source as moved.

    Args:
        on_rows: called with the rows done and the rows in all; each row counts twice, once
            copied and once compared.
        recover: ends the attempts of lost workers at the source.

    Raises:
        BadInput: the source holds no studies, or the target is not empty.
        Refused: workers, or a job of a service, are running on the source.
        StorageLost: a database failed meanwhile; the target holds no studies.
    """
    with closing(open_storage(source_url, writing=True)) as source:
        recover(source)
        ensure_movable(source)
        with closing(create_storage(target_url)) as target:
            return _move(source, target, on_rows)


def _move(source: Storage, target: Storage, on_rows: Callable[[int, int], None]) -> MoveResult:
    try:
        rows = _copied_and_compared(source, target, on_rows)
    except DatabaseError as error:
        raise StorageLost(f"move-storage: {error_summary(error)}; nothing was moved") from error
    studies = study.all_studies(source)
    for stored in studies:
        study.mark_moved(source, stored, target.redacted_url)
    return MoveResult(source.redacted_url, target.redacted_url, len(studies), rows)


def ensure_movable(source: Storage) -> None:
    """Raises BadInput if there are no studies, Refused if workers or a job are running."""
    studies = study.all_studies(source)
    if not studies:
        raise BadInput(f"storage {source.redacted_url}: holds no studies to move")
    for stored in studies:
        if study.has_workers(source, stored):
            raise Refused(
                f"study {stored.name}: workers are running, and its trials would be counted twice; "
                f"run `{verb_and_arguments('stop', stored.name)}` first"
            )
        if study.has_running_job(source, stored):
            raise Refused(
                f"study {stored.name}: a service works at a job of it, whose result would be lost; "
                "wait for its end, or stop the service first"
            )


def _copied_and_compared(
    source: Storage, target: Storage, on_rows: Callable[[int, int], None]
) -> int:
    """Copies and compares in one transaction of the target, with both storages locked.

    Returns:
        The number of rows.
    """
    names = table_copy.names_of_tables()
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        on_rows(done, 2 * total)

    with target.write() as target_connection:
        new = Tables(target_connection, names)
        new.lock()
        _ensure_empty(target, new)
        with source.write() as source_connection:
            old = Tables(source_connection, names)
            old.lock()
            ensure_movable(source)  # again, now that nobody can begin
            total = sum(map(old.count, names))
            table_copy.copy(old, new, count)
            table_copy.compare(old, new, count)
    return total


def _ensure_empty(target: Storage, tables: Tables) -> None:
    """Raises BadInput for a target with any row, even if only records of test openings are left."""
    filled = [name for name in tables.names if tables.count(name)]
    if filled:
        raise BadInput(
            f"storage {target.redacted_url}: is not empty (table {filled[0]}); give a new database"
        )
