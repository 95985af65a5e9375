"""An optional cache of compiled kernels on disk; any error in it leads to compilation.

Numba's own cache raises errors (an empty file, a full disk, a directory of another user), and runs
machine code in which a bit has changed. Here every file holds a hash of its content; a damaged one
is replaced, and one that cannot be read or written is ignored. The first problem in a process is
logged in one line.

A file holds a pickle, as numba's does, and machine code: loading it is running it. So it is only
read if it and its directory belong to root, to this user or to the owner of the program's own
files, and not everybody may write to them. The hash finds damage, no intention.
"""

import contextlib
import functools
import hashlib
import inspect
import logging
import os
import pickle
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import platformdirs
from numba.core import config, serialize
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult

log = logging.getLogger(__name__)

HASH_BYTES = 32
_dumps: Any = serialize.dumps  # numba has types, though not everywhere
_rebuild: Any = CompileResult._rebuild
_config: Any = config
ADVICE = "name a directory of yours that can be written in NUMBA_CACHE_DIR to keep them"


class KernelCache(_Cache):
    """The cache of one kernel, with the interface that numba's dispatcher uses."""

    _has_warned = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self._source = Path(inspect.getfile(function)).absolute()
        name = function.__qualname__.replace("<", "").replace(">", "")
        self._base = f"{self._source.stem}.{name}"
        self._problem: str | None = None

    @property
    def cache_path(self) -> str | None:
        """The directory that is searched first."""
        return next((str(each) for each in _directories(self._source)), None)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled kernel for these types, or None."""
        target.refresh()
        self._problem = None
        for directory in _directories(self._source):
            path = directory / self._name(signature, target.codegen())
            try:
                compiled = self._read(path, target)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except Exception as error:  # noqa: BLE001  a cache must not end the program
                self._problem = self._problem or f"{path}: cannot be used ({_describe(error)})"
                continue
            if compiled is not None:
                return compiled
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Writes a compiled kernel into the first directory that can be written."""
        problems = []
        for directory in _directories(self._source):
            try:
                self._write(directory / self._name(signature, compiled.codegen), compiled)
            except Exception as error:  # noqa: BLE001  as above
                problems.append(f"{directory}: {_describe(error)}")
            else:
                if self._problem is not None:
                    self._warn_once(f"{self._problem}; compiled anew")
                return
        reasons = "; ".join(problems) or "there is no home directory"
        self._warn_once(f"cannot be kept, so each start compiles them ({reasons}); {ADVICE}")

    def _warn_once(self, line: str) -> None:
        if not KernelCache._has_warned:
            KernelCache._has_warned = True
            log.warning("compiled kernels: %s", line)

    def enable(self) -> None:
        """Numba's interface; the cache is always enabled."""

    def disable(self) -> None:
        """Numba's interface."""

    def flush(self) -> None:
        """Numba's interface; only `recompile` calls it."""

    def _name(self, signature: Any, codegen: Any) -> str:
        """The file name, the same for all versions of the source, so that a new one replaces it."""
        versions = (numba.__version__, llvmlite.__version__)
        key = hashlib.sha256(repr((signature, codegen.magic_tuple(), versions)).encode())
        return (
            f"{self._base}.py{sys.version_info[0]}{sys.version_info[1]}-{key.hexdigest()[:16]}.nbc"
        )

    def _read(self, path: Path, target: Any) -> Any:
        """The kernel in a file; None if it is of another version of the source."""
        _check_trusted(path.parent.stat(), self._source)
        with path.open("rb") as file:
            _check_trusted(os.fstat(file.fileno()), self._source)
            content = file.read()
        recorded, source = content[:HASH_BYTES], content[HASH_BYTES : 2 * HASH_BYTES]
        if hashlib.sha256(content[HASH_BYTES:]).digest() != recorded:
            raise ValueError("it is damaged")
        if source != _hash_of(self._source):
            return None
        parts = pickle.loads(content[2 * HASH_BYTES :])  # noqa: S301  see the module's docstring
        return _rebuild(target, *parts)

    def _write(self, path: Path, compiled: Any) -> None:
        directory = path.parent
        mode = 0o777 if directory.name == "__pycache__" else 0o755  # that is Python's own
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        _check_trusted(directory.stat(), self._source)
        content = _hash_of(self._source) + _dumps(compiled._reduce())
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with os.fdopen(file, "wb") as opened:
                opened.write(hashlib.sha256(content).digest() + content)
            if path.is_dir():
                path.rmdir()
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def _directories(source: Path) -> Iterator[Path]:
    """The directories in which files of this kernel are searched, in order; they need not exist.

    Without a home directory the user has none: `~` would be a directory of that name.
    """
    inner = f"{source.parent.name}-{hashlib.sha256(bytes(source.parent)).hexdigest()[:16]}"
    named = _config.CACHE_DIR
    if not named:
        yield source.parent / "__pycache__"
        named = platformdirs.user_cache_dir("makemore-search")
        if not Path(named).is_absolute():
            return
    with contextlib.suppress(RuntimeError):  # `~` without a home directory
        yield Path(named).expanduser().absolute() / inner


def _check_trusted(found: os.stat_result, source: Path) -> None:
    """Raises PermissionError if somebody may write here who may not write the program's files."""
    if not hasattr(os, "geteuid"):
        return
    program = source.parent.stat()
    if found.st_uid not in (0, os.geteuid(), program.st_uid):
        raise PermissionError("it belongs to somebody else")
    if found.st_mode & ~program.st_mode & stat.S_IWOTH:
        raise PermissionError("anybody may write to it")


@functools.cache
def _hash_of(source: Path) -> bytes:
    return hashlib.sha256(source.read_bytes()).digest()


def _describe(error: Exception) -> str:
    message = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(message).splitlines()[0][:100]
