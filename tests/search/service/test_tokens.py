"""The verb `token`, and what is stored of a token."""

import pytest
from workspace import Workspace

from search.service import tokens


@pytest.mark.sqlite_file
def test_a_token_is_created_listed_and_revoked(bed: Workspace) -> None:
    """Its secret is shown once, and stored nowhere; the list has its scope and its limits."""
    created = bed.json("token", "create", "ann", "--scope", "submit", "--max-memory", "2GB")
    secret = created.pop("token")
    assert {
        "name": "ann",
        "scope": "submit",
        "limits": {"memory": 2 * 10**9},
    }.items() <= created.items()
    assert [created] == bed.json("token", "list") and secret not in bed.cli("token", "list").out
    assert secret.encode() not in bed.data_dir.database.read_bytes()
    found = tokens.find(bed.storage, secret)
    assert found is not None and "ann" == found.name
    assert bed.json("token", "revoke", "ann")["revoked_at"]
    assert None is tokens.find(bed.storage, secret)


def test_bad_tokens_are_one_line_and_status_2(bed: Workspace) -> None:
    """A name that is taken or none, no scope, another action: one line that says what is right."""
    bed.json("token", "create", "ann", "--scope", "read")
    for arguments in (
        ("create", "ann", "--scope", "read"),
        ("create", "loopback", "--scope", "read"),
        ("create", "a b", "--scope", "read"),
        ("create", "eve"),
        ("create", "eve", "--scope", "root"),
        ("create", "eve", "--scope", "read", "--max-memory", "much"),
        ("create",),
        ("list", "ann"),
        ("rename", "ann"),
        ("revoke", "eve"),
    ):
        answer = bed.cli("token", *arguments)
        assert 2 == answer.status and answer.complaint, arguments
    assert ["ann"] == [each["name"] for each in bed.json("token", "list")]
