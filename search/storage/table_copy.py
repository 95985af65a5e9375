"""Whole tables from one database into another, and compared row by row.

Tables are reflected on both sides, so that a table or a column which a later version adds needs no
word here. Besides `storage.py` this is the only place that knows a database's dialect.
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
"""Rows that are in memory at once."""


def names_of_tables() -> list[str]:
    """The tables that hold studies, Optuna's and ours, each after those that it refers to.

    They are looked up in a database made for that, since a shared one may hold others. What a new
    database holds already describes its schema, and is left out; so is who serves it, which says
    nothing of another one.
    """
    with new_database_in_memory() as engine, engine.connect() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        found = [table.name for table in metadata.sorted_tables]
        names = [name for name in found if name != tables.services.name]
        counted = Tables(connection, names)
        return [name for name in names if not counted.count(name)]


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

    def hold(self) -> None:
        """Lets nobody else write to them until the transaction ends; readers go on.

        On SQLite a transaction that begins as a writer does so by itself.
        """
        if self._on_postgresql:
            told = ", ".join(self.names)
            self._connection.execute(text(f"LOCK TABLE {told} IN EXCLUSIVE MODE"))

    def count(self, name: str) -> int:
        """How many rows a table has."""
        query = select(func.count()).select_from(self._tables[name])
        return self._connection.execute(query).scalar_one()

    def columns(self, name: str) -> list[str]:
        """The names of a table's columns."""
        return [column.name for column in self._tables[name].columns]

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """All rows of a table, in the order of their keys, which is the same in every database."""
        table = self._tables[name]
        query = select(*(table.c[column] for column in columns))
        ordered = query.order_by(*map(self._by_bytes, table.primary_key))
        found = self._connection.execute(ordered, execution_options={"yield_per": BATCH})
        yield from found.partitions()

    def add(self, name: str, columns: Sequence[str], rows: Sequence[Any]) -> None:
        """Adds rows to a table, with the keys that they come with."""
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        self._connection.execute(self._tables[name].insert(), values)

    def go_on_counting(self, name: str) -> None:
        """Has PostgreSQL number a table's next row after those that came with their numbers."""
        if not self._on_postgresql:
            return
        numbers = [key for key in self._tables[name].primary_key if isinstance(key.type, Integer)]
        for column in numbers:
            sequence = func.pg_get_serial_sequence(name, column.name)  # null if it has none
            advanced = func.setval(cast(sequence, REGCLASS), func.max(column))
            self._connection.execute(select(advanced))

    def _by_bytes(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        """A key to order by, whatever the language that a database sorts in."""
        return collate(key, "C") if self._on_postgresql and isinstance(key.type, String) else key


def copy(source: Tables, target: Tables, on_rows: Callable[[int], None]) -> None:
    """Adds every row of the one database to the other; tells how many, batch by batch."""
    for name in target.names:
        columns = target.columns(name)
        for rows in source.batches(name, columns):
            target.add(name, columns, rows)
            on_rows(len(rows))
        target.go_on_counting(name)


def compare(source: Tables, target: Tables, on_rows: Callable[[int], None]) -> None:
    """Raises SearchError unless both have the same rows, to the last bit of every number."""
    for name in target.names:
        columns = target.columns(name)
        both = (source.batches(name, columns), target.batches(name, columns))
        for ours, theirs in zip_longest(*both, fillvalue=()):
            if not all(map(_same, ours, theirs)) or len(ours) != len(theirs):
                raise SearchError(
                    f"table {name}: a row differs from its original; nothing was moved"
                )
            on_rows(len(theirs))


def _same(one: Any, other: Any) -> bool:
    """NaN is the same as itself. (A minus before a zero does not count: SQLite keeps none.)"""
    return bool(one == other) or repr(tuple(one)) == repr(tuple(other))


class _JsonAsText(TypeDecorator[str]):
    """A document as the text that is stored, so that no number or null of it is read anew."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(column, Text)

    def bind_expression(self, bindparam: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(bindparam, JSON)


def _text_for_json(inspector: Inspector, _table: Table, column: Any) -> None:
    if isinstance(column["type"], JSON):
        column["type"] = Text() if inspector.dialect.name == "sqlite" else _JsonAsText()
