"""A study's model files: a directory of this machine, and a store for every host if there is one.

The directory is where files are written and read; what is put on the shelf goes to the store as
well, and what is missing here, or is not what was recorded, comes from there. Without a store all
this is the directory alone.
"""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from makemore_core.errors import CheckpointError
from search.storage.artifact_stores import ArtifactStore, open_store

R = TypeVar("R")
log = logging.getLogger(__name__)


class StudyFiles:
    """The files of one study; a file's name is its own within the study."""

    def __init__(self, directory: Path, location: str | None) -> None:
        """`directory` is named after the study's uid, which is its folder in the store as well."""
        self._directory, self._location = directory, location
        self._folder = directory.name

    def put(self, path: Path) -> None:
        """Stores a file that was written here; returns once every host can read it.

        Raises:
            OSError: the store cannot be reached or written.
        """
        if self._location is not None:
            self._store.write(self._id(path.name), path.read_bytes())

    def put_all(self) -> None:
        """Stores every file that is here; of a study that had no store until now."""
        for path in self._directory.glob("*.safetensors"):
            self.put(path)

    def load(self, read: Callable[[Path, str], R], path: Path, sha256: str) -> R:
        """What `read` makes of a file: of this machine's, or if that will not do, of the store's.

        Raises:
            CheckpointError: neither is there, as it was recorded.
        """
        try:
            return read(path, sha256)
        except CheckpointError:
            if self._location is None or not self._fetch(path):
                raise
        return read(path, sha256)

    def names(self, start: str = "") -> set[str]:
        """The names that begin so: of files here, and in the store as far as it answers."""
        here = {path.name for path in self._directory.glob(f"{start}*.safetensors")}
        if self._location is None:
            return here
        try:
            stored = self._store.names(self._folder)
        except OSError as error:
            log.warning("%s/%s is not looked through (%s)", self._location, self._folder, error)
            return here
        return here | {n for n in stored if n.startswith(start) and "/" not in n}

    def drop(self, name: str) -> None:
        """Removes a file here and in the store; if that does not answer, the next look finds it."""
        try:
            (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s stays here (%s)", self._directory / name, error)
        if self._location is not None:
            try:
                self._store.remove(self._id(name))
            except OSError as error:
                log.warning("%s/%s stays there (%s)", self._location, self._id(name), error)

    def clear(self) -> None:
        """Removes all of it, here and in the store; the study has been deleted."""
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._location is not None:
            try:
                self._store.clear(self._folder)
            except OSError as error:
                log.warning("%s/%s stays there (%s)", self._location, self._folder, error)

    def _fetch(self, path: Path) -> bool:
        """Replaces a file here by the store's; whether the store has it."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            content = self._store.read(self._id(path.name))
            if content is None:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {path.name}: not here, and not to be had from {self._location} "
                f"({error}); try again"
            ) from None
        return True

    def _id(self, name: str) -> str:
        return f"{self._folder}/{name}"

    @property
    def _store(self) -> ArtifactStore:
        assert self._location is not None
        return open_store(self._location)
