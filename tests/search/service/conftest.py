"""Starts services over workspaces."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from service import Service
from workspace import Workspace

from search.dashboard.app import Access


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Starts a service over a workspace: `serve(bed, writable=True)`; with `helpers=True` it has
    real helper processes."""
    with ExitStack() as stack:

        def start(bed: Workspace, *, helpers: bool = False, **access: Any) -> Service:
            return stack.enter_context(Service(bed, Access(**access), helpers))

        yield start
