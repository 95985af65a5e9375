"""The client: the studies and corpora of one service."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx
import tomli_w

from search.client.frames import frame
from search.client.html import studies_table
from search.client.study import Study
from search.client.transport import PATIENCE_SECONDS, Transport
from search.errors import BadInput

if TYPE_CHECKING:
    from pandas import DataFrame

StudyFile = str | os.PathLike[str] | Mapping[str, Any]
"""The text of a study file, the path of one, or its document."""


class Client:
    """A client of the service at an address; each call asks it anew.

    >>> Client("https://search.example", "s3cr3t")
    Client('https://search.example')
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = PATIENCE_SECONDS,
        http: httpx.Client | None = None,
    ) -> None:
        """Asks nothing yet.

        Args:
            token: as `token create` showed it; none for a service on this machine without tokens.
            timeout: seconds to wait for one answer.
            patience: seconds for which a request is repeated while the service does not answer.
            http: a client of httpx with settings of its own, such as a proxy.
        """
        self._transport = Transport(url, token, timeout, patience, http)

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def studies(self, state: str | None = None) -> list[dict[str, Any]]:
        """The status of every study, the oldest first; only those `open`, `done` or `closed`."""
        answer = self._transport.request("GET", "/studies", query={"state": state}).json()
        return list(answer)

    def frame(self, state: str | None = None) -> "DataFrame":
        """As `studies`, as a table of pandas."""
        return frame(self.studies(state))

    def study(self, name: str) -> Study:
        """A study.

        Raises:
            NotFound: the service has none of this name.
        """
        study = Study(self._transport, name)
        study.status()
        return study

    def submit(self, file: StudyFile) -> Study:
        """Creates a study, or goes on with the one that has the same definition.

        Args:
            file: the text of a study file, the path of one, or its document as a mapping. Its
                corpus is a built-in one, or the fingerprint of an upload.

        Raises:
            StudyFileError: with every mistake, each with its line.
            Refused: the service has a study of this name with another definition.
        """
        body = {"toml": _toml(file)}
        answer = self._transport.request("POST", "/studies", json=body, repeat=True).json()
        return Study(self._transport, answer["study"])

    def preview(self, file: StudyFile) -> dict[str, Any]:
        """What a study would cost, and its search space; creates nothing. Errors as of `submit`."""
        body, query = {"toml": _toml(file)}, {"dry_run": 1}
        answer = self._transport.request("POST", "/studies", query=query, json=body, repeat=True)
        return dict(answer.json())

    def corpora(self) -> list[dict[str, Any]]:
        """The built-in corpora, and those that were uploaded."""
        return list(self._transport.request("GET", "/corpora").json())

    def corpus(self, fingerprint: str) -> dict[str, Any]:
        """What is in a corpus, by its fingerprint or built-in name."""
        path = f"/corpora/{quote(fingerprint, safe='')}"
        return dict(self._transport.request("GET", path).json())

    def upload_corpus(
        self,
        words: str | bytes | os.PathLike[str],
        name: str | None = None,
        *,
        column: int | None = None,
        separator: str | None = None,
        count: int | None = None,
        drop_unusable: bool | None = None,
    ) -> dict[str, Any]:
        """Uploads a list of words; a study names it by the `fingerprint` of the answer.

        Args:
            words: the path of a file, or its content: one word on each line, or a table.
            column, separator, count, drop_unusable: as of `corpus`, for a table.
        """
        content, own_name = _content(words)
        layout = {"column": column, "separator": separator, "count": count}
        query = {"name": name or own_name, **layout, "drop_unusable": drop_unusable}
        answer = self._transport.request(
            "POST", "/corpora", query=query, content=content, repeat=True
        )
        return dict(answer.json())

    def _repr_html_(self) -> str:
        return studies_table(self.studies())


def _toml(file: StudyFile) -> str:
    if isinstance(file, str):
        return file
    if isinstance(file, Mapping):
        return tomli_w.dumps(dict(file))
    return _read(file).decode("utf-8", "replace")


def _content(words: str | bytes | os.PathLike[str]) -> tuple[bytes, str | None]:
    """What is uploaded, and the name that a file gives it."""
    if isinstance(words, str):
        return words.encode(), None
    if isinstance(words, bytes):
        return words, None
    return _read(words), Path(words).stem


def _read(path: os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{os.fspath(path)}: cannot be read ({error.strerror})") from None
