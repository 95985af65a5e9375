"""The service's problem documents (RFC 9457) as exceptions.

SearchError
  ├─ BadInput               400, 413, 422 and any other mistake in a request
  │    ├─ StudyFileError    422  with the mistakes of a study file
  │    ├─ NotFound          404
  │    └─ NotAllowed        401, 403  no token, or one with too small a scope
  ├─ Refused                409  it would break a guarantee
  └─ ServiceUnavailable     5xx, or no answer at all
"""

from collections.abc import Mapping
from typing import Any

import httpx

from search.errors import BadInput, Mistake, NotFound, Refused, SearchError, StudyFileError


class NotAllowed(BadInput):
    """The request lacks a token, or its token a scope."""


class ServiceUnavailable(SearchError):
    """The service does not answer, or cannot do its work now."""


def error_of(response: httpx.Response) -> SearchError:
    """The exception that an answer stands for, whoever gave it: a proxy has no document."""
    document = _document(response)
    status, detail = response.status_code, str(document.get("detail") or "")
    text = detail or f"{response.url.host}: answered with {status} {response.reason_phrase}"
    if status == 422 and document.get("mistakes"):
        return _with_mistakes(text, document["mistakes"])
    kinds = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Refused}
    if response.is_redirect:
        return BadInput(f"{response.url.host}: redirects; give the address that it leads to")
    return kinds.get(status, ServiceUnavailable if status >= 500 else BadInput)(text)


def _document(response: httpx.Response) -> Mapping[str, Any]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _with_mistakes(text: str, mistakes: Any) -> StudyFileError:
    found = [Mistake(each["key"], each["problem"], each.get("line")) for each in mistakes]
    where = text.partition(": ")[0]
    return StudyFileError(where, found)
