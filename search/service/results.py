"""Routes of what a study found: best, confirm, test, samples, model, report."""

import secrets
import tempfile
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.background import BackgroundTask

from search.evaluation import candidates, winner
from search.evaluation.baselines import stored_baselines
from search.figures import numpy_model
from search.paths import file_name
from search.service import calls
from search.service.authentication import Admin, Reader, Submitter
from search.service.context import Context, ServiceContext
from search.service.documents import BestDocument, ConfirmEstimate, StudyDocument, json_answer
from search.service.parameters import Study
from search.service.problems import responses
from search.service.studies import DryRun, ensure_confirmed, study_answer
from search.study import study
from search.study.study import StoredStudy, files_of
from search.trials import changes, jobs, results

router = APIRouter(prefix="/studies/{name}", tags=["results"])

MAX_SAMPLES = 1_000
MAX_SEED = 2**63 - 1
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'"
)
"""For the report, whose scripts stand in it: it has an origin of its own, and reaches nobody."""


class Confirmation(BaseModel):
    """What is to be confirmed."""

    model_config = ConfigDict(extra="forbid")

    top: int = Field(default=3, ge=1, le=1_000, description="Number of best trials to retrain.")
    seeds: int = Field(default=3, ge=1, le=1_000, description="Number of fresh seeds for each.")
    ensemble: int | None = Field(default=None, ge=0, le=100, description="As `confirm --ensemble`.")


class Test(BaseModel):
    """The confirmation of what cannot be undone."""

    model_config = ConfigDict(extra="forbid")

    confirm: str = Field(description="The study's name.")


@router.get("/best", responses={200: {"model": BestDocument}, **responses(401, 403, 404, 503)})
def show_best(context: Context, caller: Reader, stored: Study) -> Response:
    """The winner: of `confirm` if there was one, else the best complete trial."""
    best = results.require_best(context.storage, stored)
    others = stored_baselines(context.storage, stored)
    return json_answer(asdict(best) | {"count_model": others and others.count_model})


@router.post(
    "/confirm",
    status_code=202,
    responses={
        200: {"model": ConfirmEstimate},
        202: {"model": StudyDocument},
        **responses(400, 401, 403, 404, 409, 422, 503),
    },
)
def confirm_study(
    context: Context,
    caller: Submitter,
    stored: Study,
    body: Confirmation | None = None,
    dry_run: DryRun = False,
) -> Response:
    """Has the best configurations retrained on fresh seeds; the study's `jobs` show how it goes."""
    asked = body or Confirmation()
    study.ensure_not_moved(stored)
    missing = candidates.plan_retrainings(context.storage, stored, asked.top, asked.seeds)
    expected = [each.expected_seconds for each in missing]
    estimate = candidates.makespan(expected, context.processes)
    if dry_run:
        cost = ConfirmEstimate(len(missing), estimate, asked.top, asked.seeds)
        return json_answer(asdict(cost))
    arguments = asked.model_dump()
    storage, author = context.storage, caller.author

    def on_added(connection: Connection) -> None:
        changes.insert(storage, connection, author, "confirm", stored.uid, stored.name, **arguments)

    jobs.request(storage, stored, "confirm", arguments, caller.name, estimate, on_added)
    context.job_requested.set()
    context.watch.forget(stored.uid)
    return study_answer(context, stored.name, HTTPStatus.ACCEPTED)


@router.post("/test", responses=responses(400, 401, 403, 404, 409, 422, 503))
async def test_study(context: Context, caller: Admin, stored: Study, body: Test) -> Response:
    """Opens the test split, once, for the study's winner; later calls show the recorded answer."""
    ensure_confirmed(stored.name, body.confirm)
    await run_in_threadpool(_prepare_test, context, caller.author, stored)
    result = await context.slow_helper.call(calls.test, context.place_of(stored))
    context.watch.forget(stored.uid)
    return json_answer(result)


def _prepare_test(context: ServiceContext, author: changes.Author, stored: StoredStudy) -> None:
    """Refuses what has no winner before anything is recorded."""
    if not stored.closed:
        study.ensure_not_moved(stored)
        winner.winner(context.storage, stored, context.data_dir)
        changes.record(context.storage, author, "test", stored)


@router.get(
    "/samples",
    responses={200: {"model": list[str]}, **responses(400, 401, 403, 404, 422, 503)},
)
async def sample_words(
    context: Context,
    caller: Reader,
    stored: Study,
    n: Annotated[int, Query(ge=1, le=MAX_SAMPLES, description="Number of words.")] = 20,
    seed: Annotated[
        int | None, Query(ge=0, le=MAX_SEED, description="Left out: a new one.")
    ] = None,
    temperature: Annotated[float, Query(gt=0, le=100)] = 1.0,
    prefix: Annotated[str, Query(max_length=100)] = "",
    new: Annotated[bool, Query(description="Only words that the corpus does not contain.")] = False,
) -> Response:
    """New words from the model of the study's winner."""
    chosen = secrets.randbits(32) if seed is None else seed
    options = (n, chosen, temperature, prefix, new)
    words = await context.quick_helper.call(calls.sample, context.place_of(stored), *options)
    return json_answer(words)


@router.get(
    "/model",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        **responses(401, 403, 404, 503),
    },
)
def download_model(context: Context, caller: Reader, stored: Study) -> Response:
    """The winner's model in the safetensors format."""
    best = results.require_best(context.storage, stored)
    path = winner.model_file(stored, context.data_dir, best)
    content = files_of(stored, context.data_dir).load(
        numpy_model.read_bytes, path, str(best.checkpoint_sha256)
    )
    name = f"{file_name(stored.name)}-trial-{best.trial}.safetensors"
    headers = _attachment(name) | {"ETag": f'"{best.checkpoint_sha256}"'}
    return Response(content, headers=headers, media_type="application/octet-stream")


@router.get(
    "/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}, **responses(401, 403, 404, 503)},
)
async def show_report(
    context: Context, caller: Reader, stored: Study, download: bool = False
) -> Response:
    """The report about the study: one self-contained page."""
    directory = tempfile.TemporaryDirectory(prefix="makemore-search-")
    path = Path(directory.name) / "report.html"
    try:
        await context.quick_helper.call(calls.report, context.place_of(stored), path)
    except BaseException:
        directory.cleanup()
        raise
    headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-store"}
    headers |= _attachment(f"{file_name(stored.name)}-report.html") if download else {}
    end = BackgroundTask(directory.cleanup)
    return FileResponse(path, headers=headers, media_type="text/html", background=end)


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
