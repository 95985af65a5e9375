"""Routes of studies: list, submit, status, events, stop, resume, delete."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from search.dashboard import trial_pictures
from search.errors import BadInput, Mistake, SearchError, StudyFileError
from search.service import authentication, calls, limits, submissions
from search.service.authentication import Admin, Reader, Submitter
from search.service.context import Context, ServiceContext
from search.service.documents import StudyDocument, StudyInList, json_answer
from search.service.parameters import Study, StudyName
from search.service.problems import Problem, responses
from search.service.scopes import Caller, Scope
from search.study import create, study
from search.trials import changes

router = APIRouter(prefix="/studies", tags=["studies"])

EVENTS = "text/event-stream"
PAGE = 50
"""Studies on a page of the list."""

State = Annotated[
    Literal["open", "done", "closed"] | None, Query(description="Only studies in this state.")
]
Page = Annotated[int | None, Query(ge=1, description=f"{PAGE} studies; left out: all of them.")]
DryRun = Annotated[bool, Query(description="Only what it would cost; nothing is created.")]


class SubmittedStudy(BaseModel):
    """A study file as TOML, or its document as JSON."""

    model_config = ConfigDict(extra="allow")

    toml: str | None = Field(default=None, description="The text of a study file.")
    study: dict[str, Any] | None = Field(default=None, description="The document of a study file.")


class NewBudget(BaseModel):
    """What replaces the study's budget; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    trials: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    timeout: str | float | None = Field(default=None, description='Working time: seconds, or "2m".')


def study_answer(context: ServiceContext, name: str, status: int = 200) -> Response:
    """A study's document as it is now."""
    body = context.watch.entry(name).body
    headers = {"Cache-Control": "no-store"}
    return Response(body, status, headers, media_type="application/json")


