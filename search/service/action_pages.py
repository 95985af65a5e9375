"""What a study's page has buttons for: each with a page that says what it does, and asks.

The forms do what the routes of the API do, by calling them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from search.errors import BadInput
from search.evaluation import winner
from search.formatting import format_duration
from search.service import pages, results, studies
from search.service.authentication import Admin, Submitter
from search.service.context import Context, ServiceContext
from search.service.pages import done_at
from search.service.parameters import Study
from search.service.results import Confirmation, Test
from search.service.scopes import Caller
from search.service.studies import NewBudget
from search.service.templating import study_path
from search.study.study import StoredStudy
from search.trials import history
from search.trials import results as views
from search.trials.ending import toml_duration

router = APIRouter(prefix="/studies/{name}", include_in_schema=False)

MAX_COUNT = 1_000
MAX_TRIALS = 1_000_000
Count = Annotated[int, Query(ge=1, le=MAX_COUNT)]
CountInForm = Annotated[int, Form(ge=1, le=MAX_COUNT)]
Typed = Annotated[str, Form(max_length=200)]


@dataclass(frozen=True)
class Field:
    """A field of an action's form."""

    name: str
    label: str
    value: Any = ""
    hint: str = ""
    exact: bool = False
    """Whether it must be typed exactly, so that nothing completes it."""
    maximum: int = MAX_COUNT


@dataclass(frozen=True)
class Action:
    """What an action's page says."""

    action: str
    heading: str
    button: str
    about: Sequence[str]
    fields: Sequence[Field] = ()
    warns: bool = False
    preview: bool = False
    """Whether its fields are chosen first, and what it costs is shown."""


def _page(
    request: Request,
    caller: Caller,
    stored: StoredStudy,
    action: Action,
    error: Exception | None = None,
) -> Response:
    line, status = ("", int(HTTPStatus.OK)) if error is None else pages.error_of(request, error)
    content = {"name": stored.name, "path": study_path(stored.name), "error": line}
    return pages.page(request, caller, "action.html", status, **content, **vars(action))


@router.post("/stop")
def stop(context: Context, caller: Submitter, stored: Study) -> Response:
    """Asks the workers of a study to stop."""
    studies.stop_study(context, caller, stored)
    return _done(stored, "stopped")


def _done(stored: StoredStudy, word: str) -> Response:
    return done_at(study_path(stored.name), word)


@router.get("/resume")
def ask_to_resume(request: Request, context: Context, caller: Submitter, stored: Study) -> Response:
    """The form for a larger budget."""
    budget = stored.spec.budget
    timeout = "" if budget.timeout is None else toml_duration(budget.timeout)
    return _page(request, caller, stored, _resuming(str(budget.trials), timeout))


def _resuming(trials: str, timeout: str) -> Action:
    about = (
        "Workers go on with it as soon as they are free. Both numbers are totals over the study's "
        "life: to go on with a study that is done, raise the one that ended it.",
    )
    fields = (
        Field("trials", "Finished trials, in all", trials),
        Field("timeout", "Working time, in all", timeout, "Such as 90s, 2m or 1h30m; empty: as is"),
    )
    return Action("resume", "Resume with this budget", "Resume", about, fields)


@router.post("/resume")
def resume(
    request: Request,
    context: Context,
    caller: Submitter,
    stored: Study,
    trials: Typed = "",
    timeout: Typed = "",
) -> Response:
    """Goes on with a study."""
    try:
        budget = NewBudget(trials=_number(trials), timeout=timeout.strip() or None)
        studies.resume_study(context, caller, stored, budget)
    except pages.ERRORS as error:
        return _page(request, caller, stored, _resuming(trials, timeout), error)
    return _done(stored, "resumed")


def _number(text: str) -> int | None:
    """A number of trials; None if none was given."""
    text = text.strip()
    if not text:
        return None
    number = int(text) if text.isdecimal() and len(text) < 8 else 0
    if not 1 <= number <= MAX_TRIALS:
        raise BadInput(f"trials: {text!r} is no whole number from 1 to {MAX_TRIALS}")
    return number


@router.get("/confirm")
def ask_to_confirm(
    request: Request,
    context: Context,
    caller: Submitter,
    stored: Study,
    top: Count = 3,
    seeds: Count = 3,
) -> Response:
    """What a confirmation would cost."""
    asked = Confirmation(top=top, seeds=seeds, ensemble=None)
    try:
        answer = results.confirm_study(context, caller, stored, asked, dry_run=True)
    except pages.ERRORS as error:
        return _page(request, caller, stored, _confirming(top, seeds, "It cannot be done."), error)
    cost = json.loads(bytes(answer.body))
    return _page(request, caller, stored, _confirming(top, seeds, _cost_of(cost)))


