"""The verb `token`: who may use the service over HTTP."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.session import Session
from search.errors import BadInput

if TYPE_CHECKING:
    from search.service.tokens import Token

ACTIONS = ("create", "list", "revoke")


def token(
    session: Session,
    action: Annotated[str, typer.Argument(metavar="create|list|revoke", help="What to do.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The token's name; not for list.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="create: read, submit (changes studies) or admin (deletes and tests)."),
    ] = None,
    max_studies: Annotated[
        int | None, typer.Option(min=0, help="create: studies that may exist at a time.")
    ] = None,
    max_trials: Annotated[
        int | None, typer.Option(min=0, help="create: trials in all of these studies.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="create: memory of a trial, such as 2GB.")
    ] = None,
    max_corpus_bytes: Annotated[
        str | None, typer.Option(help="create: uploaded corpora in all, such as 50MB.")
    ] = None,
) -> None:
    """Create, list or revoke the tokens with which the service is used; one is shown only once."""
    if action not in ACTIONS:
        raise BadInput(f"token {action}: no such action; give create, list or revoke")
    if (name is None) != (action == "list"):
        raise BadInput(f"token {action}: {'takes no' if action == 'list' else 'give a'} NAME")
    limits = {
        "studies": max_studies,
        "trials": max_trials,
        "memory": _bytes("--max-memory", max_memory),
        "corpus_bytes": _bytes("--max-corpus-bytes", max_corpus_bytes),
    }
    if action == "list":
        _list(session)
    elif action == "revoke":
        _revoke(session, str(name))
    else:
        given = {key: value for key, value in limits.items() if value is not None}
        _create(session, str(name), scope, given)


def _bytes(option: str, text: str | None) -> int | None:
    from search.spec.sections import parse_memory

    try:
        return None if text is None else int(parse_memory(text))
    except ValueError as error:
        raise BadInput(f"{option}: {error}") from None


def _create(session: Session, name: str, scope: str | None, limits: dict[str, int]) -> None:
    from search.service import tokens

    if scope is None:
        raise BadInput("token create: give --scope read, submit or admin")
    created, secret = tokens.create(session.create(), name, scope, limits)
    text = f"{secret}\n{created.name}: scope {created.scope}; this token is not shown again"
    session.print_result(_document(created) | {"token": secret}, text)


def _list(session: Session) -> None:
    from search.service import tokens

    found = tokens.all_tokens(session.open())
    lines = [
        f"{each.name}: {each.scope}{_limits_text(each)}"
        f"{'' if each.revoked_at is None else ' (revoked)'}"
        for each in found
    ]
    session.print_result([_document(each) for each in found], "\n".join(lines) or "no tokens")


def _revoke(session: Session, name: str) -> None:
    from search.service import tokens

    revoked = tokens.revoke(session.open(writing=True), name)
    session.print_result(_document(revoked), f"{name}: revoked")


def _limits_text(token: "Token") -> str:
    return "".join(f", {key} {value:,}" for key, value in token.limits.items())


def _document(token: "Token") -> dict[str, Any]:
    from search.formatting import iso_time

    times = {
        "created_at": iso_time(token.created_at),
        "revoked_at": None if token.revoked_at is None else iso_time(token.revoked_at),
    }
    return {key: value for key, value in asdict(token).items() if key != "id"} | times
