"""Copies whole tables from one database into another, and compares them row by row.

Tables are reflected on both sides, so a table or a column that a later version adds needs no change
here.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Inspector,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    cast,
    collate,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.sql import ColumnElement

from search.errors import SearchError
from search.storage import tables
from search.storage.database import new_database_in_memory

BATCH = 5_000
"""Rows held in memory at a time."""


def names_of_tables() -> list[str]:
    """The tables that hold studies, Optuna's and ours, each after those that it refers to.

    They are read from a new database, since a shared one may hold others. Tables that have rows
    there describe the schema and are left out; so is the table of services, which belongs to one
    database.
    """
    with new_database_in_memory() as engine, engine.connect() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        every = [table.name for table in metadata.sorted_tables]
        names = [name for name in every if name != tables.services.name]
        new = Tables(connection, names)
        return [name for name in names if not new.count(name)]


class Tables:
    """Some tables of one database, within one transaction."""

    def __init__(self, connection: Connection, names: Sequence[str]) -> None:
        metadata = MetaData()
        event.listen(metadata, "column_reflect", _text_for_json)
        metadata.reflect(connection, only=names)
        self.names = names
        self._connection = connection
        self._tables = metadata.tables
        self._on_postgresql = connection.dialect.name == "postgresql"

    def lock(self) -> None:
        """Locks the tables against other writers, not readers, until the transaction ends.

        On SQLite a transaction that begins as a writer has this lock already.
        """
        if self._on_postgresql:
            names = ", ".join(self.names)
            self._connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))

    def count(self, name: str) -> int:
        """The number of rows of a table."""
        query = select(func.count()).select_from(self._tables[name])
        return self._connection.execute(query).scalar_one()

    def columns(self, name: str) -> list[str]:
        """The names of a table's columns."""
        return [column.name for column in self._tables[name].columns]

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yields all rows of a table in the order of their keys, the same in every database."""
        table = self._tables[name]
        query = select(*(table.c[column] for column in columns))
        ordered = query.order_by(*map(self._by_bytes, table.primary_key))
        result = self._connection.execute(ordered, execution_options={"yield_per": BATCH})
        yield from result.partitions()

    def insert(self, name: str, columns: Sequence[str], rows: Sequence[Any]) -> None:
        """Inserts rows into a table with the keys that they have."""
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        self._connection.execute(self._tables[name].insert(), values)

    def advance_sequences(self, name: str) -> None:
        """Sets a table's sequences (PostgreSQL) after the highest key that was inserted."""
        if not self._on_postgresql:
            return
        numbers = [key for key in self._tables[name].primary_key if isinstance(key.type, Integer)]
        for column in numbers:
            sequence = func.pg_get_serial_sequence(name, column.name)  # null if it has none
            advanced = func.setval(cast(sequence, REGCLASS), func.max(column))
            self._connection.execute(select(advanced))

    def _by_bytes(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        """A key to order by that does not depend on the collation of the database."""
        return collate(key, "C") if self._on_postgresql and isinstance(key.type, String) else key


def copy(source: Tables, target: Tables, on_rows: Callable[[int], None]) -> None:
    """Copies every row to the target; calls `on_rows` with the size of each batch."""
    for name in target.names:
        columns = target.columns(name)
        for rows in source.batches(name, columns):
            target.insert(name, columns, rows)
            on_rows(len(rows))
        target.advance_sequences(name)


def compare(source: Tables, target: Tables, on_rows: Callable[[int], None]) -> None:
    """Raises SearchError unless both have the same rows, bit for bit."""
    for name in target.names:
        columns = target.columns(name)
        both = (source.batches(name, columns), target.batches(name, columns))
        for original, copied in zip_longest(*both, fillvalue=()):
            if not all(map(_same, original, copied)) or len(original) != len(copied):
                raise SearchError(
                    f"table {name}: a row differs from its original; nothing was moved"
                )
            on_rows(len(copied))


def _same(one: Any, other: Any) -> bool:
    """Whether two rows are equal; NaN equals itself, and -0.0 equals 0.0 (SQLite keeps no sign)."""
    return bool(one == other) or repr(tuple(one)) == repr(tuple(other))


class _JsonAsText(TypeDecorator[str]):
    """A JSON document as its stored text, so that no number or null in it is parsed."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(column, Text)

    def bind_expression(self, bindparam: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(bindparam, JSON)


def _text_for_json(inspector: Inspector, _table: Table, column: Any) -> None:
    if isinstance(column["type"], JSON):
        column["type"] = Text() if inspector.dialect.name == "sqlite" else _JsonAsText()
