"""The database's clock, as SQL that each dialect writes in its own way.

It needs no open storage, so a statement that holds it can be built once.
"""

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from search.storage import tables

SQL = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "CAST(EXTRACT(epoch FROM clock_timestamp()) AS FLOAT)",
}
"""The seconds since 1970, by dialect."""


class now(FunctionElement[float]):
    """The seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now)
def _write(_element: now, compiler: Any, **_options: Any) -> str:
    return SQL[compiler.dialect.name]


def lately(seen_at: ColumnElement[float]) -> ColumnElement[bool]:
    """Whether a process gave a sign of life within the time of a lease.

    One from the future is none: the clock was set back since.
    """
    return (now() - seen_at).between(-tables.LEASE_SECONDS, tables.LEASE_SECONDS)
