"""Shows how a study goes while somebody waits for it: in a notebook, in a terminal, or not."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from search.client.html import Status, status_line, study_table

Show = Callable[[Status], None]


@contextmanager
def display(progress: bool) -> Iterator[Show]:
    """Gives what is called with each status."""
    notebook = _notebook_display() if progress else None
    if notebook is not None:
        yield notebook
    elif progress and sys.stderr.isatty():
        yield _on_one_line
        print(file=sys.stderr)
    else:
        yield lambda _status: None


def _on_one_line(status: Status) -> None:
    line = "".join(c if c.isprintable() else "?" for c in status_line(status))
    print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


def _notebook_display() -> Show | None:
    """Replaces one output of a notebook's cell; None where this is no notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    handle: Any = None

    def show(status: Status) -> None:
        nonlocal handle
        page: Any = HTML(study_table(status))  # type: ignore[no-untyped-call]
        if handle is None:
            handle = display(page, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(page)

    return show
