"""The options that every verb has, and what they open."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from search.paths import DataDir
from search.storage import Storage, create_storage, open_storage


@dataclass(frozen=True)
class Session:
    """One invocation of the program."""

    data_dir: DataDir
    storage_url: str
    json: bool
    quiet: bool
    debug: bool

    @classmethod
    def of(
        cls, data_dir: Path, storage: str | None, json: bool, quiet: bool, debug: bool
    ) -> "Session":
        place = DataDir(data_dir)
        return cls(place, storage or place.default_storage, json, quiet, debug)

    def open(self, *, writing: bool = False) -> Storage:
        """The storage, which must exist; and bear writing, where that is what follows."""
        return open_storage(self.storage_url, writing=writing)

    def create(self) -> Storage:
        """The storage, made if it does not exist."""
        return create_storage(self.storage_url)

    @property
    def console(self) -> Console:
        """Where people are told of progress: standard error."""
        return Console(stderr=True, highlight=False, soft_wrap=True)

    def answer(self, document: Mapping[str, Any] | list[Any], text: str) -> None:
        """The result on standard output: as one JSON document, or for people."""
        print(json.dumps(document, indent=1, allow_nan=False) if self.json else text)
        sys.stdout.flush()
