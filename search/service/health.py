"""What those who run the service ask: is it alive, is it ready, how does it do."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from search.retry import error_summary
from search.service.authentication import Reader
from search.service.context import Context, ServiceContext
from search.service.metrics import prometheus_text
from search.service.problems import responses
from search.storage import tables

router = APIRouter(tags=["operation"])

UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"description": "Not so.", "content": {"application/json": {}}}
}


@router.get("/healthz", responses=UNHEALTHY)
def healthz(context: Context) -> Response:
    """200 while the storage answers and every worker is alive, else 503."""
    problem, alive = _storage_problem(context), context.workers_alive()
    healthy = problem is None and alive == context.workers
    state = {
        "status": "ok" if healthy else "degraded",
        "workers": {"alive": alive, "wanted": context.workers},
        "storage": problem or "ok",
    }
    return _answer(state, healthy)


@router.get("/readyz", responses=UNHEALTHY)
def readyz(context: Context) -> Response:
    """200 while requests can be served: the storage answers, whatever the workers do."""
    problem = _storage_problem(context)
    return _answer({"status": "ok" if problem is None else "unavailable"}, problem is None)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **responses(401, 403, 503)},
)
def metrics(context: Context, caller: Reader) -> Response:
    """The metrics, in the text format of Prometheus."""
    return Response(prometheus_text(context), media_type=CONTENT_TYPE_LATEST)


def _answer(state: dict[str, Any], healthy: bool) -> Response:
    status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(state, status, {"Cache-Control": "no-store"})


def _storage_problem(context: ServiceContext) -> str | None:
    """Why the storage does not answer; None: it does."""
    try:
        with context.storage.read() as connection:
            connection.execute(select(tables.schema.c.version)).one()
    except SQLAlchemyError as error:
        return error_summary(error)
    return None
