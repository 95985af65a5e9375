"""What an error of a file says: whether it may pass by itself, and what to do about it."""

import errno
import os
import secrets
from pathlib import Path

from search.errors import BadInput

LASTING = {
    getattr(errno, name)
    for name in (
        *("EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "EINVAL"),
        *("EILSEQ", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EFBIG", "EMLINK", "EXDEV", "ENXIO"),
        "ENODEV",
    )
    if hasattr(errno, name)
}
"""Somebody has to do something about these; a disk or a network that fails may come back."""


def may_pass(error: OSError) -> bool:
    """Whether it is worth waiting for."""
    return error.errno not in LASTING


def describe(error: OSError) -> str:
    """What is wrong and where, in a few words."""
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{what} ({error.filename})" if error.filename else what


def ensure_writable(directory: Path) -> None:
    """Raises BadInput unless files can be made in a directory, or in what it would be made in.

    Nothing is left there. An error that may pass is none: whoever writes waits for it.
    """
    place = directory.absolute()
    try:
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        probe = place / f".probe.{os.getpid()}.{secrets.token_hex(4)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOENT or not may_pass(error):
            raise BadInput(
                f"data directory: nothing can be written to {place} ({error.strerror}); make it "
                "yours to write, or give another with --data-dir"
            ) from None
