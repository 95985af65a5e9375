"""URLs of databases: checked before anything is touched, shown without a password."""

from pathlib import Path
from urllib.parse import quote, unquote, urlencode

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    NoSuchModuleError,
)
from sqlalchemy.util import asbool

from search.errors import StorageUnavailable


def parse_url(raw: str) -> URL:
    """Checks a storage URL without touching the database."""
    try:
        url = make_url(raw)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise StorageUnavailable(
            "storage: not a database URL; give sqlite:///PATH or postgresql+psycopg://HOST/NAME"
        ) from None
    except ImportError as error:
        raise StorageUnavailable(f"storage: its driver is not installed ({error.name})") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageUnavailable(
            f"storage: {url.get_backend_name()} is not supported; use SQLite or PostgreSQL"
        )
    _check_options(raw, url)
    return url


DRIVER_OPTIONS = {
    "uri",
    "timeout",
    "isolation_level",
    "detect_types",
    "check_same_thread",
    "cached_statements",
}
"""What a SQLite URL may tell Python's sqlite3, as SQLAlchemy documents it."""

URI_OPTIONS = {"mode", "cache", "immutable", "nolock", "psow", "vfs"}
"""What it may tell SQLite besides, with `uri=true`."""


def _check_options(raw: str, url: URL) -> None:
    """Refuses unknown options of a file's URL: a question mark in a path would begin one."""
    if url.get_backend_name() != "sqlite":
        return
    words = [word for word in raw.partition("?")[2].split("&") if word]
    known = DRIVER_OPTIONS | (URI_OPTIONS if _is_uri(url) else set())
    unknown = next((word for word in words if word.partition("=")[0] not in known), None)
    if unknown is None:
        return
    if unknown.partition("=")[0] in URI_OPTIONS:
        remedy = "it needs uri=true beside it"
    else:
        remedy = "give sqlite:///PATH, and in PATH write %3F for a question mark"
    raise StorageUnavailable(f"storage {redacted_url(url)}: no such option: {unknown}; {remedy}")


def _is_uri(url: URL) -> bool:
    return asbool(url.query.get("uri", False))


def redacted_url(url: URL) -> str:
    """A URL for people: without a password, wherever in it one stands."""
    hidden = {name: "***" for name in ("password", "sslpassword") if name in url.query}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL, None for another database; of `file:PATH` too, with `uri=true`."""
    if url.get_backend_name() != "sqlite":
        return None
    in_memory = url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"
    if in_memory or url.database is None:
        raise StorageUnavailable("storage sqlite://: a database in memory is lost; give a file")
    if not (_is_uri(url) and url.database.startswith("file:")):
        return Path(url.database)
    place = url.database.removeprefix("file:")
    if place.startswith("//"):  # an authority, which is empty or localhost
        place = "/" + place.removeprefix("//").partition("/")[2]
    return Path(unquote(place))


def plain_url(url: URL, path: Path) -> URL:
    """The URL of a SQLite file without options, to create it."""
    return url.set(database=str(path), query={})


def sqlite_uri(url: URL) -> str:
    """The URI to open an existing SQLite file by: SQLite must not create one that was removed."""
    options = {"mode": "rw"} | {
        name: str(value) for name, value in url.query.items() if name in URI_OPTIONS
    }
    return f"file:{quote(str(sqlite_path(url)))}?{urlencode(options)}"
