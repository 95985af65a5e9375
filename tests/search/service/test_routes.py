"""Every route with every scope and with none: the table is checked against the application."""

import re
from collections.abc import Callable

from optuna_dashboard import wsgi
from service import Service
from workspace import Workspace

from search.service import problems
from search.service.scopes import Scope

NONE, READ, SUBMIT, ADMIN = Scope

ROUTES = {
    ("GET", "/healthz"): NONE,
    ("GET", "/readyz"): NONE,
    ("GET", "/metrics"): READ,
    ("GET", "/"): READ,
    ("GET", "/live"): READ,
    ("GET", "/compare"): READ,
    ("GET", "/corpora"): READ,
    ("POST", "/corpora"): SUBMIT,
    ("GET", "/submit"): SUBMIT,
    ("POST", "/submit"): SUBMIT,
    ("GET", "/studies/{name}"): READ,
    ("GET", "/studies/{name}/live"): READ,
    ("GET", "/studies/{name}/trials"): READ,
    ("GET", "/studies/{name}/trials/{number}"): READ,
    ("GET", "/studies/{name}/samples"): READ,
    ("POST", "/studies/{name}/stop"): SUBMIT,
    ("GET", "/studies/{name}/resume"): SUBMIT,
    ("POST", "/studies/{name}/resume"): SUBMIT,
    ("GET", "/studies/{name}/confirm"): SUBMIT,
    ("POST", "/studies/{name}/confirm"): SUBMIT,
    ("GET", "/studies/{name}/test"): ADMIN,
    ("POST", "/studies/{name}/test"): ADMIN,
    ("GET", "/studies/{name}/delete"): ADMIN,
    ("POST", "/studies/{name}/delete"): ADMIN,
    ("GET", "/sign-in"): NONE,
    ("POST", "/sign-in"): NONE,
    ("POST", "/sign-out"): NONE,
    ("GET", "/api/v1/openapi.json"): NONE,
    ("GET", "/api/v1/studies"): READ,
    ("POST", "/api/v1/studies"): SUBMIT,
    ("GET", "/api/v1/studies/{name}"): READ,
    ("DELETE", "/api/v1/studies/{name}"): ADMIN,
    ("GET", "/api/v1/studies/{name}/events"): READ,
    ("POST", "/api/v1/studies/{name}/stop"): SUBMIT,
    ("POST", "/api/v1/studies/{name}/resume"): SUBMIT,
    ("GET", "/api/v1/studies/{name}/trials"): READ,
    ("GET", "/api/v1/studies/{name}/trials/{number}"): READ,
    ("GET", "/api/v1/studies/{name}/best"): READ,
    ("POST", "/api/v1/studies/{name}/confirm"): SUBMIT,
    ("POST", "/api/v1/studies/{name}/test"): ADMIN,
    ("GET", "/api/v1/studies/{name}/samples"): READ,
    ("GET", "/api/v1/studies/{name}/model"): READ,
    ("GET", "/api/v1/studies/{name}/report"): READ,
    ("GET", "/api/v1/corpora"): READ,
    ("POST", "/api/v1/corpora"): SUBMIT,
    ("GET", "/api/v1/corpora/{fingerprint}"): READ,
    ("DELETE", "/api/v1/corpora/{fingerprint}"): ADMIN,
}
"""The scope that each route of ours needs."""


def routes_of(service: Service) -> set[tuple[str, str]]:
    """Every method and path of the application, but for the dashboard's."""
    listed = {
        (method.upper(), path)
        for path, methods in service.app.openapi()["paths"].items()
        for method in methods
    }
    for included in service.app.router.routes:
        router = getattr(included, "original_router", None)
        for route in [] if router is None else router.routes:
            if not route.include_in_schema:
                listed |= {(method, route.path) for method in route.methods}
    return listed | {("GET", "/api/v1/openapi.json")}


def routes_of_the_dashboard(bed: Workspace) -> set[tuple[str, str]]:
    """Every method and path that optuna-dashboard knows, with numbers for what it names."""
    found = {(each.method, each.rule) for each in wsgi(bed.storage.optuna).routes}
    return {(method, re.sub(r"<[^>]+>", "7", rule)) for method, rule in found} - {("GET", "/")}


def test_every_route_asks_for_its_scope(finished: Workspace, serve: Callable[..., Service]) -> None:
    """Without a token 401, with too small a scope 403, else neither; a route that is missing from
    the table fails, as does one that is not there any more."""
    service = serve(finished)
    assert ROUTES.keys() == routes_of(service)
    needed = ROUTES | {
        (method, path): READ if method == "GET" else ADMIN if method == "DELETE" else SUBMIT
        for method, path in routes_of_the_dashboard(finished)
    }
    assert len(needed) > len(ROUTES) + 20
    for given in Scope:
        client = service.client(service.token(given.word) if given else None)
        if given == NONE:
            service.token("read", "another")  # so that loopback is not open
        for (method, path), scope in needed.items():
            answer = client.request(method, path.format(name="none", number=1, fingerprint="x"))
            # the dashboard refuses some changes itself, in another form
            is_ours = problems.MEDIA_TYPE == answer.headers.get("content-type")
            is_refused = is_ours and (401 if given == NONE else 403) == answer.status_code
            assert (given < scope) == is_refused, (given, method, path, answer.text)
