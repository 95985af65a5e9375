"""A client of the service over HTTP; it needs neither torch, Optuna nor a database.

    from search.client import Client

    client = Client("https://search.example", token)
    study = client.submit(Path("names.toml"))
    study.wait()
    study.best()["config"]

Answers are the documents of the API (docs/results.md describes them), `frame()` gives tables to
pandas. Every error is a `SearchError` with one line that says what, where and what would be right.
"""

from search.client.client import Client
from search.client.errors import NotAllowed, ServiceUnavailable
from search.client.study import Study
from search.errors import BadInput, NotFound, Refused, SearchError, StudyFileError

__all__ = [
    "BadInput",
    "Client",
    "NotAllowed",
    "NotFound",
    "Refused",
    "SearchError",
    "ServiceUnavailable",
    "Study",
    "StudyFileError",
]
