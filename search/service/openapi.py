"""The OpenAPI document: what FastAPI derives from the routes, with tokens and problem documents."""

from typing import Any

from fastapi import FastAPI

from search.service import problems

DESCRIPTION = """Errors are problem documents (RFC 9457); their `detail` is one line that says what,
where, and what would be right. In paths a study is its name, percent-encoded."""


def describe(app: FastAPI) -> None:
    """Adds to an application's document what is the same for every route."""
    app.description = DESCRIPTION
    derive = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete = derive()
            components = complete.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = problems.SCHEMA
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            complete["security"] = [{"token": []}, {}]
            for path in complete["paths"].values():
                for operation in path.values():
                    _replace_validation_errors(operation)
            app.openapi_schema = complete
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _replace_validation_errors(operation: dict[str, Any]) -> None:
    """A request of another form is answered with a problem document, not with FastAPI's own."""
    answers = operation["responses"]
    if problems.MEDIA_TYPE not in answers.get("422", {}).get("content", {problems.MEDIA_TYPE: 0}):
        answers["422"] = problems.responses(422)[422]
