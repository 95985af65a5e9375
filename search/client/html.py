"""What a notebook shows of studies: plain tables that follow the notebook's own colors."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Status = Mapping[str, Any]


def studies_table(studies: Iterable[Status]) -> str:
    """All studies, a row for each."""
    rows = [[each["study"], each["state"], _progress(each), _best(each)] for each in studies]
    return _table(["study", "state", "trials", "best dev loss"], rows)


def study_table(status: Status) -> str:
    """One study."""
    trials = ", ".join(f"{count} {state}" for state, count in status["trials"].items() if count)
    rows = [
        ["state", status["state"] + (f" ({status['ended_by']})" if status["ended_by"] else "")],
        ["budget", _progress(status)],
        ["trials", trials or "none yet"],
        ["best dev loss", _best(status)],
        ["workers", status["workers"]],
    ]
    return _table([status["study"], ""], rows)


def status_line(status: Status) -> str:
    """One study as a line of text."""
    return (
        f"{status['study']}: {status['state']}, {_progress(status)} trials, "
        f"best {_best(status)}, {status['workers']} workers"
    )


def _progress(status: Status) -> str:
    return f"{status['budget']['finished']}/{status['budget']['trials']}"


def _best(status: Status) -> str:
    best = status["best"]
    if best is None:
        return "none yet"
    confirmed = best.get("dev_loss_mean")
    return f"{best['dev_loss'] if confirmed is None else confirmed:.4f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(str(c))}</td>' for c in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"
