"""One invocation of the program: its common options, its storage, its output."""

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from rich.console import Console

from makemore_core.data.printable import printable
from search.errors import BadInput, SearchError
from search.finite import finite
from search.paths import DataDir

if TYPE_CHECKING:
    from search.storage.database import Storage


class _PlainConsole(Console):
    """Prints text from outside as it is: none of it is markup, and nothing in it moves the cursor.

    A name may hold brackets or colons, which rich takes for styles and emoji.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*[_lines(o) if isinstance(o, str) else o for o in objects], **options)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _expanded_data_dir(path: Path) -> Path:
    """A data directory with its `~` expanded, which shells do not do after `=`."""
    if not path.parts:
        raise BadInput("--data-dir: is empty; give a directory")
    try:
        str(path).encode()
        return path.expanduser()
    except UnicodeEncodeError:
        raise BadInput(f"--data-dir {path}: its name is not UTF-8; give another") from None
    except RuntimeError as error:
        raise BadInput(f"--data-dir {path}: {error}") from None


@dataclass(frozen=True)
class Session:
    """One invocation of the program; it closes at its end what it opened."""

    data_dir: DataDir
    storage_url: str
    json: bool
    quiet: bool
    debug: bool
    _opened: ExitStack = field(default_factory=ExitStack, repr=False)
    _output: TextIO = field(default_factory=lambda: sys.stdout, repr=False)

    @classmethod
    def from_options(
        cls, data_dir: Path, storage: str | None, json: bool, quiet: bool, debug: bool
    ) -> "Session":
        place = DataDir(_expanded_data_dir(data_dir))
        return cls(place, storage or place.default_storage, json, quiet, debug)

    def open(self, *, writing: bool = False) -> "Storage":
        """The storage, which must exist; with `writing`, also be writable."""
        from search.storage.database import open_storage

        return self._close_at_exit(open_storage(self.storage_url, writing=writing))

    def create(self) -> "Storage":
        """The storage, created if it does not exist."""
        from search.storage.database import create_storage

        return self._close_at_exit(create_storage(self.storage_url))

    def _close_at_exit(self, storage: "Storage") -> "Storage":
        self._opened.callback(storage.close)
        return storage

    def __enter__(self) -> Self:
        """Leaves standard output to `print_result`; what libraries print goes to standard error."""
        self._opened.enter_context(redirect_stdout(sys.stderr))
        return self

    def __exit__(self, *_error: object) -> None:
        self._opened.close()

    @property
    def console(self) -> Console:
        """The console for progress and messages: standard error."""
        return _PlainConsole(
            stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True
        )

    def print_result(self, document: Mapping[str, Any] | list[Any], text: str) -> None:
        """Prints the result to standard output: as one JSON document, or as text.

        Raises:
            SearchError: it could not be written.
        """
        result = json.dumps(finite(document), indent=1, allow_nan=False) if self.json else text
        if self._output.isatty():  # a file or a program gets every character as it is
            result = _lines(result)
        try:
            print(result, file=self._output, flush=True)
        except BrokenPipeError:  # its reader has closed it, as `head` does
            return
        except OSError as error:
            raise SearchError(
                f"standard output: cannot be written ({error.strerror}); the command itself "
                "is complete, and only its answer is lost"
            ) from None
