"""Tokens of the service: named, with a scope and limits; stored hashed, shown once.

A token has 256 random bits, so that a plain SHA-256 of it cannot be reversed, and a lookup by the
hash tells nothing about another token by the time that it takes.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, select, update
from sqlalchemy.exc import IntegrityError

from search.errors import BadInput, NotFound
from search.retry import retry_storage
from search.service.scopes import LOOPBACK, TOKEN_FILE, WORDS
from search.storage import tables
from search.storage.database import Storage

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
RESERVED = (LOOPBACK, TOKEN_FILE)
PREFIX = "mms_"
"""How a token begins, so that scanners for secrets know one that was published by mistake."""
SESSION_SECONDS = 30 * 86400.0
LIMITS = ("studies", "trials", "memory", "corpus_bytes")
"""What a token may be limited in: studies and trials in all, bytes of memory of each worker, bytes
of uploaded corpora."""


@dataclass(frozen=True)
class Token:
    """A token as it is stored."""

    id: str
    name: str
    scope: str
    limits: Mapping[str, int]
    created_at: float
    revoked_at: float | None


def create(
    storage: Storage, name: str, scope: str, limits: Mapping[str, int] | None = None
) -> tuple[Token, str]:
    """Creates a token; returns it with its secret, which is stored nowhere.

    Raises:
        BadInput: the name is taken or none, or there is no such scope.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise BadInput(
            f"token {name}: no name for a token; give up to 64 letters, digits, dots, dashes"
            f" (and not {' or '.join(RESERVED)})"
        )
    if scope not in WORDS:
        raise BadInput(f"--scope {scope}: no scope; give one of {', '.join(WORDS)}")
    secret = PREFIX + secrets.token_urlsafe(32)
    row = tables.tokens.insert().values(
        id=secrets.token_hex(16),
        name=name,
        scope=scope,
        limits=dict(limits or {}),
        secret_sha256=_hashed(secret),
        created_at=storage.now(),
    )
    try:
        with storage.write() as connection:
            connection.execute(row)
    except IntegrityError:
        raise BadInput(
            f"token {name}: exists, or did before it was revoked; give another name"
        ) from None
    return _named(storage, name), secret


@retry_storage
def revoke(storage: Storage, name: str) -> Token:
    """Ends a token and its browsers' sessions; its name stays taken, as the history names it.

    Raises:
        NotFound: there is no such token.
    """
    token = _named(storage, name)
    t, s = tables.tokens, tables.sessions
    with storage.write() as connection:
        connection.execute(
            update(t)
            .where(t.c.id == token.id, t.c.revoked_at.is_(None))
            .values(revoked_at=storage.now())
        )
        connection.execute(delete(s).where(s.c.token_id == token.id))
    return _named(storage, name)


@retry_storage
def all_tokens(storage: Storage) -> list[Token]:
    """Every token, revoked ones too, the oldest first."""
    with storage.read() as connection:
        rows = connection.execute(select(tables.tokens).order_by(tables.tokens.c.created_at))
        return [_token(row) for row in rows]


@retry_storage
def exist(storage: Storage) -> bool:
    """Whether there is a token, or was one: revoking the last must not open the service."""
    with storage.read() as connection:
        return connection.execute(select(tables.tokens.c.id).limit(1)).first() is not None


@retry_storage
def find(storage: Storage, secret: str) -> Token | None:
    """The token with this secret, unless it was revoked."""
    t = tables.tokens
    query = select(t).where(t.c.secret_sha256 == _hashed(secret), t.c.revoked_at.is_(None))
    with storage.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _token(row)


@retry_storage
def begin_session(storage: Storage, token_id: str) -> str:
    """Begins a browser's session of a token; returns what its cookie holds."""
    s, secret = tables.sessions, secrets.token_urlsafe(32)
    with storage.write() as connection:
        connection.execute(delete(s).where(s.c.created_at < storage.now() - SESSION_SECONDS))
        row = {"secret_sha256": _hashed(secret), "token_id": token_id}
        connection.execute(s.insert().values(created_at=storage.now(), **row))
    return secret


@retry_storage
def of_session(storage: Storage, secret: str) -> Token | None:
    """The token that a session stands for, unless either has ended."""
    t, s = tables.tokens, tables.sessions
    query = (
        select(t)
        .join(s, s.c.token_id == t.c.id)
        .where(
            s.c.secret_sha256 == _hashed(secret),
            s.c.created_at > storage.now() - SESSION_SECONDS,
            t.c.revoked_at.is_(None),
        )
    )
    with storage.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _token(row)


@retry_storage
def end_session(storage: Storage, secret: str) -> None:
    """Ends a browser's session."""
    s = tables.sessions
    with storage.write() as connection:
        connection.execute(delete(s).where(s.c.secret_sha256 == _hashed(secret)))


def _named(storage: Storage, name: str) -> Token:
    with storage.read() as connection:
        row = connection.execute(select(tables.tokens).where(tables.tokens.c.name == name)).first()
    if row is None:
        raise NotFound(f"token {name}: there is none; `makemore-search token list` lists them")
    return _token(row)


def _token(row: Row[Any]) -> Token:
    return Token(row.id, row.name, row.scope, row.limits, row.created_at, row.revoked_at)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
