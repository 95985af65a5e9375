"""What is particular to optuna-dashboard: what it may serve, and which changes are allowed."""

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from bottle import HTTPError
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from search.dashboard import trial_pictures
from search.dashboard.middleware import (
    SAFE_METHODS,
    Application,
    Environ,
    Headers,
    StartResponse,
    map_headers,
    text_response,
)
from search.errors import SearchError
from search.paths import DataDir
from search.storage import optuna_queries, optuna_studies
from search.storage.database import Storage
from search.study import study

SCHEMA_MIGRATION = "/incompatible-rdb-schema"
POLICY = "Content-Security-Policy"

PAGE_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",  # plotly's WebGL figures compile their shaders
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
INERT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""For artifacts: a picture is shown, but no script in it runs, and it has no origin."""
INERT_KINDS = ("image/", "text/csv", "application/json", "audio/", "video/")
"""Media types that a browser may show; every other uploaded file is downloaded."""


class LocalArtifactStore(FileSystemArtifactStore):
    """The artifacts of this machine; one that is on another machine is a 404."""

    def open_reader(self, artifact_id: str) -> Any:
        try:
            return super().open_reader(artifact_id)
        except ArtifactNotFound:
            raise HTTPError(404, "this picture is on the machine that trained the trial") from None


def sandbox_artifacts(application: Application) -> Application:
    """Serves only the dashboard's own page as a page; uploaded files are data."""

    def change(environ: Environ, headers: Headers) -> Headers:
        path = environ["PATH_INFO"]
        if path.startswith(("/dashboard", "/static/")):
            return [*_without(headers, POLICY), (POLICY, PAGE_POLICY)]
        kind = next((value for name, value in headers if name.lower() == "content-type"), "")
        return [
            *_without(headers, POLICY, "Content-Type"),
            (POLICY, INERT_POLICY),
            ("Cache-Control", "no-store"),
            *_shown_or_downloaded(kind),
        ]

    return map_headers(application, change)


def _shown_or_downloaded(kind: str) -> Headers:
    """HTML becomes text; what a browser may not show is downloaded."""
    if kind.startswith(("text/html", "text/plain")):
        return [("Content-Type", "text/plain; charset=utf-8")]
    if kind.startswith(INERT_KINDS):
        return [("Content-Type", kind)]
    return [("Content-Type", "application/octet-stream"), ("Content-Disposition", "attachment")]


def _without(headers: Headers, *names: str) -> Headers:
    dropped = {name.lower() for name in names}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def block_migration(application: Application) -> Application:
    """Refuses every request to the route that migrates the schema."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if SCHEMA_MIGRATION not in environ["PATH_INFO"]:
            return application(environ, start_response)
        message = "the schema cannot be migrated here; see `optuna storage upgrade`\n"
        return text_response(environ, start_response, "403 Forbidden", message)

    return answer


class HideCurves:
    """A plugin of optuna-dashboard: says of a large study that it has no reports to draw.

    The page would draw a curve for each trial, which takes minutes when there are thousands. Each
    trial's own page shows its reports all the same. A plugin gets the answer before it is JSON.
    """

    api = 2

    def __init__(self, is_large: Callable[[int], bool]) -> None:
        self._is_large = is_large

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:
        """Wraps the route that answers with a whole study; leaves the others as they are."""
        if (route.method, route.rule) != ("GET", STUDY_ROUTE):
            return callback

        @functools.wraps(callback)
        def answer(study_id: int) -> Any:
            document = callback(study_id=study_id)
            if HAS_CURVES in document and self._is_large(study_id):
                document[HAS_CURVES] = False
            return document

        return answer


STUDY_ROUTE = "/api/studies/<study_id:int>"
HAS_CURVES = "has_intermediate_values"

NOTES_AND_FILES = re.compile(
    r"/api/studies/[0-9]+(/[0-9]+)?/note|/api/artifacts/[0-9]+(/[0-9]+)?(/[0-9a-fA-F-]+)?"
    r"|/api/trials/[0-9]+/user-attrs"
)
"""What may be changed of our own studies: notes, uploaded files, and a trial's labels."""
CREATION = "/api/studies"
KNOWN_CHANGES = re.compile(
    r"/api/studies/[0-9]+"
    r"(/rename|/preference(/[^/]+)?|/preference_feedback_component|/[0-9]+/skip)?"
    r"|/api/trials/[0-9]+/tell"
)
"""Allowed for studies made by Optuna; for ours refused, but that `_delete` does a deletion."""

ONLY_BY_COMMAND = (
    "the name and the trials of a makemore-search study cannot be changed here; "
    "use the command line"
)
NO_BUDGET = (
    "a study made here would have no corpus and no budget, and no command of makemore-search could "
    "use it; write a study file, then `makemore-search submit STUDY.toml`"
)
NOT_KNOWN = "makemore-search does not know this change, so it cannot be made here"


def guard_our_studies(application: Application, storage: Storage, data_dir: DataDir) -> Application:
    """Refuses changes after which our tables would contradict Optuna's, and unknown changes."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].rstrip("/")
        if method in SAFE_METHODS or NOTES_AND_FILES.fullmatch(path):
            return application(environ, start_response)
        if path == CREATION:
            return _refused(environ, start_response, NO_BUDGET)
        if not KNOWN_CHANGES.fullmatch(path):
            return _refused(environ, start_response, NOT_KNOWN)
        uid = _our_study(storage, path)
        if uid is None:
            return application(environ, start_response)
        if method == "DELETE" and re.fullmatch(r"/api/studies/[0-9]+", path):
            return _delete(environ, start_response, storage, data_dir, uid)
        return _refused(environ, start_response, ONLY_BY_COMMAND)

    return answer


def _refused(environ: Environ, start_response: StartResponse, reason: str) -> Iterable[bytes]:
    return _json_refusal(environ, start_response, "403 Forbidden", reason)


def _our_study(storage: Storage, path: str) -> str | None:
    """The uid of the study of ours that a path is about."""
    about = re.match(r"/api/(studies|trials)/([0-9]+)", path)
    if about is None:
        return None
    with storage.read() as connection:
        study_id: int | None = int(about[2])
        if about[1] == "trials":
            study_id = optuna_queries.study_of_trial(connection, int(about[2]))
        return None if study_id is None else optuna_studies.uid_of(connection, study_id)


def _delete(
    environ: Environ, start_response: StartResponse, storage: Storage, data_dir: DataDir, uid: str
) -> Iterable[bytes]:
    """Deletes one of our studies as `delete` does; refused while workers run."""
    try:
        stored = study.by_uid(storage, uid)
        picture_ids = trial_pictures.picture_ids(storage, stored)
        study.delete_study(storage, stored, data_dir)
        trial_pictures.delete_pictures(data_dir, picture_ids)
    except SearchError as error:
        return _json_refusal(environ, start_response, "409 Conflict", str(error))
    start_response("204 No Content", [])
    return []


def _json_refusal(
    environ: Environ, start_response: StartResponse, status: str, reason: str
) -> Iterable[bytes]:
    """A refusal in the form of optuna-dashboard's own, whose reason its page shows."""
    body = json.dumps({"reason": reason})
    return text_response(environ, start_response, status, body, kind="application/json")
