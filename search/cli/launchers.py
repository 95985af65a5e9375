"""The launchers of `run`: workers on this machine, or on a Ray cluster."""

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.common import check_device, worker_count
from search.cli.session import Session
from search.errors import BadInput

if TYPE_CHECKING:
    from search.launch.supervisor import Launcher

RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Run workers as actors of this Ray cluster: auto, or host:port.",
    ),
]
CpusPerWorker = Annotated[
    float | None, typer.Option(min=0.1, help="Cores that Ray reserves. Default: --threads.")
]
GpusPerWorker = Annotated[
    float | None, typer.Option(min=0, help="GPUs that Ray reserves. Default: 1 for a GPU device.")
]


def local_launcher(
    session: Session, workers: int | None, threads: int, device: str
) -> "contextlib.AbstractContextManager[Launcher]":
    """Workers as processes of this machine; they load while this process opens the study."""
    from search.launch.local import LocalLauncher

    check_device(device)
    count = worker_count(workers, threads)
    return contextlib.closing(LocalLauncher(session.data_dir, count, threads))


def ray_launcher(
    session: Session,
    address: str,
    workers: int | None,
    threads: int,
    device: str,
    cpus: float | None,
    gpus: float | None,
) -> "contextlib.AbstractContextManager[Launcher]":
    """Workers as actors of a cluster; its nodes must have the device, not this machine."""
    try:
        from search.launch.ray_cluster import WorkerResources, connect
    except ImportError:
        raise BadInput(
            "--ray: Ray is not installed; pip install 'makemore-search[cluster]'"
        ) from None
    resources = WorkerResources(cpus or threads, float(device != "cpu") if gpus is None else gpus)
    return connect(address, session.storage_url, resources, workers)
