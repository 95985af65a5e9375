"""What the service's routes share: the storage, the data directory, who may reach it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from search.dashboard.app import Access
from search.paths import DataDir
from search.storage.database import Storage


@dataclass
class ServiceContext:
    """What a running service knows."""

    storage: Storage
    storage_url: str
    """As it was given, for processes that the service starts; it may hold a password."""
    data_dir: DataDir
    access: Access
    threads: int = 1
    """Of each worker, as `--threads`."""
    workers: int = 0
    """How many workers the service keeps."""
    workers_alive: Callable[[], int] = field(default=lambda: 0)

    @property
    def processes(self) -> int:
        """How many processes a confirmation may use."""
        return max(1, self.workers)


def context_of(connection: Any) -> ServiceContext:
    """The context of a request's application."""
    context: ServiceContext = connection.app.state.context
    return context


def _context(request: Request) -> ServiceContext:
    return context_of(request)


Context = Annotated[ServiceContext, Depends(_context)]
"""A parameter of a route: the context."""