@router.get("", responses={200: {"model": list[StudyInList]}, **responses(401, 403, 422, 503)})
def list_studies(
    context: Context, caller: Reader, state: State = None, page: Page = None
) -> Response:
    """Every study, the oldest first; with `page`, links to the others are in the header `Link`."""
    found = [each for each in context.watch.entries() if state in (None, each.state)]
    headers = {"Cache-Control": "no-store", "X-Total-Count": str(len(found))}
    if page is not None:
        pages = max(1, -(-len(found) // PAGE))
        headers["Link"] = ", ".join(_links(page, pages, state))
        found = found[(page - 1) * PAGE : page * PAGE]
    body = b"[" + b",".join(each.in_list for each in found) + b"]"
    return Response(body, headers=headers, media_type="application/json")


def _links(page: int, pages: int, state: str | None) -> list[str]:
    places = {"first": 1, "prev": page - 1, "next": page + 1, "last": pages}
    filtered = "" if state is None else f"&state={state}"
    return [
        f'</api/v1/studies?page={number}{filtered}>; rel="{relation}"'
        for relation, number in places.items()
        if 1 <= number <= pages
    ]


@router.post(
    "",
    status_code=201,
    responses={
        200: {"description": "The study exists; or, with `dry_run`, its cost."},
        201: {"model": StudyDocument},
        **responses(400, 401, 403, 409, 413, 422, 503),
    },
)
async def submit_study(
    context: Context,
    caller: Submitter,
    body: Annotated[SubmittedStudy, Body()],
    dry_run: DryRun = False,
) -> Response:
    """Creates a study, or goes on with the stored one if its definition is the same."""
    document = body.model_dump(exclude_none=True)
    submission = await run_in_threadpool(submissions.read, context, document)
    if dry_run:
        means = (context.processes, context.threads)
        cost = await context.slow_helper.call(
            calls.preview, submission.spec, submission.words, *means
        )
        return json_answer(cost)
    return await run_in_threadpool(_submitted, context, caller, submission)


def _submitted(
    context: ServiceContext, caller: Caller, submission: submissions.Submission
) -> Response:
    stored, is_new = submissions.submit(context, caller, submission)
    return study_answer(context, stored.name, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


@router.get("/{name}", responses={200: {"model": StudyDocument}, **responses(401, 403, 404, 503)})
def show_study(context: Context, caller: Reader, name: StudyName) -> Response:
    """The status of a study, with its jobs, and what was changed over HTTP."""
    return study_answer(context, name)


@router.get(
    "/{name}/events",
    responses={
        200: {"description": "Events `status`, `trial` and `end`.", "content": {EVENTS: {}}},
        **responses(401, 403, 404, 503),
    },
)
async def listen_to_study(
    request: Request, context: Context, caller: Reader, name: StudyName
) -> Response:
    """Server-sent events: the status whenever it changes, and each trial that ends."""
    entry = await run_in_threadpool(context.watch.entry, name)

    async def allowed() -> bool:
        try:
            await authentication.caller_with(request, Scope.READ)
        except Problem:
            return False
        except SearchError:  # the storage is away, which tells nothing about the token
            return True
        return True

    events = context.feed.listen(entry, allowed)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx, among others
    return StreamingResponse(events, media_type=EVENTS, headers=headers)


@router.post(
    "/{name}/stop",
    status_code=202,
    responses={202: {"model": StudyDocument}, **responses(401, 403, 404, 503)},
)
def stop_study(context: Context, caller: Submitter, stored: Study) -> Response:
    """Asks the workers of a study, on every host, to finish as on Ctrl-C."""
    changes.record(context.storage, caller.author, "stop", stored)
    study.request_stop(context.storage, stored)
    context.watch.forget(stored.uid)
    return study_answer(context, stored.name, HTTPStatus.ACCEPTED)


@router.post(
    "/{name}/resume",
    status_code=202,
    responses={202: {"model": StudyDocument}, **responses(401, 403, 404, 409, 422, 503)},
)
def resume_study(
    context: Context, caller: Submitter, stored: Study, body: NewBudget | None = None
) -> Response:
    """Withdraws a stop, with a larger budget if one is given."""
    budget = body or NewBudget()
    study.ensure_not_moved(stored)
    study.ensure_open(stored)
    spec = stored.spec.with_values("budget", trials=budget.trials, timeout=budget.timeout)
    storage, author, given = context.storage, caller.author, budget.model_dump()

    def on_resumed(connection: Connection, uid: str) -> None:
        limits.check_budget(connection, caller, uid, spec)
        changes.insert(storage, connection, author, "resume", uid, stored.name, **given)

    create.resume(storage, stored, budget.trials, budget.timeout, on_resumed)
    context.watch.forget(stored.uid)
    return study_answer(context, stored.name, HTTPStatus.ACCEPTED)


@router.delete(
    "/{name}",
    status_code=204,
    response_class=Response,
    responses=responses(400, 401, 403, 404, 422, 503),
)
def delete_study(
    context: Context,
    caller: Admin,
    stored: Study,
    confirm: Annotated[str, Query(description="The study's name.")],
) -> Response:
    """Deletes a study with its trials and checkpoints; the record of its test opening stays."""
    ensure_confirmed(stored.name, confirm)
    if study.has_workers(context.storage, stored):
        raise BadInput(f"study {stored.name}: workers are running; stop it first")
    pictures = trial_pictures.picture_ids(context.storage, stored)
    changes.record(context.storage, caller.author, "delete", stored)
    study.delete_study(context.storage, stored, context.data_dir)
    if stored.moved_to is None:
        trial_pictures.delete_pictures(context.data_dir, pictures)
    context.watch.forget(stored.uid)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def ensure_confirmed(name: str, confirmed: str) -> None:
    """Raises StudyFileError (422) unless the study's name was given for what cannot be undone."""
    if confirmed != name:
        mistake = Mistake("confirm", f"is not the study's name, {name}")
        raise StudyFileError("request", [mistake])
