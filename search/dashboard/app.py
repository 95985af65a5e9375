"""optuna-dashboard over a storage, safe to leave running on a shared machine.

It is read-only by default, in two ways: only GET and HEAD requests are passed on, and its database
connections refuse to write. Other machines can reach it only with a token. `middleware` has the
layers for any application, `auth` the token, `study_guard` what is particular to this dashboard.

Where changes are allowed, deleting a study of this program is done as by `delete`, and changes
after which our tables would contradict Optuna's are refused.
"""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import waitress
from optuna_dashboard import wsgi

from search.dashboard.auth import require_token
from search.dashboard.middleware import (
    Application,
    allowed_hosts,
    read_only,
    same_origin,
    security_headers,
)
from search.dashboard.study_guard import (
    HideCurves,
    LocalArtifactStore,
    block_migration,
    guard_our_studies,
    sandbox_artifacts,
)
from search.errors import BadInput
from search.paths import DataDir
from search.storage.database import Storage
from search.storage.optuna_reader import BulkReadStorage

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY_ADDRESS = ("0.0.0.0", "::")
MAX_UPLOAD = 16 * 2**20
THREADS = 4


@dataclass(frozen=True)
class Access:
    """Who may reach a dashboard, and what they may do."""

    host: str = "127.0.0.1"
    port: int = 8080
    writable: bool = False
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    has_tokens: bool = False
    """Whether the storage has tokens of the service, so that one is asked for in any case."""

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and self.token is None and not self.has_tokens:
            raise BadInput(
                f"dashboard: --host {self.host}: anyone who reaches it could read every study; "
                "give --token-file FILE, or stay on 127.0.0.1 and forward the port with ssh"
            )

    @property
    def names(self) -> set[str]:
        """Names by which this server may be addressed."""
        names = {*LOOPBACK, *self.allowed_hosts}
        if self.host not in LOOPBACK:
            names |= {self.host, socket.gethostname(), socket.getfqdn()} - set(ANY_ADDRESS)
        return {name.lower() for name in names}


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        BadInput: the file cannot be read, or is empty.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise BadInput(
            f"--token-file {path}: cannot be read ({reason}); make one with "
            '`python -c "import secrets; print(secrets.token_urlsafe())"`'
        ) from None
    if not token:
        raise BadInput(f"--token-file {path}: is empty; write a token into it")
    return token


def application(storage: Storage, data_dir: DataDir, access: Access) -> Application:
    """The dashboard with every layer of protection; any WSGI server can serve it."""
    if access.writable:
        board = same_origin(writable_board(storage, data_dir))
    else:
        board = read_only_board(storage, data_dir)
    if access.token is not None:
        board = require_token(board, access.token)
    return security_headers(allowed_hosts(board, access.names, any_ip=access.host not in LOOPBACK))


def read_only_board(storage: Storage, data_dir: DataDir) -> Application:
    """The dashboard for readers; the connections of this storage refuse to write from now on."""
    storage.set_read_only()
    return read_only(_board(storage, data_dir))


def writable_board(storage: Storage, data_dir: DataDir) -> Application:
    """The dashboard with those changes that leave our tables and Optuna's of one mind."""
    return guard_our_studies(_board(storage, data_dir), storage, data_dir)


def _board(storage: Storage, data_dir: DataDir) -> Application:
    data_dir.artifacts().mkdir(parents=True, exist_ok=True)
    bulk = BulkReadStorage(storage, marks=True)
    optuna_dashboard = wsgi(bulk, artifact_store=LocalArtifactStore(data_dir.artifacts()))
    optuna_dashboard.install(HideCurves(bulk.is_large))
    return block_migration(sandbox_artifacts(optuna_dashboard))


def make_server(storage: Storage, data_dir: DataDir, access: Access) -> Any:
    """A waitress server that is listening; its `run` serves until it is interrupted.

    Raises:
        BadInput: the address is taken, or is not this machine's.
    """
    listening = listen(access)
    return waitress.create_server(
        application(storage, data_dir, access),
        sockets=[listening],
        threads=THREADS,
        ident=None,
        max_request_body_size=MAX_UPLOAD,
    )


def listen(access: Access) -> socket.socket:
    """A socket that listens where it is to be reached.

    Raises:
        BadInput: the address is taken, or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    try:
        return socket.create_server((access.host, access.port), family=family)
    except OSError as error:
        raise BadInput(
            f"dashboard: cannot listen on {access.host}:{access.port} "
            f"({error.strerror or error}); choose another --port, or --host"
        ) from None


def address(port: int, access: Access) -> str:
    """The URL of a server that listens on a port."""
    host = socket.gethostname() if access.host in ANY_ADDRESS else access.host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
