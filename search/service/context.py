"""What the service's routes share: the storage, the data directory, who may reach it."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import CapacityLimiter
from fastapi import Depends, Request

from search.dashboard.app import Access
from search.paths import DataDir
from search.service.calls import StudyPlace
from search.service.feed import Feed
from search.service.helper import Helper
from search.service.notifier import Notifications
from search.service.shared_answers import SharedAnswers
from search.service.watch import Watch
from search.storage.database import Storage
from search.study.study import StoredStudy

QUICK_SECONDS = 60.0
"""How long samples, a report or a corpus' description may take."""
MAX_PARSED = 2
"""Uploads that are parsed at the same time, since each takes memory."""
TOKEN_SECONDS = 1.0
"""How long a token that is revoked may still read. What it may change is looked up each time."""
HEALTH_THREADS = 2
"""For those who ask how the service does, so that they wait for no other request."""
SLOW_SECONDS = 600.0
"""How long a preview or a test may take."""


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
    artifacts: str | None = None
    """The shared place of the model files of new studies; None: each host's data directory."""
    notifications: Notifications | None = None
    """How webhooks are delivered; None: not at all."""

    def __post_init__(self) -> None:
        self.shared_answers = SharedAnswers()
        self.watch = Watch(self.storage, self.shared_answers)
        self.feed = Feed(self.storage, self.watch)
        self.known_tokens = SharedAnswers(max_seconds=TOKEN_SECONDS, max_overdue_seconds=0.0)
        self.quick_helper = Helper(self.threads, QUICK_SECONDS)
        self.slow_helper = Helper(self.threads, SLOW_SECONDS)
        self.job_requested = threading.Event()
        self.parsing = asyncio.Semaphore(MAX_PARSED)
        self.health_threads = CapacityLimiter(HEALTH_THREADS)
        self.little_curves: dict[str, tuple[int, str]] = {}
        """By a study's uid: its number of complete trials, and its picture in the list."""

    def place_of(self, study: StoredStudy) -> StudyPlace:
        """Where another process finds a study."""
        return StudyPlace(self.storage_url, self.data_dir, study.uid)

    def redacted(self, text: str) -> str:
        """A text without the places of this machine that it names."""
        root = self.data_dir.root
        for place in (self.storage.redacted_url, str(root.resolve()), str(root)):
            if len(place) > 1:
                text = text.replace(place, "…")
        return text

    def close(self) -> None:
        """Ends the processes that requests have started."""
        self.quick_helper.close()
        self.slow_helper.close()

    @property
    def processes(self) -> int:
        """How many processes a confirmation may use."""
        return max(1, self.workers)


def context_of(connection: Any) -> ServiceContext:
    """The context of a request's application."""
    context: ServiceContext = connection.app.state.context
    return context


async def _context(request: Request) -> ServiceContext:  # a plain function would get a thread
    return context_of(request)


Context = Annotated[ServiceContext, Depends(_context)]
"""A parameter of a route: the context."""
