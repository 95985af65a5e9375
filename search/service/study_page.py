"""A study's page, its trials, and words from its model."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from search.figures.study_figures import Line, running_curves
from search.finite import is_finite
from search.service import pages, results
from search.service.authentication import Reader
from search.service.context import Context, ServiceContext
from search.service.parameters import Study, StudyName
from search.service.study_facts import configuration, study_facts
from search.service.templating import study_path
from search.service.trials import MAX_NUMBER
from search.study import study
from search.study.study import StoredStudy
from search.trials import results as views
from search.trials.trial_details import trial_details

router = APIRouter(prefix="/studies/{name}", include_in_schema=False)

PAGE = 100
"""Trials on a page."""
SAMPLES: dict[str, Any] = {"prefix": "", "temperature": 1.0, "n": 20, "new": False}
"""What the form for words asks for at first."""
MAX_SAMPLES = 200


@router.get("")
def show(
    request: Request, context: Context, caller: Reader, stored: Study, done: str = ""
) -> Response:
    """All about a study."""
    content = _facts(context, stored) | {"asked": SAMPLES, "words": None}
    return pages.page(request, caller, "study.html", **content, done=pages.DONE.get(done))


@router.get("/live")
def live(request: Request, context: Context, caller: Reader, name: StudyName) -> Response:
    """The part of a study's page that changes; many ask for it, and the storage is asked once."""
    uid = context.watch.entry(name).uid

    def made() -> str:
        stored = study.by_uid(context.storage, uid)
        return pages.rendered(caller, "study_live.html", _facts(context, stored))

    html = context.shared_answers.get(("study", uid, caller.scope, "html"), made)
    return pages.fragment(request, html)


def _facts(context: ServiceContext, stored: StoredStudy) -> dict[str, Any]:
    key = ("study", stored.uid)
    return context.shared_answers.get(key, lambda: study_facts(context, stored))


@router.get("/trials")
def trials(
    request: Request,
    context: Context,
    caller: Reader,
    stored: Study,
    after: Annotated[int, Query(ge=-1, le=MAX_NUMBER)] = -1,
) -> Response:
    """The trials, by number, a hundred on a page."""
    rows = views.trials(context.storage, stored, after, PAGE)
    content: dict[str, Any] = {"rows": rows, "after": after, "size": PAGE, "study": stored}
    return pages.page(request, caller, "trials.html", **_named(stored), **content)


@router.get("/trials/{number}")
def trial(
    request: Request,
    context: Context,
    caller: Reader,
    stored: Study,
    number: Annotated[int, Path(ge=0, le=MAX_NUMBER)],
) -> Response:
    """One trial: its curve, why it ended, and what its worker logged."""
    found = trial_details(context.storage, stored, number, context.data_dir)
    points = [(float(row[0]), float(row[1])) for row in found.curve if is_finite(row[1])]
    about = f"dev loss, {points[-1][1]:.4f} in the end" if points else ""
    content: dict[str, Any] = {
        "trial": found,
        "chart": running_curves([Line("dev loss", points)], None, about) if points else "",
        "configuration": configuration(stored, found.config),
    }
    return pages.page(request, caller, "trial.html", **_named(stored), **content)


@router.get("/samples")
async def samples(
    request: Request,
    context: Context,
    caller: Reader,
    stored: Study,
    prefix: Annotated[str, Query(max_length=60)] = "",
    temperature: Annotated[float, Query(gt=0, le=100)] = 1.0,
    n: Annotated[int, Query(ge=1, le=MAX_SAMPLES)] = 20,
    new: bool = False,
) -> Response:
    """Words from the model of the winner."""
    answer = await results.sample_words(context, caller, stored, n, None, temperature, prefix, new)
    content: dict[str, Any] = {
        "asked": {"prefix": prefix, "temperature": temperature, "n": n, "new": new},
        "words": json.loads(bytes(answer.body)),
        "has_model": True,
    }
    return await run_in_threadpool(
        pages.page, request, caller, "samples.html", **_named(stored), **content
    )


def _named(stored: StoredStudy) -> dict[str, Any]:
    return {"name": stored.name, "path": study_path(stored.name)}
