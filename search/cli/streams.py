"""The program's standard streams: an output that fails must not end the work.

Standard output holds the answer and nothing else, whatever libraries print: it is a copy of
descriptor 1, which itself leads to standard error from then on. What standard error does not take,
since its disk is full, its reader has left or has stopped, or its encoding lacks a character, is
dropped.
"""

import codecs
import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

WAIT_SECONDS = 1.0
"""Seconds for which a reader of standard error that has stopped is waited for, once."""


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Replaces the standard streams by those of this module; streams of tests stay."""
    before = sys.stdin, sys.stdout, sys.stderr
    _open_closed_descriptors()
    copy = None
    if (descriptor := _descriptor(sys.stderr, 2)) is not None:
        sys.stderr = _text(_Lenient(descriptor), sys.stderr)
    if (descriptor := _descriptor(sys.stdout, 1)) is not None:
        if sys.stdout is not None:
            sys.stdout.flush()
        copy = os.dup(descriptor)
        os.dup2(2, descriptor)
        sys.stdout = _text(_Whole(copy), sys.stdout)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        if copy is not None and descriptor is not None:
            os.dup2(copy, descriptor)
            os.close(copy)


def _open_closed_descriptors() -> None:
    """Opens the null device on them: else the next file opened would become standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115


def _descriptor(stream: TextIO | None, default: int) -> int | None:
    """The descriptor of a stream; None if it has none."""
    if stream is None:  # it was closed when the program began
        return default
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _text(raw: io.RawIOBase, before: TextIO | None) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    binary: Any = raw  # as Python itself does where nothing is to be buffered
    return io.TextIOWrapper(binary, encoding, errors=AS_ESCAPES, line_buffering=True)


class _Raw(io.RawIOBase):
    """A stream on a descriptor that it does not close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def _put(self, data: Any) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # another process made it non-blocking
            select.select([], [self._descriptor], [])
            return 0


class _Whole(_Raw):
    """Writes everything, or raises OSError."""

    def write(self, data: Any, /) -> int:
        done, of = 0, len(data)
        while done < of:
            done += self._put(data[done:])
        return of


class _Lenient(_Raw):
    """Writes what the reader takes, and drops the rest."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._timeout = WAIT_SECONDS

    def write(self, data: Any, /) -> int:
        done, of = 0, len(data)
        with contextlib.suppress(OSError):
            while done < of and self._is_ready():
                done += self._put(data[done : done + select.PIPE_BUF])  # so much never blocks
        return of

    def _is_ready(self) -> bool:
        ready = bool(select.select([], [self._descriptor], [], self._timeout)[1])
        self._timeout = WAIT_SECONDS if ready else 0.0
        return ready


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """A character that an encoding lacks: the byte that it stands for in a path, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.backslashreplace_errors(error)


AS_ESCAPES = "makemore-search-escapes"
codecs.register_error(AS_ESCAPES, _escaped)
