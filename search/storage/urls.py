"""URLs of databases: checked before anything is touched, shown without a password."""

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    NoSuchModuleError,
)

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


def _check_options(raw: str, url: URL) -> None:
    """In the URL of a file, where a question mark of its path would begin them unnoticed."""
    if url.get_backend_name() != "sqlite":
        return
    words = [word for word in raw.partition("?")[2].split("&") if word]
    unknown = [word for word in words if word.partition("=")[0] != "timeout"]
    if unknown:
        raise StorageUnavailable(
            f"storage {redacted_url(url)}: no such option: {unknown[0]}; "
            "give sqlite:///PATH, and in "
            "PATH write %3F for a question mark"
        )


def redacted_url(url: URL) -> str:
    """A URL for people: without a password, wherever in it one stands."""
    hidden = {name: "***" for name in ("password", "sslpassword") if name in url.query}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise StorageUnavailable("storage sqlite://: a database in memory is lost; give a file")
    return Path(url.database)
