"""Classifies and describes errors of the file system."""

import errno
import os
import secrets
from pathlib import Path

from search.errors import BadInput

PERMANENT = {
    getattr(errno, name)
    for name in (
        *("EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "EINVAL"),
        *("EILSEQ", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EFBIG", "EMLINK", "EXDEV", "ENXIO"),
        "ENODEV",
    )
    if hasattr(errno, name)
}
"""Errors that do not pass by themselves; a disk or a network that fails may come back."""


def is_transient(error: OSError) -> bool:
    """Whether an error may pass by itself."""
    return error.errno not in PERMANENT


def describe(error: OSError) -> str:
    """Describes an error and its file in a few words."""
    problem = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{problem} ({error.filename})" if error.filename else problem


def ensure_writable(directory: Path) -> None:
    """Raises BadInput if no file can be created in a directory, or in its closest existing parent.

    Leaves no file behind. Ignores transient errors, which a writer waits for.
    """
    existing = directory.absolute()
    try:
        while not os.path.lexists(existing) and existing != existing.parent:
            existing = existing.parent
        probe = existing / f".probe.{os.getpid()}.{secrets.token_hex(4)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOENT or not is_transient(error):
            raise BadInput(
                f"data directory: nothing can be written to {existing} ({error.strerror}); change "
                "its permissions, or give another with --data-dir"
            ) from None
