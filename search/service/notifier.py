"""Delivers what the outbox holds: a thread of the service, and nobody else, sends webhooks."""

import base64
import json
import logging
import os
import secrets
import stat
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from search.errors import BadInput, SearchError
from search.paths import DataDir
from search.service import webhooks
from search.service.webhooks import DeliveryFailed, Message
from search.spec.sections import NotifySection
from search.storage.database import Storage
from search.trials import outbox
from search.trials.outbox import OutboxRow

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
CLOSING_SECONDS = 2.0
"""How long the end of the service waits for a try; one that was cut is made again."""
PREFIX = "whsec_"
"""What Standard Webhooks has a key begin with, before its base64."""


@dataclass(frozen=True)
class Notifications:
    """How a service delivers."""

    key: bytes
    default: NotifySection
    """Whom to tell of studies that name nobody themselves."""
    allow_private: bool = False
    """Whether a webhook may lead to an address of a private network."""


def read_default(path: Path | None) -> NotifySection:
    """The table `[notify]` of a file; without one, nobody is told.

    Raises:
        BadInput: the file cannot be read, or has mistakes; the message has no address in it.
    """
    if path is None:
        return NotifySection()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return NotifySection.model_validate(document["notify"])
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise BadInput(f"--notify {path}: cannot be read ({reason})") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"--notify {path}: not TOML: {error}") from None
    except KeyError:
        raise BadInput(f"--notify {path}: has no table [notify]") from None
    except ValidationError as error:
        wrong = "; ".join(f"notify.{e['loc'][0]}: {e['msg']}" for e in error.errors() if e["loc"])
        raise BadInput(f"--notify {path}: {wrong or 'notify is not a table'}") from None


def signing_key(data_dir: DataDir) -> bytes:
    """The service's key, made at the first call; a receiver checks signatures with it.

    Raises:
        BadInput: its file cannot be read or written, is damaged, or is open to other users.
    """
    path = data_dir.webhook_key
    try:
        _create_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise BadInput(f"{path}: other users can read the key; `chmod 600` it")
        text = path.read_text(encoding="ascii").strip()
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be used ({error.strerror})") from None
    except ValueError:
        key = b""
    if len(key) < 24:
        raise BadInput(f"{path}: holds no key; remove it, and the service makes another")
    return key


def _create_key(path: Path) -> None:
    """Makes the file whole or not at all; of several processes at once, one makes it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    text = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, f"{text}\n".encode())
        os.fsync(file)
        os.link(temporary, path)
    except FileExistsError:  # another process was first
        return
    finally:
        os.close(file)
        temporary.unlink()


@contextmanager
def delivering(storage: Storage, notifications: Notifications) -> Iterator[None]:
    """Delivers in a thread until the block ends; a try that is under way then is made again."""
    ending = threading.Event()
    thread = threading.Thread(
        target=_deliver_until, args=(storage, notifications, ending), name="notifier", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(CLOSING_SECONDS)


def _deliver_until(storage: Storage, notifications: Notifications, ending: threading.Event) -> None:
    stale_discarded = False
    while not ending.is_set():
        try:
            if not stale_discarded:
                outbox.discard_stale(storage)
                stale_discarded = True
            while not ending.is_set() and deliver_next(storage, notifications):
                pass
        except SearchError as error:  # the storage is away; what is due stays due
            log.warning("webhooks: %s", error)
        except Exception:  # a mistake of ours must not end the thread in silence
            log.exception("webhooks: an event could not be delivered; it is tried again")
        ending.wait(POLL_SECONDS)


def deliver_next(storage: Storage, notifications: Notifications) -> bool:
    """Makes one try at the event that is due; returns False if none is."""
    event = outbox.claim_due(storage)
    if event is None:
        return False
    url = _recipient(event, notifications)
    if url is None:
        outbox.record_unwanted(storage, event)
        return True
    message = Message(event.id, body_of(event), int(time.time()))
    problem = None
    try:
        webhooks.send(url, notifications.key, message, allow_private=notifications.allow_private)
        log.info("webhook: study %s: %s: %s", event.study_name, event.event, webhooks.redacted(url))
    except DeliveryFailed as error:
        problem = str(error)
        log.warning("webhook: study %s: %s: %s", event.study_name, event.event, problem)
    outbox.record_delivery(storage, event, problem)
    return True


def _recipient(event: OutboxRow, notifications: Notifications) -> str | None:
    if event.url is not None:
        return event.url
    default = notifications.default
    return default.url if event.event in default.on else None


def body_of(event: OutboxRow) -> bytes:
    """The body of an event's webhook; the same at every try."""
    moment = datetime.fromtimestamp(event.created_at, UTC)
    document = {
        "type": f"study.{event.event}",
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"study": event.study_name, **event.data},
    }
    return json.dumps(document).encode()
