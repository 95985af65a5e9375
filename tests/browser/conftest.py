"""A real browser on a real dashboard over a study that a real `run` made."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, FLAGS
from dashboards import TOKEN, served
from playwright.sync_api import Browser, Page, expect, sync_playwright
from workspace import Workspace

expect.set_options(timeout=60_000)  # else 5 s, whatever a page itself is given


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium these tests are skipped; in CI that is a failure."""
    if CHROMIUM is None and "CI" not in os.environ:
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    assert CHROMIUM is not None, "no Chromium: install the package `chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A fresh page; an error in it fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    made = context.new_page()
    made.set_default_timeout(60_000)
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    context.close()
    assert [] == errors


@pytest.fixture(scope="session")
def study_of_a_run(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study `tiny`, made by `makemore-search run`; only to look at."""
    bed = Workspace(tmp_path_factory.mktemp("browser"))
    answer = bed.cli("run", bed.file(), "--workers", 1)
    assert 0 == answer.status, answer.err
    return bed


@pytest.fixture(scope="session")
def dashboard(study_of_a_run: Workspace) -> Iterator[str]:
    """The address of a dashboard over the study `tiny`."""
    with served(study_of_a_run) as address:
        yield address


@pytest.fixture(scope="session")
def guarded(study_of_a_run: Workspace) -> Iterator[str]:
    """The address of a dashboard over the study `tiny` that wants TOKEN."""
    file = study_of_a_run.root / "token"
    file.write_text(f"{TOKEN}\n")
    with served(study_of_a_run, "--token-file", str(file)) as address:
        yield address


@pytest.fixture(scope="session")
def report(study_of_a_run: Workspace) -> Path:
    """The report about the study `tiny`."""
    path = study_of_a_run.root / "report.html"
    study_of_a_run.json("report", "tiny", "-o", path)
    return path
