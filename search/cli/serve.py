"""Verbs that listen on a port: `serve` and `dashboard`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.common import check_device, new_job, worker_count
from search.cli.options import Artifacts, Device, Threads
from search.cli.session import Session
from search.errors import BadInput
from search.service import json_logs

if TYPE_CHECKING:
    from search.dashboard.app import Access

ServiceWorkers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Worker processes; 0: none here, as others work on the studies. Default: the "
        "available cores divided by --threads.",
    ),
]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any free one.")
]
Writable = Annotated[bool, typer.Option("--writable", help="Allow changes from the browser.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="A file with the token that visitors must give.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="One more host name under which it may be reached; repeatable."),
]


NotifyFile = Annotated[
    Path | None,
    typer.Option(
        "--notify",
        metavar="FILE",
        help="A TOML file whose table [notify] says whom to tell of studies without their own.",
    ),
]
PrivateWebhooks = Annotated[
    bool,
    typer.Option("--private-webhooks", help="Let webhooks lead to addresses of private networks."),
]
LogFormat = Annotated[
    str, typer.Option(help="text, or json: every message of the service as a line of JSON.")
]


def serve(
    session: Session,
    workers: ServiceWorkers = None,
    threads: Threads = 1,
    device: Device = "cpu",
    host: Host = "127.0.0.1",
    port: Port = 8080,
    writable: Writable = False,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
    artifacts: Artifacts = None,
    notify: NotifyFile = None,
    private_webhooks: PrivateWebhooks = False,
    log_format: LogFormat = "text",
) -> None:
    """Run the service: a page and an API over HTTP, and N workers for every open study."""
    from search.launch import service
    from search.service import notifier, tokens
    from search.service.context import ServiceContext
    from search.service.middleware import STORAGE_SECONDS
    from search.service.server import serving_http
    from search.storage import artifact_stores
    from search.storage.database import open_storage
    from search.system import file_errors

    emit = _emitter(session, log_format)
    check_device(device)
    file_errors.ensure_writable(session.data_dir.all_checkpoints)
    default = notifier.read_default(notify)
    options = (host, port, writable, token_file, allow_host)
    storage = session.create()
    access = _access(*options, has_tokens=tokens.exist(storage))
    key = notifier.signing_key(session.data_dir)
    notifications = notifier.Notifications(key, default, private_webhooks)
    count = worker_count(workers, threads) if workers != 0 else 0
    job = new_job(session, threads, device)
    location = None if artifacts is None else artifact_stores.validate_location(artifacts)

    @contextmanager
    def http_server(workers_alive: Callable[[], int]) -> Iterator[str]:
        own = open_storage(session.storage_url)  # the supervisor's waits longer
        own.limit_waiting(STORAGE_SECONDS)
        context = ServiceContext(
            own,
            session.storage_url,
            session.data_dir,
            access,
            threads,
            count,
            workers_alive,
            location,
            notifications,
        )
        with closing(own), serving_http(context) as address:
            yield address

    service.serve(storage, session.data_dir, job, count, http_server, emit)


def _emitter(session: Session, log_format: str) -> Callable[[str], object]:
    """What the service's own messages go to, in the format that was asked for."""
    if log_format == "text":
        return session.console.print
    if log_format != "json":
        raise BadInput(f"--log-format {log_format}: give text or json")
    json_logs.log_as_json()
    return logging.getLogger("search.service").info


def dashboard(
    session: Session,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    writable: Writable = False,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
) -> None:
    """Show the studies of the storage in the Optuna dashboard."""
    from search.dashboard import app

    access = _access(host, port, writable, token_file, allow_host)
    storage = session.open()
    server = app.make_server(storage, session.data_dir, access)
    session.console.print(
        f"dashboard of {storage.redacted_url} on {app.address(server.effective_port, access)}"
        f"{'?token=TOKEN' if access.token else ''} (Ctrl-C stops it)"
    )
    server.run()


def _access(
    host: str,
    port: int,
    writable: bool,
    token_file: Path | None,
    allow_host: list[str] | None,
    has_tokens: bool = False,
) -> "Access":
    from search.dashboard import app

    token = None if token_file is None else app.read_token(token_file)
    return app.Access(host, port, writable, token, tuple(allow_host or ()), has_tokens)
