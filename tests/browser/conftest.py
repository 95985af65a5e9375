"""A real browser on a real dashboard over a study that a real `run` made."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from workspace import Workspace, ended

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
expect.set_options(timeout=60_000)  # else 5 s, whatever a page itself is given
SCREENS = Path(os.environ.get("MAKEMORE_SEARCH_SCREENS", "test-output/screens"))
"""Screenshots are kept here, for people to look at; the directory is ignored by git."""


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
    """The study `tiny`, made by `makemore-search run`."""
    bed = Workspace(tmp_path_factory.mktemp("browser"))
    answer = ended(bed.start("run", bed.file(), "--workers", 1), timeout=180)
    assert 0 == answer.status, answer.err
    return bed


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts `makemore-search dashboard` over a data directory; gives its address."""
    started: list[subprocess.Popen[str]] = []

    def start(bed: Workspace, *options: str) -> str:
        place = ("--port", "0", "--data-dir", str(bed.data_dir.root))
        process = subprocess.Popen(
            [sys.executable, "-m", "search", "dashboard", *place, *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        return line.split(" on ")[-1].split("?")[0].split(" (")[0].rstrip("/")

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def keep(page: Page, name: str, *, whole: bool = False) -> None:
    """Keeps a screenshot."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png", full_page=whole)
