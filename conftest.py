"""What the doctests stand on: those of `search.api` read a small study that is done."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workspace import Workspace

from search import api


@pytest.fixture(autouse=True)
def _finished_study(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Lets each doctest of `search.api` run beside the data directory `runs`, with a loaded study
    and its model at hand."""
    if not request.node.name.startswith("search.api"):
        yield
        return
    place: Path = request.getfixturevalue("_place_of_doctests")
    namespace: dict[str, Any] = request.getfixturevalue("doctest_namespace")
    monkeypatch.chdir(place)
    for name in [name for name in os.environ if name.startswith("MAKEMORE_SEARCH_")]:
        monkeypatch.delenv(name)
    with api.load_study("tiny") as study:
        namespace |= {"api": api, "study": study, "model": study.model()}
        yield
    for name in ("api", "study", "model"):
        del namespace[name]


@pytest.fixture(scope="session")
def _place_of_doctests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose `runs` holds the study `tiny`, done; made once, never changed."""
    workspace = Workspace(tmp_path_factory.mktemp("doctests"))
    workspace.work(workspace.create())
    workspace.close()
    return workspace.root
