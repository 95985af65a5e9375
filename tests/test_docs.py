"""README and docs/ show what the program says today: transcripts and pictures of one run."""

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transcripts import blocks, report_labels, shape, shortened, unknown
from workspace import Workspace

from makemore_core.config import FIELDS
from search.evaluation.baselines import baselines
from search.study import study
from search.system.processes import HOST
from search.terminal.display import render
from search.terminal.live_view import HINT_RUN
from search.trials import status
from search.trials.history import WorkerView

ROOT = Path(__file__).parent.parent
TRANSCRIPTS = {
    name: text
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    for name, text in blocks(page.read_text(encoding="utf-8")).items()
}
PICTURES: dict[str, Any] = json.loads((ROOT / "docs" / "pictures.json").read_text("utf-8"))


def spoken(bed: Workspace, *arguments: Any) -> list[str]:
    """The lines that a command says, on both streams."""
    answer = bed.cli(*arguments)
    assert 0 == answer.status, answer.err
    return [*answer.out.splitlines(), *answer.err.splitlines()]


def test_the_transcript_of_a_search_is_what_run_says(finished: Workspace) -> None:
    """Each line has a shape that `run` prints today; else tests/browser/readme.py is to be run."""
    said = spoken(finished, "run", finished.root / "tiny.toml", "--workers", 1)
    shown, _, samples = TRANSCRIPTS["search"].partition("$ makemore-search sample")
    assert [] == unknown(shown, said)
    assert 2 == len(samples.splitlines())


@pytest.mark.usefixtures("trained_here")
def test_the_transcript_of_belief_is_what_confirm_and_test_say(finished: Workspace) -> None:
    """As the one above it; the numbers, and who wins, are that run's."""
    options = ("--top", 2, "--seeds", 2, "--ensemble", 2, "--workers", 1)
    said = spoken(finished, "confirm", "tiny", *options)
    said += spoken(finished, "test", "tiny", "--yes")
    assert [] == unknown(TRANSCRIPTS["belief"], said)


def test_the_pictures_are_those_of_that_run() -> None:
    """None was made by another command, or at another time; the service has its own run."""
    made = {name: (ROOT / "docs" / name).read_bytes() for name in PICTURES["sha256"]}
    assert {"terminal.svg", "dashboard.png", "report.png", "service.png"} == made.keys()
    found = {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
    assert PICTURES["sha256"] == found


def test_the_picture_of_the_terminal_shows_what_the_live_view_says(finished: Workspace) -> None:
    """Bar, best, workers and counts look as the display draws them today."""
    stored = study.resolve(finished.storage, "tiny")
    view = status.status(finished.storage, stored)
    running = {**view.trials, "running": 2}
    view = dataclasses.replace(view, trials=running, eta_seconds=9.0, ended_by=None, workers=2)
    workers = [
        WorkerView(HOST, 1, 7, 2_000, 2.5),
        WorkerView(HOST, 2, 8, 0, None),
        WorkerView(HOST, 3, None, None, None),
    ]
    others = baselines(finished.storage, stored, finished.data_dir)
    screen = Console(file=io.StringIO(), width=120, highlight=False)
    screen.print(render(view, workers, stored, others, HINT_RUN))
    assert isinstance(screen.file, io.StringIO)
    drawn = [shape(without_bars(line)) for line in screen.file.getvalue().splitlines()]
    lines = [line for line in PICTURES["terminal"] if "best dev loss" not in line[:30]]
    lines = [line for line in lines if not is_searched_values(line)]
    drawn = [line.replace(stored.corpus_name, "first-names") for line in drawn]
    assert [] == [line for line in lines if not is_drawn(shape(without_bars(line)), drawn)]


def is_searched_values(line: str) -> bool:
    """Whether a line holds values of the best: which ones, and how they wrap, is the study's."""
    return all(pair.partition("=")[0] in FIELDS for pair in line.split())


def is_drawn(line: str, drawn: list[str]) -> bool:
    """Whether a line of the picture is one of today's; what the terminal's edge cut is a part."""
    if not line.endswith("…"):
        return line in drawn
    return any(each.startswith(line.rpartition(" ")[0]) for each in drawn)


def without_bars(line: str) -> str:
    return "".join(character for character in line if character not in "━╸╺")


def test_the_picture_of_the_report_shows_todays_tiles_and_sections(finished: Workspace) -> None:
    """What the report calls them has not changed since."""
    page = finished.root / "report.html"
    assert 0 == finished.cli("report", "tiny", "-o", page).status
    assert PICTURES["report_labels"] == report_labels(page.read_text(encoding="utf-8"))


def test_a_line_of_another_shape_is_noticed() -> None:
    """Numbers and names may differ, words may not; many lines of a kind are shortened."""
    said = ["tiny: 12/12 trials (5 complete), best 2.2702 (trial 1), 1m05s"]
    same = "quick: 40/40 trials (16 complete), best 2.2223 (trial 31), 29s"
    assert [] == unknown(f"$ makemore-search run\n{same}\n  ...\n", said)
    assert [f"{same} or so"] == unknown(f"{same} or so\n", said)
    lines = ["begin", *(f"  {number} seen" for number in range(9)), "end"]
    short = shortened(lines, r"  \d+ seen")
    assert ["  2 seen", "  ...", "  6 seen", "  7 seen"] == short[3:7]
    assert 9 == len(short)