def _cost_of(cost: dict[str, Any]) -> str:
    if not cost["trainings"]:
        return "Cost: all of this is trained already; only the comparison is made again."
    trainings = f"{cost['trainings']} training{'s' * (cost['trainings'] != 1)}"
    return f"Cost: {trainings}, about {format_duration(cost['estimated_seconds'])} of work here."


def _confirming(top: int, seeds: int, cost: str) -> Action:
    about = (
        "The searched dev loss is the lowest of many, so it is too good. Confirming trains the "
        "best configurations again on fresh seeds, and names the winner by its mean dev loss.",
        cost,
    )
    fields = (
        Field("top", "Best trials to train again", top),
        Field("seeds", "Fresh seeds for each", seeds),
    )
    return Action("confirm", "Confirm the best", "Confirm", about, fields, preview=True)


@router.post("/confirm")
def confirm(
    request: Request,
    context: Context,
    caller: Submitter,
    stored: Study,
    top: CountInForm = 3,
    seeds: CountInForm = 3,
) -> Response:
    """Asks for a confirmation."""
    try:
        asked = Confirmation(top=top, seeds=seeds, ensemble=None)
        results.confirm_study(context, caller, stored, asked, dry_run=False)
    except pages.ERRORS as error:
        return _page(request, caller, stored, _confirming(top, seeds, ""), error)
    return _done(stored, "confirming")


@router.get("/test")
def ask_to_test(request: Request, context: Context, caller: Admin, stored: Study) -> Response:
    """The warning before the test split is opened."""
    if history.openings(context.storage, stored)[0] is not None:
        return done_at(study_path(stored.name), "tested")
    won = winner.winner(context.storage, stored, context.data_dir)
    return _page(request, caller, stored, _testing(context, stored, won))


def _testing(context: ServiceContext, stored: StoredStudy, won: winner.Winner) -> Action:
    best = views.require_best(context.storage, stored)
    about = [
        f"The test split opens once, and for good: with {won.description}, dev loss "
        f"{won.dev_loss:.4f}. The answer is recorded, the study is closed to further trials and "
        "confirmations, and nobody can ask again with another model.",
        *winner.remarks_on(best),
        *([] if best.confirmed else ["The winner is not confirmed: confirm it first."]),
    ]
    return Action(
        "test", "Open the test split", "Open it, once and for good", about, _typed(stored), True
    )


def _typed(stored: StoredStudy) -> Sequence[Field]:
    return (Field("confirm", f"To go on, type the study's name: {stored.name}", exact=True),)


@router.post("/test")
async def test(
    request: Request, context: Context, caller: Admin, stored: Study, confirm: Typed = ""
) -> Response:
    """Opens the test split, or leads to the recorded answer."""
    try:
        answer = await results.test_study(context, caller, stored, Test(confirm=confirm))
    except pages.ERRORS as error:
        return _page(
            request, caller, stored, _retyped("test", "Open the test split", stored), error
        )
    first = json.loads(bytes(answer.body))["first_time"]
    return _done(stored, "opened" if first else "tested")


def _retyped(action: str, heading: str, stored: StoredStudy) -> Action:
    about = ("This cannot be undone.",)
    return Action(action, heading, heading, about, _typed(stored), warns=True)


@router.get("/delete")
def ask_to_delete(request: Request, context: Context, caller: Admin, stored: Study) -> Response:
    """The warning before a study is deleted."""
    return _page(request, caller, stored, _deleting(stored))


def _deleting(stored: StoredStudy) -> Action:
    about = (
        "Its trials, models and pictures are deleted, for good. The record that its test split was "
        "opened stays, if it was.",
    )
    return Action("delete", "Delete this study", "Delete it", about, _typed(stored), warns=True)


@router.post("/delete")
def delete(
    request: Request, context: Context, caller: Admin, stored: Study, confirm: Typed = ""
) -> Response:
    """Deletes a study."""
    try:
        studies.delete_study(context, caller, stored, confirm)
    except pages.ERRORS as error:
        return _page(request, caller, stored, _deleting(stored), error)
    return done_at("/", "deleted")
