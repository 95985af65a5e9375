"""A study's model files: a local directory, and a store that every host can read, if there is one.

Files are written and read in the directory. A file that is uploaded is copied to the store; a file
that is missing locally, or has another hash than the recorded one, is downloaded from it.
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
    """The files of one study; a file's name is unique within the study."""

    def __init__(self, directory: Path, location: str | None) -> None:
        """`directory` has the study's uid as its name, which is also its folder in the store."""
        self._directory, self._location = directory, location
        self._folder = directory.name

    def upload(self, path: Path) -> None:
        """Copies a local file to the store; returns once every host can read it.

        Raises:
            OSError: the store cannot be reached or written.
        """
        if self._location is not None:
            self._store.write(self._id(path.name), path.read_bytes())

    def upload_all(self) -> None:
        """Copies every local file to the store, for a study that had none until now."""
        for path in self._directory.glob("*.safetensors"):
            self.upload(path)

    def load(self, read: Callable[[Path, str], R], path: Path, sha256: str) -> R:
        """The result of `read(path, sha256)` on the local file, or else on the store's.

        Raises:
            CheckpointError: neither has the recorded hash.
        """
        try:
            return read(path, sha256)
        except CheckpointError:
            if self._location is None or not self._download(path):
                raise
        return read(path, sha256)

    def names(self, start: str = "") -> set[str]:
        """The names with this beginning: of local files, and of the store's if it can be read."""
        local = {path.name for path in self._directory.glob(f"{start}*.safetensors")}
        if self._location is None:
            return local
        try:
            stored = self._store.names(self._folder)
        except OSError as error:
            log.warning("%s/%s cannot be listed (%s)", self._location, self._folder, error)
            return local
        return local | {n for n in stored if n.startswith(start) and "/" not in n}

    def delete(self, name: str) -> None:
        """Deletes a file locally and in the store; what cannot be deleted now stays listed."""
        try:
            (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s was not deleted (%s)", self._directory / name, error)
        if self._location is not None:
            try:
                self._store.remove(self._id(name))
            except OSError as error:
                log.warning("%s/%s was not deleted (%s)", self._location, self._id(name), error)

    def delete_all(self) -> None:
        """Deletes every file of a study that was deleted, locally and in the store."""
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._location is not None:
            try:
                self._store.clear(self._folder)
            except OSError as error:
                log.warning("%s/%s was not deleted (%s)", self._location, self._folder, error)

    def _download(self, path: Path) -> bool:
        """Replaces a local file by the store's; False if the store does not have it."""
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
                f"checkpoint {path.name}: not on this machine, and {self._location} cannot be read "
                f"({error}); try again"
            ) from None
        return True

    def _id(self, name: str) -> str:
        return f"{self._folder}/{name}"

    @property
    def _store(self) -> ArtifactStore:
        assert self._location is not None
        return open_store(self._location)
