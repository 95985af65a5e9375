"""The service's application in this process, over a workspace, and clients for it."""

import warnings
from typing import Any

import pytest
from called_here import CalledHere
from workspace import Workspace

from search.dashboard.app import Access
from search.service import calls, helper, tokens
from search.service.app import create_app
from search.service.context import ServiceContext

with warnings.catch_warnings():  # it would rather have httpx2, which is httpx by another name
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


class Service:
    """An application over a workspace, and tokens for it."""

    def __init__(self, bed: Workspace, access: Access, helpers: bool) -> None:
        """`helpers`: it has real helper processes."""
        self.bed = bed
        self.context = ServiceContext(bed.storage, bed.url, bed.data_dir, access)
        self._patch = pytest.MonkeyPatch()
        if not helpers:
            self._patch.setattr(helper, "ChildProcess", CalledHere)
            self._patch.setattr(calls, "_open_storage", lambda _url: bed.storage)
        self.app = create_app(self.context)
        self._client = TestClient(self.app, base_url="http://localhost", client=("127.0.0.1", 9))

    def __enter__(self) -> "Service":
        self._client.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._client.__exit__(*error)
        self._patch.undo()

    def client(self, token: str | None = None, **headers: str) -> TestClient:
        """A client with a token, or on loopback without one."""
        made = TestClient(
            self.app,
            base_url="http://localhost",
            client=("127.0.0.1", 9),
            follow_redirects=False,
            headers=headers if token is None else headers | {"Authorization": f"Bearer {token}"},
        )
        made.portal = self._client.portal  # one event loop for all
        return made

    def token(self, scope: str, name: str | None = None, **limits: int) -> str:
        """The secret of a new token."""
        secret = tokens.create(self.bed.storage, name or f"a-{scope}", scope, limits)[1]
        self.context.known_tokens.clear()
        return secret

    def revoke(self, name: str) -> None:
        tokens.revoke(self.bed.storage, name)
        self.context.known_tokens.clear()
