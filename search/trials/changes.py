"""What was changed over HTTP, when, and with whose token; these records outlive their study."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from search.formatting import iso_time
from search.retry import retry_storage
from search.storage import tables
from search.storage.database import Storage
from search.study.study import StoredStudy

MAX_SHOWN = 100


@dataclass(frozen=True)
class ChangeView:
    """One change: what was asked for, and with which token."""

    action: str
    token: str
    made_at: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Author:
    """Whose token a change is made with; `token_id` is None where it is none of the storage's."""

    name: str
    token_id: str | None


def record(
    storage: Storage, author: Author, action: str, study: StoredStudy | None, **details: Any
) -> None:
    """Records a change before it is made, so that none is without a record."""
    with storage.write() as connection:
        uid, name = (None, None) if study is None else (study.uid, study.name)
        insert(storage, connection, author, action, uid, name, **details)


def insert(
    storage: Storage,
    connection: Connection,
    author: Author,
    action: str,
    study_uid: str | None,
    study_name: str | None,
    **details: Any,
) -> None:
    """Records a change in the transaction that makes it."""
    connection.execute(
        tables.changes.insert().values(
            id=secrets.token_hex(16),
            study_uid=study_uid,
            study_name=study_name,
            token_id=author.token_id,
            token_name=author.name,
            action=action,
            details={key: value for key, value in details.items() if value is not None},
            made_at=storage.now(),
        )
    )


@retry_storage
def of_study(storage: Storage, study: StoredStudy) -> list[ChangeView]:
    """The last changes of a study, the latest first."""
    c = tables.changes
    query = select(c).where(c.c.study_uid == study.uid).order_by(c.c.made_at.desc())
    with storage.read() as connection:
        rows = connection.execute(query.limit(MAX_SHOWN)).all()
    return [
        ChangeView(row.action, row.token_name, iso_time(row.made_at), row.details) for row in rows
    ]


def studies_created_by(connection: Connection, token_id: str) -> list[Any]:
    """The studies that were created with a token and still exist: rows of `makemore_studies`."""
    c, s = tables.changes, tables.studies
    created = select(c.c.study_uid).where(c.c.token_id == token_id, c.c.action == "create")
    return list(connection.execute(select(s).where(s.c.uid.in_(created))).all())


def bytes_uploaded_by(connection: Connection, token_id: str) -> int:
    """The bytes of the corpora that were uploaded with a token."""
    u = tables.uploads
    query = select(func.coalesce(func.sum(u.c.size), 0)).where(u.c.token_id == token_id)
    return int(connection.execute(query).scalar_one())
