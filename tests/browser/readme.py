"""Makes the transcripts and pictures of README and docs/, all of one real run of the program.

    PYTHONPATH=tests python tests/browser/readme.py [STUDY.toml]

The study is run in a temporary directory, then sampled, photographed, confirmed and tested there.
What the program said replaces the transcripts in README.md and docs/, the pictures those in docs/,
and docs/pictures.json says what the pictures are of. tests/test_docs.py holds all of it against the
program. It takes about three minutes on two cores that have nothing else to do.
"""

import hashlib
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chromium import CHROMIUM, FLAGS
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text
from transcripts import replaced, report_labels, shortened

ROOT = Path(__file__).parent.parent.parent
DOCS, README = ROOT / "docs", ROOT / "README.md"
SIZE = {"width": 1180, "height": 760}
COLUMNS, ROWS = 118, 24
CLEARING = re.compile(rb"\x1b\[\?25[lh]|\x1b\[1A|\x1b\[2K|\r")
FRAME_ENDS = re.compile(rb"(?:\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)*)")
RECORD = r" +\w+  best dev loss"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
PROGRAM = (sys.executable, "-P", "-m", "search")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("MAKEMORE_SEARCH_")}
SAMPLES = ("sample", "{name}", "-n", "8", "--seed", "1")
CONFIRM = ("confirm", "{name}", "--top", "3", "--seeds", "3", "--ensemble", "5")


def main() -> None:
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "studies/quick.toml")
    name, transcripts = file.stem, {}
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        place = Path(made)
        (place / file.parent).mkdir(parents=True)
        shutil.copy(ROOT / file, place / file)
        frame, said = run_on_a_terminal(["run", str(file)], place)
        words = said_by(SAMPLES, name, place, errors=False)
        transcripts["search"] = as_text(
            command(["run", str(file)]),
            *shortened([line for line in said if not is_toml(line)], RECORD),
            command(told(SAMPLES, name)) + " | paste -sd' '",
            " ".join(words),
        )
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        draw_terminal(frame, command(["run", str(file)])[2:], DOCS / "terminal.svg")
        photograph_dashboard(browser, place, DOCS / "dashboard.png")
        labels = photograph_report(browser, name, place, DOCS / "report.png")
        browser.close()
        transcripts["belief"] = as_text(
            command(told(CONFIRM, name)),
            *shortened(said_by(CONFIRM, name, place), r"  trial \d+, seed"),
            command(["test", name, "--yes"]),
            *said_by(("test", "{name}", "--yes"), name, place),
        )
    pages = {path: path.read_text(encoding="utf-8") for path in (README, *DOCS.glob("*.md"))}
    for path, page in replaced(pages, transcripts).items():
        path.write_text(page, encoding="utf-8")
    described = {
        "report_labels": labels,
        "terminal": frame_text(frame),
        "sha256": {
            each: hashlib.sha256((DOCS / each).read_bytes()).hexdigest()
            for each in ("terminal.svg", "dashboard.png", "report.png", "service.png")
        },
    }
    text = json.dumps(described, indent=1, ensure_ascii=False)
    (DOCS / "pictures.json").write_text(f"{text}\n", encoding="utf-8")


def is_toml(line: str) -> bool:
    """Whether a line is one of the configuration at the end of a run, which README leaves out."""
    return " = " in line or line == "[config]"


def command(words: list[str]) -> str:
    return f"$ makemore-search {' '.join(words)}"


def told(words: tuple[str, ...], name: str) -> list[str]:
    return [word.format(name=name) for word in words]


def as_text(*lines: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines)


def said_by(words: tuple[str, ...], name: str, place: Path, *, errors: bool = True) -> list[str]:
    """What a command says where there is no terminal."""
    done = subprocess.run(
        [*PROGRAM, *told(words, name)],
        cwd=place,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def run_on_a_terminal(words: list[str], place: Path) -> tuple[str, list[str]]:
    """Runs a command with its standard error on a terminal.

    Returns:
        The display at two thirds of the way; and what stays of all that was said: the lines for
        new bests, the answer on standard output, and what is told after it.
    """
    leader, follower = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*PROGRAM, *words],
            stdout=output,
            stderr=follower,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT | size,
            cwd=place,
            close_fds=True,
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
        assert process.wait() == 0, seen.decode()
        output.seek(0)
        answer = output.read().splitlines()
    last = CLEARING.sub(b"", FRAME_ENDS.split(seen)[-1]).decode()
    after = [line for line in STYLE.sub("", last).split("\n") if line.strip()]
    after = [line for line in after if not re.match(RECORD, line)]
    return assembled(seen), [*records_of(FRAME_ENDS.split(seen)), *answer, *after]


def records_of(frames: list[bytes]) -> list[str]:
    """The lines for new bests."""
    lines = [line for each in frames for line in CLEARING.sub(b"", each).decode().split("\n")]
    return list(dict.fromkeys(line for line in lines if "best dev loss" in line[:30]))


def frame_text(frame: str) -> list[str]:
    return [line.rstrip() for line in STYLE.sub("", frame).splitlines()]


def assembled(seen: bytes) -> str:
    """The lines for new bests so far, and the display under them, two thirds of the way."""
    frames = FRAME_ENDS.split(seen)
    bar = [index for index, each in enumerate(frames) if b" trials " in each]
    chosen = bar[2 * len(bar) // 3]
    lines = CLEARING.sub(b"", frames[chosen]).decode().split("\n")
    live = [line for line in lines if line.strip() and "best dev loss" not in line]
    return "\n".join([*records_of(frames[: chosen + 1]), *live])


def draw_terminal(frame: str, command: str, path: Path) -> None:
    """A terminal as SVG."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: PTH123,SIM115
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(frame), no_wrap=True)
    console.save_svg(str(path), title="makemore-search")
    # A font that is on every machine, in place of one that would be fetched from the network.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", path.read_text(), flags=re.S)
    path.write_text(svg.replace("Fira Code, monospace", "monospace"))


def photograph_dashboard(browser: Browser, place: Path, path: Path) -> None:
    """The study's page in the dashboard."""
    process = subprocess.Popen(
        [*PROGRAM, "dashboard", "--port", "0"],
        cwd=place,
        env=ENVIRONMENT,
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


def photograph_report(browser: Browser, study: str, place: Path, path: Path) -> list[str]:
    """The first screen of the report; returns what its tiles and sections are called."""
    said_by(("report", "{name}", "-o", "report.html"), study, place)
    page = browser.new_page(viewport=SIZE | {"height": 980})
    page.goto((place / "report.html").as_uri())
    page.wait_for_selector("html[data-drawn]")
    page.screenshot(path=path)
    return report_labels((place / "report.html").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
