"""Where processes look for code: never in the directory in which a verb is called."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def without_working_directory() -> Iterator[None]:
    """Removes the working directory from the import path of this process and those it starts.

    `python -m` and `python -c` put the working directory first, before the standard library:
    a file `types.py` in it would be imported. Python's multiprocessing starts its processes
    with `-c`, and gives them this process's path as well. An empty entry of PYTHONPATH,
    or a dot, means the same; a directory that it names by its whole path is what its owner means.
    """
    path, environment = list(sys.path), dict(os.environ)
    directory = _working_directory()
    named = _named(environment.get("PYTHONPATH", ""), directory)
    sys.path[:] = _without(directory, path, named)
    os.environ |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(named)}
    try:
        yield
    finally:
        sys.path[:] = path
        for name in ("PYTHONSAFEPATH", "PYTHONPATH"):
            os.environ.pop(name)
            if name in environment:
                os.environ[name] = environment[name]


def _working_directory() -> str | None:
    try:
        return os.path.realpath(Path.cwd())
    except OSError:  # it was removed
        return None


def _named(value: str, directory: str | None) -> list[str]:
    """The absolute paths that PYTHONPATH names, without the working directory."""
    parts = [part for part in value.split(os.pathsep) if part]
    return [
        part if Path(part).is_absolute() else f"{directory}{os.sep}{part}"
        for part in parts
        if Path(part).is_absolute() or (directory and os.path.realpath(part) != directory)
    ]


def _without(directory: str | None, path: list[str], named: list[str]) -> list[str]:
    """A search path without the working directory before the standard library."""
    library = str(Path(os.__file__).parent)
    end = path.index(library) if library in path else len(path)
    first = [part for part in path[:end] if part in named or not _leads_to(part, directory)]
    return [*first, *path[end:]]


def _leads_to(part: str, directory: str | None) -> bool:
    """Whether an entry of a search path is the working directory, or relative to it."""
    return not Path(part).is_absolute() or os.path.realpath(part) == directory
