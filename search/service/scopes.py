"""Scopes: what a caller of the service may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from search.trials.changes import Author


class Scope(IntEnum):
    """What a caller may do; each scope includes those before it."""

    NONE = 0
    READ = 1
    SUBMIT = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """The scope as users write it."""
        return self.name.lower()


WORDS = tuple(scope.word for scope in Scope if scope)
"""The scopes that a token may have."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and with what scope."""

    name: str
    """Of the token; of a caller without one, `LOOPBACK` or empty."""
    scope: Scope
    token_id: str | None = None
    """Of a token in the storage; None of the one in `--token-file` and of a caller without one."""
    by_cookie: bool = False
    """Whether a browser's session stands for the token."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """As `tokens.LIMITS`; what is left out has none."""

    @property
    def author(self) -> Author:
        """The caller as the author of changes."""
        return Author(self.name, self.token_id)


LOOPBACK = "loopback"
"""The name of a caller on this machine, as long as the service has no token."""
TOKEN_FILE = "token-file"
"""The name of the token in `--token-file`."""
NOBODY = Caller("", Scope.NONE)
