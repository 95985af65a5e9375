"""The service's page in a real browser: on a real service with two workers and a real study."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import tomli_w
from chromium import keep
from playwright.sync_api import Browser, Page, expect
from workspace import Workspace, some_words, tiny

from search.service import tokens

Start = Callable[..., str]
WINDOWS: tuple[tuple[int, Literal["light", "dark"]], ...] = (
    (1200, "dark"),
    (600, "light"),
    (400, "light"),
    (400, "dark"),
)
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `makemore-search serve` over a workspace; gives its address."""
    started: list[subprocess.Popen[str]] = []

    def serve(bed: Workspace, *options: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "search", *bed.arguments("serve", "--port", 0, *options)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        return process.stderr.readline().split(" on ")[-1].split(" with ")[0].rstrip("/")

    yield serve
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def signed_in(browser: Browser, address: str, bed: Workspace, name: str, scope: str) -> Page:
    """A page in a browser of its own, after the token's link was followed."""
    _, secret = tokens.create(bed.storage, name, scope)
    page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/?token={secret}")
    assert secret not in page.url
    return page


@pytest.mark.long
def test_every_page_fits_and_is_reached_by_keyboard(
    page: Page, study_of_a_run: Workspace, start: Start
) -> None:
    """No page is wider than its window, at 400 px either, in light or dark; the first key leads to
    the content."""
    address = start(study_of_a_run, "--workers", "0", "--writable")
    paths = ("", "studies/tiny", "studies/tiny/trials", "studies/tiny/trials/3", "submit")
    for path in (*paths, "corpora", "compare?study=tiny", "studies/tiny/confirm"):
        name = re.sub(r"\W+", "-", path) or "list"
        page.goto(f"{address}/{path}")
        for width, scheme in WINDOWS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            assert not page.evaluate(TOO_WIDE), (path, width)
            keep(page, f"service-{name}-{width}-{scheme}", whole=True)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_page_tells_when_the_service_is_gone(page: Page, finished: Workspace) -> None:
    """What is shown stays, and a line says that it may be old."""
    with subprocess.Popen(
        [sys.executable, "-m", "search", *finished.arguments("serve", "--port", 0, "--workers", 0)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        page.goto(process.stderr.readline().split(" on ")[-1].split(" with ")[0])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        expect(page.get_by_text("The service cannot be reached")).to_be_visible()
        expect(page.get_by_role("link", name="tiny")).to_be_visible()


@pytest.mark.long
def test_a_study_from_its_file_to_its_test(
    chromium: Browser, bed: Workspace, start: Start, tmp_path: Path
) -> None:
    """Ann uploads words, submits a file with mistakes, mends them, watches the study, resumes,
    stops, confirms, tests and deletes it; Bob, who may only read, sees all of it and changes
    nothing."""
    address = start(bed, "--workers", "2")
    ann = signed_in(chromium, address, bed, "ann", "admin")
    bob = signed_in(chromium, address, bed, "bob", "read")
    expect(bob.get_by_role("link", name="New study")).to_have_count(0)
    bob.goto(f"{address}/submit")
    expect(bob.get_by_role("alert")).to_contain_text("token bob: has scope read")

    words = tmp_path / "mine.txt"
    words.write_text("\n".join(some_words()), encoding="utf-8")
    ann.get_by_role("link", name="Corpora").click()
    ann.get_by_label("File").set_input_files(words)
    ann.get_by_role("button", name="Upload").click()
    expect(ann.get_by_role("status").first).to_contain_text("uploaded")

    ann.get_by_role("link", name="New study").click()
    right = tomli_w.dumps(tiny(budget={"trials": 4, "examples": 40_000}))
    editor = ann.get_by_label("Study file")
    editor.fill(right.replace("trials = 4", "trails = 4"))
    ann.get_by_label("Corpus").select_option(label="mine (uploaded by ann)")
    ann.get_by_role("button", name="Check it").click()
    expect(ann.get_by_role("alert")).to_contain_text("did you mean trials?")
    keep(ann, "service-mistakes", whole=True)
    ann.get_by_role("alert").get_by_role("link").first.click()
    expect(editor).to_be_focused()
    chosen = "e => e.value.slice(e.selectionStart, e.selectionEnd)"
    assert "trails = 4" == editor.evaluate(chosen)
    editor.fill(editor.input_value().replace("trails", "trials"))
    ann.get_by_role("button", name="Check it").click()
    expect(ann.get_by_role("heading", name="What it costs")).to_be_visible()
    keep(ann, "service-cost", whole=True)
    ann.get_by_role("button", name="Start this study").click()
    expect(ann.get_by_role("heading", name="tiny", exact=True)).to_be_visible()

    bob.goto(address)
    expect(bob.get_by_role("row", name="tiny")).to_contain_text("done")
    expect(ann.get_by_text("Done: its 4 trials are finished.")).to_be_visible()

    bob.goto(f"{address}/studies/tiny")
    for action in ("Stop", "Resume", "Confirm the best", "Open the test split", "Delete"):
        expect(bob.get_by_text(action, exact=True)).to_have_count(0)
    ann.get_by_role("link", name="Resume").click()
    ann.get_by_label("Finished trials, in all").fill("5000")
    ann.get_by_role("button", name="Resume").click()
    expect(bob.get_by_text(re.compile("workers? (is|are) at work on it"))).to_be_visible()
    expect(bob.get_by_role("heading", name="Workers")).to_be_visible()
    keep(bob, "service-running", whole=True)
    ann.get_by_role("button", name="Stop").click()
    expect(bob.get_by_text("Stopped by stop")).to_be_visible()

    ann.get_by_role("link", name="Confirm the best").click()
    ann.get_by_label("Best trials to train again").fill("1")
    ann.get_by_label("Fresh seeds for each").fill("2")
    ann.get_by_role("button", name="Show the cost again").click()
    expect(ann.get_by_text("Cost: 2 trainings")).to_be_visible()
    ann.get_by_role("button", name="Confirm").click()
    expect(bob.get_by_role("heading", name="Confirm: done")).to_be_visible()
    expect(bob.get_by_role("heading", name="Confirmed")).to_be_visible()

    bob.get_by_label("Beginning").fill("a")
    bob.get_by_label("Number of words").fill("5")
    bob.get_by_role("button", name="Draw words").click()
    expect(bob.locator("#words li")).to_have_count(5)
    assert all(word.startswith("a") for word in bob.locator("#words li").all_inner_texts())
    bob.get_by_label("Beginning").fill("Ü")
    bob.get_by_role("button", name="Draw words").click()
    expect(bob.locator("#words").get_by_role("alert")).to_be_visible()

    ann.get_by_role("link", name="Open the test split").click()
    keep(ann, "service-test", whole=True)
    ann.get_by_label("type the study's name").fill("tiny")
    ann.get_by_role("button", name="Open it").click()
    expect(ann.get_by_text("The test split was opened; the answer is below.")).to_be_visible()
    answer = ann.locator("[data-part=opening] strong").inner_text()
    expect(bob.locator("[data-part=opening] strong")).to_have_text(answer)
    ann.goto(f"{address}/studies/tiny/test")
    expect(ann.get_by_text("this is the recorded answer")).to_be_visible()
    expect(ann.locator("[data-part=opening] strong")).to_have_text(answer)
    keep(ann, "service-tested", whole=True)

    ann.get_by_role("link", name="Delete").click()
    ann.get_by_label("type the study's name").fill("tony")
    ann.get_by_role("button", name="Delete it").click()
    expect(ann.get_by_role("alert")).to_contain_text("is not the study's name")
    ann.get_by_label("type the study's name").fill("tiny")
    ann.get_by_role("button", name="Delete it").click()
    expect(ann.get_by_text("The study was deleted")).to_be_visible()
    expect(bob.get_by_role("alert")).to_contain_text("none of this name")
    tokens.revoke(bed.storage, "bob")
    bob.goto(address)
    expect(bob.get_by_label("Token")).to_be_visible()
