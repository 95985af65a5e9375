"""Routes of trials: all of them, or one with its curve and its worker's log."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response, StreamingResponse

from search.finite import finite
from search.service.authentication import Reader
from search.service.context import Context, ServiceContext
from search.service.documents import json_answer
from search.service.parameters import Study
from search.service.problems import responses
from search.study.study import StoredStudy
from search.trials import results
from search.trials.results import TrialView
from search.trials.trial_details import TrialDetails, trial_details

router = APIRouter(prefix="/studies/{name}/trials", tags=["trials"])

BATCH = 500
"""Trials that are read at once, so that no writer waits for the reader of ten thousand."""
MAX_NUMBER = 2**31 - 1


@router.get("", responses={200: {"model": list[TrialView]}, **responses(401, 403, 404, 422, 503)})
def list_trials(
    context: Context,
    caller: Reader,
    stored: Study,
    after: Annotated[
        int, Query(ge=-1, le=MAX_NUMBER, description="Only trials with a higher number.")
    ] = -1,
    limit: Annotated[
        int | None, Query(ge=1, le=MAX_NUMBER, description="At most so many; left out: all.")
    ] = None,
) -> Response:
    """Every trial, by number; the answer is written as it is read."""
    first = results.trials(context.storage, stored, after, min(BATCH, limit or BATCH))
    parts = _parts(context, stored, first, limit)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(parts, media_type="application/json", headers=headers)


def _parts(
    context: ServiceContext, stored: StoredStudy, batch: list[TrialView], limit: int | None
) -> Iterator[bytes]:
    yield b"["
    separator, left = b"", limit
    while batch:
        for trial in batch:
            yield separator + json.dumps(finite(asdict(trial))).encode()
            separator = b",\n"
        left = None if left is None else left - len(batch)
        if left == 0:
            break
        size = BATCH if left is None else min(BATCH, left)
        batch = results.trials(context.storage, stored, batch[-1].number, size)
    yield b"]"


@router.get(
    "/{number}",
    responses={200: {"model": TrialDetails}, **responses(401, 403, 404, 422, 503)},
)
def show_trial(
    context: Context,
    caller: Reader,
    stored: Study,
    number: Annotated[int, Path(ge=0, le=MAX_NUMBER)],
) -> Response:
    """One trial with its curve, and the last lines that its worker logged meanwhile."""
    return json_answer(asdict(trial_details(context.storage, stored, number, context.data_dir)))
