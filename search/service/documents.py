"""The JSON documents of the API, as its OpenAPI document describes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse, Response

from search.finite import finite
from search.trials.changes import ChangeView
from search.trials.jobs import JobView
from search.trials.results import BestView
from search.trials.status import StatusView


@dataclass(frozen=True)
class StudyInList(StatusView):
    """The status of a study in the list of all."""

    count_model: Mapping[str, Any] | None
    created_at: str


@dataclass(frozen=True)
class StudyDocument(StudyInList):
    """The status of a study, the work that was asked for, and what was changed by whom."""

    corpus: Mapping[str, Any]
    jobs: Sequence[JobView]
    changes: Sequence[ChangeView]


@dataclass(frozen=True)
class BestDocument(BestView):
    """The winner, with the best count model as far as it is known."""

    count_model: Mapping[str, Any] | None


@dataclass(frozen=True)
class ConfirmEstimate:
    """What a confirmation would cost."""

    trainings: int
    estimated_seconds: float
    top: int
    seeds: int


def json_answer(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A document as JSON; numbers that are not finite are null."""
    return JSONResponse(finite(document), status, {"Cache-Control": "no-store", **(headers or {})})
