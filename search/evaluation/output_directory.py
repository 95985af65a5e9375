"""A directory of results that is written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.errors import BadInput


@contextmanager
def output_directory(target: Path) -> Iterator[Path]:
    """Yields a temporary directory, which becomes `target` if the block ends without an error.

    Raises:
        BadInput: the directory exists and is not empty, or cannot be written.
    """
    target = target.absolute()
    _check(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.replace(target)  # an empty directory may be there
    except OSError as error:
        raise BadInput(f"--output {target}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(target: Path) -> None:
    if target.is_dir():
        if target.samefile(Path.cwd()):
            raise BadInput(f"--output {target}: is the working directory; give a new one")
        if not os.access(target, os.R_OK | os.W_OK):
            raise BadInput(f"--output {target}: cannot be read or written")
        if any(target.iterdir()):
            raise BadInput(
                f"--output {target}: is not empty; give a directory that is new or empty"
            )
    elif os.path.lexists(target):
        raise BadInput(f"--output {target}: is a file; give a directory that is new or empty")
    elif not target.parent.is_dir():
        raise BadInput(f"--output {target}: the directory above it does not exist")
