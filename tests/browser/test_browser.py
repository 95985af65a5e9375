"""What a person sees: the dashboard and the report in a real browser, on a study of a real run."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

import large
import pytest
from chromium import keep
from dashboards import TOKEN, served
from playwright.sync_api import Page, expect
from workspace import InterruptedAfter, Workspace, wait_until

from search.errors import Interrupted
from search.paths import DataDir
from search.study import study

POINTS = ".main-svg .scatterlayer .trace path, .main-svg .scatterlayer .points path"
QUICK_ENOUGH = 20.0
NARROW = "document.documentElement.scrollWidth <= 400"
OVERLAPS = """(() => {
  const boxes = [...document.querySelectorAll(".plot .main-svg:first-child")].map(
    (svg) => svg.getBoundingClientRect());
  return boxes.filter((a, i) => boxes.some((b, j) => i < j && a.left < b.right - 1
    && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)).length;
})()"""
"""How many figures lie on another one."""


def drawn(page: Page) -> None:
    """Waits until a figure of the dashboard has points in it."""
    page.wait_for_function(f"document.querySelectorAll('{POINTS}').length > 0", polling=500)


def test_list_history_and_trial_with_its_pictures(
    page: Page, study_of_a_run: Workspace, dashboard: str
) -> None:
    """From the list of studies to the history to the best trial's page with three pictures."""
    page.goto(dashboard)
    expect(page.get_by_text("tiny")).to_be_visible()
    keep(page, "studies")
    page.get_by_text("tiny").click()
    drawn(page)
    expect(page.get_by_text("dev loss").first).to_be_visible()
    keep(page, "history")
    best = study_of_a_run.json("best", "tiny")["trial"]
    page.goto(f"{dashboard}/dashboard/studies/1/trials?numbers={best}")
    expect(page.get_by_role("heading", name=f"Trial {best} ")).to_be_visible()
    page.wait_for_function(
        "[...document.images].filter(i => i.src.includes('/artifacts/') && i.naturalWidth > 300)"
        ".length == 3"
    )
    page.get_by_role("img", name="samples.svg").scroll_into_view_if_needed()
    keep(page, "trial")
    page.goto(f"{dashboard}/dashboard/studies/1/note")
    expect(page.get_by_text("Test split").first).to_be_visible()
    keep(page, "note")


def test_the_page_lives_while_a_study_runs(page: Page, bed: Workspace) -> None:
    """A page that is open shows trials that came after it was opened, without a reload."""
    stored = bed.create(budget={"trials": 10_000})

    def work() -> None:
        with pytest.raises(Interrupted):
            bed.work(stored, InterruptedAfter(30))

    work()
    counts = "(document.body.innerText.match(/(\\d+) Trials/) || [0, 0])[1]"
    with served(bed) as address:
        page.goto(f"{address}/dashboard/studies/1/trials")
        page.wait_for_function(f"{counts} > 0")
        before = int(page.evaluate(counts))
        work()
        page.wait_for_function(f"{counts} > {before}")
        keep(page, "running")


def test_login(page: Page, guarded: str) -> None:
    """Without the token a form; with it the dashboard, and no token left in the address."""
    page.goto(f"{guarded}/dashboard")
    expect(page.get_by_role("heading", name="This dashboard needs a token")).to_be_visible()
    keep(page, "login")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("That token is wrong")).to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("tiny")).to_be_visible()
    assert "token" not in page.url
    page.reload()
    expect(page.get_by_text("tiny")).to_be_visible()


def test_a_link_on_another_site_leads_in(page: Page, dashboard: str, guarded: str) -> None:
    """The link with the token works from a mail, although strict cookies stay behind there."""
    link = f"{guarded}/dashboard?token={TOKEN}"
    elsewhere = dashboard.replace("127.0.0.1", "localhost")
    page.route(f"{elsewhere}/mail", lambda route: route.fulfill(
        content_type="text/html", body=f'<a href="{link}">dashboard</a>'
    ))  # fmt: skip
    page.goto(f"{elsewhere}/mail")
    page.get_by_role("link").click()
    expect(page.get_by_text("tiny")).to_be_visible()


def test_a_refused_delete(page: Page, study_of_a_run: Workspace, dashboard: str) -> None:
    """Deleting a study from the page is refused; the database keeps every byte."""
    database = study_of_a_run.data_dir.database
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    page.goto(f"{dashboard}/dashboard")
    expect(page.get_by_text("tiny")).to_be_visible()
    status = page.evaluate(
        "fetch('/api/studies/1', {method: 'DELETE', body: '{}'}).then(r => r.status)"
    )
    assert 405 == status
    page.reload()
    expect(page.get_by_text("tiny")).to_be_visible()
    assert before == hashlib.sha256(database.read_bytes()).hexdigest()
    request = urllib.request.Request(f"{dashboard}/api/studies/1", method="DELETE")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    refused.value.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_from_disk(page: Page, report: Path, scheme: str) -> None:
    """Every figure is drawn, in either theme and for print, and nothing is asked of a network."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(report.as_uri())
    expect(page.locator("html[data-drawn]")).to_be_attached()
    places, figures = page.evaluate(
        "[document.querySelectorAll('.plot').length,"
        " [...document.querySelectorAll('.plot')].filter(p => p.querySelector('.main-svg path,"
        " .main-svg text')).length]"
    )
    assert places == figures >= 6
    assert 1280 >= page.evaluate("document.documentElement.scrollWidth")
    keep(page, f"report-{scheme}", whole=True)
    page.set_viewport_size({"width": 400, "height": 900})
    wait_until(lambda: page.evaluate(f"{NARROW} && {OVERLAPS} == 0"), timeout=20)
    keep(page, f"report-{scheme}-narrow", whole=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="print")
    expect(page.locator("html.printing")).to_be_attached()
    keep(page, f"report-{scheme}-print", whole=True)
    assert [report.as_uri()] == asked


@pytest.mark.long
def test_a_large_study_opens(page: Page, bed: Workspace) -> None:
    """Ten thousand trials of ten reports: a report and an open dashboard, in 20 s each.

    On a machine that is busy with other things, the time is told but not judged.
    """
    large.fill(DataDir(bed.data_dir.root))
    started = time.monotonic()
    bed.json("report", "large", "-o", bed.root / "large.html")
    report = time.monotonic() - started
    with served(bed) as address:
        started = time.monotonic()
        page.goto(f"{address}/dashboard/studies/1")
        page.set_default_timeout(150_000)
        drawn(page)
        opened = time.monotonic() - started
        keep(page, "large")
    print(f"10,000 trials: report {report:.1f} s, dashboard {opened:.1f} s")
    if os.getloadavg()[0] <= (os.cpu_count() or 1):
        assert max(report, opened) < QUICK_ENOUGH
    assert study.resolve(bed.storage, "large").name == "large"
