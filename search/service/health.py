"""What those who run the service ask: is it alive, is it ready, how does it do."""

from http import HTTPStatus
from typing import Any

from anyio import move_on_after, to_thread
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from search.retry import error_summary
from search.service.authentication import Reader
from search.service.context import Context, ServiceContext
from search.service.metrics import prometheus_text
from search.service.middleware import STORAGE_SECONDS
from search.service.problems import responses
from search.storage import tables

router = APIRouter(tags=["operation"])

UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"description": "Not so.", "content": {"application/json": {}}}
}


@router.get("/healthz", responses=UNHEALTHY)
async def healthz(context: Context) -> Response:
    """200 while the storage answers and every worker is alive, else 503."""
    problem, alive = await _storage_problem(context), context.workers_alive()
    healthy = problem is None and alive == context.workers
    state = {
        "status": "ok" if healthy else "degraded",
        "workers": {"alive": alive, "wanted": context.workers},
        "storage": problem or "ok",
    }
    return _answer(state, healthy)


@router.get("/readyz", responses=UNHEALTHY)
async def readyz(context: Context) -> Response:
    """200 while requests can be served: the storage answers, whatever the workers do."""
    problem = await _storage_problem(context)
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


async def _storage_problem(context: ServiceContext) -> str | None:
    """Why the storage does not answer; None: it does."""
    with move_on_after(STORAGE_SECONDS):
        return await to_thread.run_sync(
            _ask_storage, context, abandon_on_cancel=True, limiter=context.health_threads
        )
    return f"no answer for {STORAGE_SECONDS:.0f} s"


def _ask_storage(context: ServiceContext) -> str | None:
    try:
        with context.storage.read() as connection:
            connection.execute(select(tables.schema.c.version)).one()
    except SQLAlchemyError as error:
        return error_summary(error)
    return None
