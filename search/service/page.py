"""The page for people: all studies, and a comparison of some."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from search.evaluation.baselines import order_name
from search.figures.study_figures import LINES, Line, comparison
from search.service import pages
from search.service.authentication import Reader
from search.service.context import Context, ServiceContext
from search.service.little_curves import shown_curves
from search.service.watch import Entry
from search.study.study import StoredStudy, find
from search.trials import history

router = APIRouter(include_in_schema=False)

ROWS = 50
"""Studies on a page of the list."""
MAX_COMPARED = len(LINES)


@dataclass(frozen=True)
class Filters:
    """Which studies are listed, and which page of them."""

    q: str = ""
    state: str = ""
    page: int = 1

    @property
    def query(self) -> str:
        """As the query of a link, on the page it is."""
        return self.query_of(self.page)

    def query_of(self, page: int) -> str:
        """As the query of a link, on another page."""
        return urlencode({**asdict(self), "page": page})

    def admits(self, entry: Entry) -> bool:
        """Whether a study is one of them."""
        return self.state in ("", entry.state) and self.q.casefold() in entry.name.casefold()


def _filters(
    q: Annotated[str, Query(max_length=200)] = "",
    state: Literal["", "open", "done", "closed"] = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Filters:
    return Filters(q, state, page)


Chosen = Annotated[Filters, Depends(_filters)]


@router.get("/")
def index(
    request: Request,
    context: Context,
    caller: Reader,
    filters: Chosen,
    done: str = "",
) -> Response:
    """The studies of the storage, the newest first."""
    content = _list(context, filters)
    return pages.page(request, caller, "studies.html", **content, done=pages.DONE.get(done))


@router.get("/live")
def live(request: Request, context: Context, caller: Reader, filters: Chosen) -> Response:
    """The part of the list that changes."""

    def made() -> str:
        return pages.rendered(caller, "studies_live.html", _list(context, filters))

    html = context.shared_answers.get(("studies", filters, caller.scope), made)
    return pages.fragment(request, html)


def _list(context: ServiceContext, filters: Filters) -> dict[str, Any]:
    found = [each for each in reversed(context.watch.entries()) if filters.admits(each)]
    count = max(1, -(-len(found) // ROWS))
    page = min(filters.page, count)
    shown = found[(page - 1) * ROWS : page * ROWS]
    documents = [json.loads(each.in_list) for each in shown]
    curves = shown_curves(context, [each.uid for each in shown], documents)
    return {
        "filters": filters,
        "total": len(found),
        "page": page,
        "pages": count,
        "shown": [_row(document, curve) for document, curve in zip(documents, curves, strict=True)],
    }


def _row(document: Mapping[str, Any], curve: str) -> dict[str, Any]:
    best, (state, state_class) = document["best"], state_words(document)
    loss = None if best is None else best["dev_loss_mean"] or best["dev_loss"]
    return {
        "name": document["study"],
        "state": state,
        "state_class": state_class,
        "finished": document["budget"]["finished"],
        "trials": document["budget"]["trials"],
        "best": loss,
        "compared": "" if loss is None else _compared(loss, document["count_model"]),
        "curve": curve,
    }


def _compared(loss: float, count_model: Mapping[str, Any] | None) -> str:
    """A loss against the best count model, briefly."""
    if count_model is None:
        return ""
    level = count_model["dev_loss"]
    gap = round(level - loss, 4)
    how = "level with" if gap == 0 else f"{abs(gap):.4f} {'ahead of' if gap > 0 else 'behind'}"
    return f"{how} the {order_name(count_model['order'])} ({level:.4f})"


def state_words(document: Mapping[str, Any]) -> tuple[str, str]:
    """A study's state for people, and its class in the style sheet."""
    ended = document["ended_by"]
    if document["state"] == "closed":
        return "tested", "closed"
    if document["state"] == "done":
        return "done", "done"
    if ended == "stop":
        return ("stopping" if document["workers"] else "stopped"), "stopped"
    if ended == "moved":
        return "moved", "stopped"
    if document["workers"]:
        return "running", "running"
    if ended == "crash":
        return "in trouble", "trouble"
    return "waiting", "waiting"


@router.get("/compare")
def compare(
    request: Request,
    context: Context,
    caller: Reader,
    study: Annotated[list[str] | None, Query(max_length=100)] = None,
    by: Literal["time", "trials"] = "time",
) -> Response:
    """Some studies in one picture."""
    entries = {each.name: each for each in context.watch.entries()}
    asked = [name for name in dict.fromkeys(study or []) if name.strip()]
    chosen = [name for name in asked if name in entries][:MAX_COMPARED]
    documents = [json.loads(entries[name].body) for name in chosen]
    content: dict[str, Any] = {
        "by": by,
        "query": urlencode({"study": chosen}, doseq=True),
        "others": [name for name in entries if name not in chosen],
        "warning": _warning(asked, chosen, documents),
        "lines": [
            _compared_line(document, kind, chosen, by)
            for document, kind in zip(documents, LINES, strict=False)
        ],
        "chart": _comparison(context, chosen, by) if chosen else "",
    }
    return pages.page(request, caller, "compare.html", **content)


def _compared_line(
    document: Mapping[str, Any], kind: str, chosen: Sequence[str], by: str
) -> dict[str, Any]:
    best, name = document["best"], document["study"]
    others = [each for each in chosen if each != name]
    return {
        "kind": kind,
        "name": name,
        "best": None if best is None else best["dev_loss_mean"] or best["dev_loss"],
        "finished": document["budget"]["finished"],
        "elapsed": document["elapsed_seconds"],
        "corpus": document["corpus"]["name"],
        "without": urlencode({"study": others, "by": by}, doseq=True),
    }


def _warning(
    asked: Sequence[str], chosen: Sequence[str], documents: Sequence[Mapping[str, Any]]
) -> str:
    """Why some are missing, or why their losses cannot be compared."""
    missing = [name for name in asked if name not in chosen]
    if missing and len(chosen) == MAX_COMPARED:
        return f"At most {MAX_COMPARED} are shown; left out: {', '.join(missing)}."
    if missing:
        return f"There is no study {', '.join(missing)}."
    if len({document["corpus"]["fingerprint"] for document in documents}) > 1:
        return "Their corpora differ, so their losses cannot be compared with each other."
    return ""


def _comparison(context: ServiceContext, names: Sequence[str], by: str) -> str:
    found = [stored for name in names if (stored := find(context.storage, name)) is not None]
    lines = [_line(context, stored, by) for stored in found]
    x_title = "trial" if by == "trials" else "working time, seconds"
    about = "; ".join(
        f"{line.name}: best dev loss {line.points[-1][1]:.4f}" for line in lines if line.points
    )
    return comparison(lines, x_title, about or "no trial is complete")


def _line(context: ServiceContext, stored: StoredStudy, by: str) -> Line:
    rows = history.incumbents(context.storage, stored)
    return Line(
        stored.name,
        [(float(r.trial) if by == "trials" else r.worked_seconds, r.dev_loss) for r in rows],
    )
