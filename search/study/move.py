"""Moves all studies of one database into another: whole, checked row by row, or not at all.

The new database must hold no studies yet, so every row keeps its keys and every reference holds.
The old one keeps its studies to look at: a worker that still looks there finds nothing to do, and
whoever would go on there is told where they are now. Models stay where they are.
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
    """What was moved, from where to where."""

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
    """Copies every study and compares the copies; then shuts the studies at the source.

    Args:
        on_rows: told how many rows are done, and of how many; each row counts twice, once
            copied and once compared.
        recover: ends the attempts of lost workers at the source.

    Raises:
        BadInput: the source holds no studies, or the target holds some already.
        Refused: somebody is at work on the source.
        StorageLost: a database failed on the way; the target holds no studies.
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
    moved = study.all_studies(source)
    for each in moved:
        study.mark_moved(source, each, target.told)
    return MoveResult(source.told, target.told, len(moved), rows)


def ensure_movable(source: Storage) -> None:
    """Raises unless there are studies, and nobody works on them."""
    found = study.all_studies(source)
    if not found:
        raise BadInput(f"storage {source.told}: holds no studies to move")
    for each in found:
        if study.has_workers(source, each):
            raise Refused(
                f"study {each.name}: workers are running, and its trials would be counted twice; "
                f"`{verb_and_arguments('stop', each.name)}` first"
            )


def _copied_and_compared(
    source: Storage, target: Storage, on_rows: Callable[[int, int], None]
) -> int:
    """In one transaction of the target, while nobody else may write to either; returns the rows."""
    names = table_copy.names_of_tables()
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        on_rows(done, 2 * total)

    with target.write() as there:
        new = Tables(there, names)
        new.hold()
        _ensure_empty(target, new)
        with source.write() as here:
            old = Tables(here, names)
            old.hold()
            ensure_movable(source)  # again, now that nobody can begin
            total = sum(map(old.count, names))
            table_copy.copy(old, new, tell)
            table_copy.compare(old, new, tell)
    return total


def _ensure_empty(target: Storage, tables: Tables) -> None:
    """Also one that only holds records of test openings, which outlive their studies."""
    filled = [name for name in tables.names if tables.count(name)]
    if filled:
        raise BadInput(
            f"storage {target.told}: is not empty (table {filled[0]}); give a new database"
        )
