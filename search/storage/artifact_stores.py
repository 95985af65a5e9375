"""Stores of model files for every host: a directory that all of them mount, or an S3 bucket.

Both use Optuna's artifact stores. Every failure is an OSError with a short message, as with a disk.
Credentials come from the environment alone and appear in no message.
"""

import contextlib
import errno
import functools
import io
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from search.errors import BadInput
from search.system.processes import HOST

BUCKET = re.compile(r"s3://([A-Za-z0-9][\w.-]*)(?:/([^?#\s]+))?")
CONNECT_SECONDS, READ_SECONDS, TRIES = 2, 5, 2
"""For S3: two calls without an answer must fit into a worker's lease, which the worker cannot renew
during them; callers that must write retry anyway."""


class ArtifactStore(Protocol):
    """Named files in folders, each whole or absent; every method may raise OSError."""

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none of this name."""

    def write(self, name: str, content: bytes) -> None:
        """Writes a file; returns once every host can read it."""

    def remove(self, name: str) -> None:
        """Deletes a file if it exists."""

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder."""

    def clear(self, folder: str) -> None:
        """Deletes a folder with all its files."""


@contextmanager
def _ignore_unsupported() -> Iterator[None]:
    """Ignores the error of network and desktop mounts that do not support fsync."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise


class DirectoryStore:
    """Files below a directory that every host mounts at the same path."""

    def __init__(self, root: Path) -> None:
        from optuna.artifacts import FileSystemArtifactStore  # it imports boto3, where that is

        self._root, self._files = root, FileSystemArtifactStore(root)

    def read(self, name: str) -> bytes | None:
        from optuna.artifacts.exceptions import ArtifactNotFound

        try:
            with self._files.open_reader(name) as file:
                return file.read()
        except ArtifactNotFound:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Writes a temporary file, then renames it; Optuna's store writes in place."""
        path = self._root / name
        path.parent.mkdir(exist_ok=True)  # the root itself may be a mount that is gone
        temporary = f"{name}.{HOST.split()[0]}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            self._files.write(temporary, io.BytesIO(content))
            with (self._root / temporary).open("rb") as file, _ignore_unsupported():
                os.fsync(file.fileno())
            (self._root / temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                (self._root / temporary).unlink()
            raise

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        return [path.name for path in (self._root / folder).glob("*")]

    def clear(self, folder: str) -> None:
        if (self._root / folder).is_dir():
            shutil.rmtree(self._root / folder)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise OSError(re.sub(r"//[^/@\s]*@", "//", str(error))) from None


class S3Store:
    """Objects in an S3 bucket, of AWS or of another server (AWS_ENDPOINT_URL)."""

    @_as_os_errors()
    def __init__(self, bucket: str, prefix: str) -> None:
        import boto3
        from botocore.config import Config
        from optuna.artifacts import Boto3ArtifactStore

        client_config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
        )
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client = boto3.Session().client("s3", config=client_config)
        self._objects = Boto3ArtifactStore(bucket, self._client)

    @_as_os_errors()
    def read(self, name: str) -> bytes | None:
        from optuna.artifacts.exceptions import ArtifactNotFound

        try:
            with contextlib.closing(self._objects.open_reader(self._prefix + name)) as body:
                return body.read()
        except ArtifactNotFound:
            return None

    @_as_os_errors()
    def write(self, name: str, content: bytes) -> None:
        self._objects.write(self._prefix + name, io.BytesIO(content))

    @_as_os_errors()
    def remove(self, name: str) -> None:
        self._objects.remove(self._prefix + name)

    @_as_os_errors()
    def names(self, folder: str) -> list[str]:
        start = f"{self._prefix}{folder}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=start
        )
        found = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return [key.removeprefix(start) for key in found]

    def clear(self, folder: str) -> None:
        for name in self.names(folder):
            self.remove(f"{folder}/{name}")


@functools.cache
def open_store(location: str) -> ArtifactStore:
    """The store at a location that `validate_location` returned, perhaps on another host."""
    bucket = BUCKET.fullmatch(location)
    if bucket is None:
        return DirectoryStore(Path(location))
    try:
        return S3Store(bucket[1], bucket[2] or "")
    except ImportError:
        raise BadInput(
            f"artifacts {location}: needs boto3; install this program with its extra `s3`"
        ) from None


def validate_location(location: str) -> str:
    """The location in a form that holds on every host, after a test file was written and read.

    Raises:
        BadInput: it is no directory or bucket, or cannot be written now; no test file stays there.
    """
    location = _absolute(location)
    name = f".probe-{secrets.token_hex(8)}"
    try:
        store = open_store(location)
        store.write(name, b"probe")
        content = store.read(name)
        store.remove(name)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise BadInput(
            f"artifacts {location}: cannot be used from here ({reason[:200]}); give a directory "
            "or bucket that exists and can be written"
        ) from None
    if content != b"probe":
        raise BadInput(f"artifacts {location}: does not keep what is written to it")
    return location


def _absolute(location: str) -> str:
    if "://" in location:
        bucket = location.rstrip("/")
        if BUCKET.fullmatch(bucket):
            return bucket
        raise BadInput(
            "artifacts: give a directory, or s3://BUCKET/PREFIX with nothing else in it; "
            "credentials and the server's address come from the environment"
        )
    path = Path(location).absolute()
    if not (location and path.is_dir()):  # not made: where a mount is missing, that would hide it
        raise BadInput(f"artifacts {path}: no such directory here; mount it, or make it")
    return str(path)
