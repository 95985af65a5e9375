"""The page for people."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from search.service.authentication import Reader
from search.service.context import Context
from search.service.templating import PAGE_HEADERS, TEMPLATES
from search.trials import results

router = APIRouter(include_in_schema=False)


@router.get("/")
def index(request: Request, context: Context, caller: Reader) -> Response:
    """The studies of the storage."""
    names = results.study_names(context.storage)
    content = {"names": names, "caller": caller}
    return TEMPLATES.TemplateResponse(request, "index.html", content, headers=PAGE_HEADERS)
