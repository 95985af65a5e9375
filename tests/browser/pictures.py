"""Makes the README's pictures: the dashboard, the report and the terminal, of a real run.

    PYTHONPATH=tests python tests/browser/pictures.py [STUDY.toml] [docs]

The study is run in a temporary directory; the pictures replace those in docs/.
"""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import CHROMIUM, FLAGS
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

SIZE = {"width": 1180, "height": 760}
COLUMNS, ROWS = 108, 24
CLEARING = re.compile(rb"\x1b\[\?25[lh]|\x1b\[1A|\x1b\[2K|\r")
PROGRAM = (sys.executable, "-m", "search")


def main() -> None:
    study = sys.argv[1] if len(sys.argv) > 1 else "studies/quick.toml"
    docs = Path(sys.argv[2] if len(sys.argv) > 2 else "docs")
    docs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        frame = run_on_a_terminal([*PROGRAM, "run", study, "--data-dir", place])
        draw_terminal(frame, f"makemore-search run {study}", docs / "terminal.svg")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        photograph_dashboard(browser, place, docs / "dashboard.png")
        photograph_report(browser, Path(study).stem, place, docs / "report.png")
        browser.close()
    for path in sorted(docs.glob("*.[ps][nv]g")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def run_on_a_terminal(command: list[str]) -> str:
    """Runs a command on a terminal of its own; returns the display at two thirds of the way."""
    leader, follower = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdout=follower, stderr=follower, env=os.environ | size, close_fds=True
    )
    os.close(follower)
    seen = b""
    while process.poll() is None or select.select([leader], [], [], 0.2)[0]:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:
                break
    os.close(leader)
    return assembled(seen)


def assembled(seen: bytes) -> str:
    """The lines for new bests so far, and the display under them, two thirds of the way."""
    frames = re.split(rb"(?:\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)*)", seen)
    bar = [index for index, each in enumerate(frames) if b" trials " in each]
    chosen = bar[2 * len(bar) // 3]
    records = [
        line
        for each in frames[: chosen + 1]
        for line in CLEARING.sub(b"", each).split(b"\n")
        if b"best dev loss" in line
    ]
    live = [line for line in CLEARING.sub(b"", frames[chosen]).split(b"\n") if line.strip()]
    live = [line for line in live if b"best dev loss" not in line]
    return b"\n".join([*dict.fromkeys(records), *live]).decode()


def draw_terminal(frame: str, command: str, path: Path) -> None:
    """A terminal as SVG."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: PTH123,SIM115
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(frame), no_wrap=True)
    console.save_svg(str(path), title="makemore-search")
    # A font that is on every machine, in place of one that would be fetched from the network.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", path.read_text(), flags=re.S)
    path.write_text(svg.replace("Fira Code, monospace", "monospace"))


def photograph_dashboard(browser: Browser, place: str, path: Path) -> None:
    """The study's page in the dashboard."""
    process = subprocess.Popen(
        [*PROGRAM, "dashboard", "--port", "0", "--data-dir", place],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = process.stderr.readline().split(" on ")[-1].split(" (")[0].rstrip("/")
    page = browser.new_page(viewport=SIZE)
    page.goto(f"{address}/dashboard/studies/1")
    page.wait_for_selector(".main-svg .scatterlayer .trace path")
    time.sleep(2)
    page.screenshot(path=path)
    process.terminate()
    process.communicate()


def photograph_report(browser: Browser, study: str, place: str, path: Path) -> None:
    """The first screen of the report."""
    page_path = Path(place) / "report.html"
    command = [*PROGRAM, "report", study, "-o", str(page_path), "--data-dir", place]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    page = browser.new_page(viewport=SIZE | {"height": 980})
    page.goto(page_path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    page.screenshot(path=path)


if __name__ == "__main__":
    main()
