"""What a token may use at most: studies, trials, memory of a trial, bytes of corpora."""

from http import HTTPStatus

from sqlalchemy import Connection, select

from search.service.problems import Problem
from search.service.scopes import Caller
from search.spec.study_spec import StudySpec
from search.storage import tables
from search.study.memory import format_bytes
from search.trials import changes


def check_study(connection: Connection, caller: Caller, spec: StudySpec) -> None:
    """Raises Problem (403) if a new study would exceed its token's limits."""
    limits = caller.limits
    if caller.token_id is None or not limits:
        return
    _lock(connection, caller.token_id)
    own = changes.studies_created_by(connection, caller.token_id)
    maximum = limits.get("studies")
    if maximum is not None and len(own) >= maximum:
        raise _exceeded(caller, f"its limit is {maximum} studies; delete one first")
    _check_trials(caller, [study.document["budget"]["trials"] for study in own], spec)
    memory, asked = limits.get("memory"), spec.limits.memory
    if memory is not None and (asked is None or asked > memory):
        raise _exceeded(
            caller,
            f"its limit is {format_bytes(memory)} of memory for a trial; give `memory` under "
            "[limits] of the study file, and no more than that",
        )


def check_budget(connection: Connection, caller: Caller, uid: str, spec: StudySpec) -> None:
    """Raises Problem (403) if a larger budget of a study would exceed the token's limits."""
    if caller.token_id is None or not caller.limits:
        return
    _lock(connection, caller.token_id)
    own = changes.studies_created_by(connection, caller.token_id)
    others = [study.document["budget"]["trials"] for study in own if study.uid != uid]
    _check_trials(caller, others, spec)


def check_upload(connection: Connection, caller: Caller, size: int) -> None:
    """Raises Problem (403) if an upload would exceed its token's limit."""
    maximum = caller.limits.get("corpus_bytes")
    if caller.token_id is None or maximum is None:
        return
    _lock(connection, caller.token_id)
    if changes.bytes_uploaded_by(connection, caller.token_id) + size > maximum:
        raise _exceeded(caller, f"its limit is {format_bytes(maximum)} of uploaded corpora")


def _check_trials(caller: Caller, others: list[int], spec: StudySpec) -> None:
    maximum, wanted = caller.limits.get("trials"), spec.budget.trials
    if maximum is not None and sum(others) + wanted > maximum:
        left = max(0, maximum - sum(others))
        raise _exceeded(caller, f"its limit is {maximum} trials in all, of which {left} are left")


def _lock(connection: Connection, token_id: str) -> None:
    """Has another request with the same token wait; SQLite has one writer anyway."""
    t = tables.tokens
    connection.execute(select(t.c.id).where(t.c.id == token_id).with_for_update())


def _exceeded(caller: Caller, what: str) -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, f"token {caller.name}: {what}")
