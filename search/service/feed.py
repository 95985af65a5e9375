"""Server-sent events of a study: one poll for all who listen to it."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from http import HTTPStatus

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from search.errors import NotFound, StorageLost
from search.finite import finite
from search.service.problems import Problem
from search.service.watch import Entry, Watch
from search.storage.database import Storage
from search.study import study
from search.trials import results

log = logging.getLogger(__name__)

SECONDS_BETWEEN_POLLS = 1.0
SECONDS_BETWEEN_COMMENTS = 15.0
"""After so long without an event a comment keeps the connection from being taken for a dead one."""
SECONDS_BETWEEN_CHECKS = 5.0
"""How often it is checked that a listener's token was not revoked."""
MAX_LISTENERS = 500
MAX_UNREAD = 1_000
"""Events that wait for a slow listener; older ones are dropped, and the next status shows all."""


class Feed:
    """The events of all studies that somebody listens to."""

    def __init__(self, storage: Storage, watch: Watch) -> None:
        self._storage, self._watch = storage, watch
        self._listeners: dict[str, list[_Listener]] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}

    def listen(self, entry: Entry, allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Events of a study, beginning with its status; ends when nobody works on it any more.

        Args:
            allowed: asked now and then whether the listener may still read.

        Raises:
            Problem: 503, too many listen already.
        """
        if sum(map(len, self._listeners.values())) >= MAX_LISTENERS:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MAX_LISTENERS} clients listen already; poll the status instead",
                {"Retry-After": "60"},
            )
        return self._events(entry, allowed)

    async def _events(
        self, entry: Entry, allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        listener, checked = _Listener(), time.monotonic()
        listener.add(_event("status", entry.body))
        if entry.is_at_rest:
            listener.add(END)
        else:
            self._listeners.setdefault(entry.uid, []).append(listener)
            if entry.uid not in self._polls:
                self._polls[entry.uid] = asyncio.create_task(self._poll(entry))
        try:
            event = b""
            while event != END:
                event = await listener.next()
                if time.monotonic() - checked > SECONDS_BETWEEN_CHECKS:
                    checked = time.monotonic()
                    if not await allowed():
                        return
                yield event
        finally:
            listeners = self._listeners.get(entry.uid, [])
            if listener in listeners:
                listeners.remove(listener)

    async def _poll(self, entry: Entry) -> None:
        """Reads a study as long as somebody listens to it, and it exists."""
        body, moment = entry.body, await run_in_threadpool(_now, self._storage)
        is_over = False
        try:
            while self._listeners.get(entry.uid) and not is_over:
                await asyncio.sleep(SECONDS_BETWEEN_POLLS)
                try:
                    body, moment, is_over = await self._send_news(entry, body, moment)
                except StorageLost as error:  # it may come back
                    log.warning("%s", error)
        finally:
            self._send(entry.uid, END)
            self._listeners.pop(entry.uid, None)
            self._polls.pop(entry.uid, None)

    async def _send_news(
        self, entry: Entry, body: bytes, moment: float
    ) -> tuple[bytes, float, bool]:
        """Sends what is new since a status and a moment; returns both as they are now, and whether
        nothing more will come."""
        try:
            now = await run_in_threadpool(self._watch.entry, entry.name)
            if now.uid != entry.uid:
                return body, moment, True
            if now.body != body:
                ended, moment = await run_in_threadpool(self._ended, entry.uid, moment)
                for event in (
                    *(_event("trial", trial) for trial in ended),
                    _event("status", now.body),
                ):
                    self._send(entry.uid, event)
        except NotFound:  # it was deleted
            return body, moment, True
        return now.body, moment, now.is_at_rest

    def _ended(self, uid: str, moment: float) -> tuple[list[bytes], float]:
        stored = study.by_uid(self._storage, uid)
        ended, last = results.trials_ended_since(self._storage, stored, moment)
        return [json.dumps(finite(asdict(trial))).encode() for trial in ended], last

    def _send(self, uid: str, event: bytes) -> None:
        for listener in self._listeners.get(uid, []):
            listener.add(event)


class _Listener:
    """One client; reads events at its own pace."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque(maxlen=MAX_UNREAD)
        self._added = asyncio.Event()

    def add(self, event: bytes) -> None:
        self._events.append(event)
        self._added.set()

    async def next(self) -> bytes:
        """The next event; a comment when there is none for long."""
        while not self._events:
            self._added.clear()
            try:
                async with asyncio.timeout(SECONDS_BETWEEN_COMMENTS):
                    await self._added.wait()
            except TimeoutError:
                return b": still here\n\n"
        return self._events.popleft()


def _now(storage: Storage) -> float:
    with storage.read() as connection:
        return float(connection.execute(select(storage.now())).scalar_one())


def _event(name: str, data: bytes) -> bytes:
    """An event whose data is JSON in one line."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


END = _event("end", b"{}")
