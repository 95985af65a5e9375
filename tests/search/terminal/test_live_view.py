"""The live view: what it says, and that it costs next to nothing."""

import io
import time
import tomllib
from dataclasses import replace

import pytest
from rich.console import Console
from workspace import Workspace

from search.evaluation.baselines import Baselines, lecture
from search.study import study
from search.study.study import StoredStudy
from search.system.processes import HOST
from search.terminal.display import closing_summary, ended_without_result, render
from search.terminal.live_view import HINT_RUN, HINT_STOPPING, HINT_WATCH, LiveView
from search.trials import results, status
from search.trials.history import WorkerView

WIDTH = 80


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=WIDTH, highlight=False)


def told(shown: Console) -> str:
    file = shown.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tiny(bed: Workspace) -> StoredStudy:
    return study.resolve(bed.storage, "tiny")


def test_plain_lines_where_there_is_no_terminal(finished: Workspace) -> None:
    """Each new best and the counts as lines; no control characters."""
    plain = console(terminal=False)
    with LiveView(finished.storage, tiny(finished), plain) as shown:
        shown.update(last=True)
    best = results.require_best(finished.storage, tiny(finished))
    text = told(plain)
    assert f"best dev loss {best.dev_loss:.4f}" in text and "12/12 trials" in text
    assert HINT_RUN.split(":")[0] in text and "\x1b" not in text


def test_a_line_for_every_record_also_between_looks(finished: Workspace) -> None:
    """A best that another replaced before anyone looked still gets its line."""
    from search.trials import history

    plain = console(terminal=False)
    LiveView(finished.storage, tiny(finished), plain).update()
    records = history.incumbents(finished.storage, tiny(finished))
    assert len(records) == told(plain).count("best dev loss")


def test_quiet_says_nothing_and_reads_nothing(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--quiet does not even look."""
    monkeypatch.setattr(status, "status", None)
    plain = console(terminal=False)
    with LiveView(finished.storage, tiny(finished), plain, quiet=True) as shown:
        shown.update(last=True)
    assert "" == told(plain)


def drawn(bed: Workspace, workers: list[WorkerView], width: int, height: int = 24) -> list[str]:
    """The lines of the live display on a screen of this size."""
    stored = tiny(bed)
    screen = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    others = Baselines(2.4528, None, 2.17)
    view = status.status(bed.storage, stored)
    screen.print(render(view, workers, stored, others, HINT_WATCH, width=width, height=height))
    return told(screen).splitlines()


@pytest.mark.parametrize("width", [80, 50])
def test_the_live_display_cuts_nothing(finished: Workspace, width: int) -> None:
    """Bar, best with every searched value, a line for each worker, counts and the hint, whole,
    within the columns of the screen."""
    workers = [
        WorkerView(HOST, 1, 7, 2_000, 2.5),
        WorkerView("elsewhere", 2, 8, None, None),
        WorkerView(HOST, 3, None, None, None),
    ]
    lines = drawn(finished, workers, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    seen = "2,000 examples" if width == 80 else "50%"
    for words in ("12/12 trials", f"trial 7 {seen} dev 2.5000", "on elsewhere", HINT_WATCH):
        assert words in text.replace("━", "").replace("╸", "").replace("  ", " ")
    assert "bigram 2.453 · the lecture's 2.17" in text and "…" not in text
    best = results.require_best(finished.storage, tiny(finished))
    searched = ("embedding_size", "hidden_width", "block_size", "batch_size", "learning_rate")
    assert [] == [name for name in searched if f" {name}=" not in text]
    assert f"hidden_width={best.config['hidden_width']} " in text
    assert "dropout=" not in text  # which has one value


def test_workers_without_room_are_counted(finished: Workspace) -> None:
    """On a screen of 24 lines, forty workers leave the rest of the display in sight."""
    workers = [WorkerView(HOST, number, number, 2_000, 2.5) for number in range(40)]
    lines = drawn(finished, workers, 80)
    assert len(lines) <= 24
    assert any("and 31 more workers" in line for line in lines)
    assert [HINT_WATCH, ""] == lines[-2:]  # the last line is for the echo of ^C


def test_a_terminal_gets_a_display_that_goes_away(finished: Workspace) -> None:
    """On a terminal the display is drawn and cleared; the lines for new bests stay."""
    terminal = console(terminal=True)
    with LiveView(finished.storage, tiny(finished), terminal) as shown:
        shown.update()
    assert "12/12" in told(terminal) and "best dev loss" in told(terminal)


def test_looks_are_few_and_fewer_when_they_cost(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most two looks a second, and never more than a hundredth of a core's time."""
    clock, looks, cost, price = Clock(), [0], [0.0], [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: cost[0])
    view = LiveView(finished.storage, tiny(finished), console(terminal=False), clock=clock)

    def poll(last: bool) -> None:
        looks[0] += 1
        cost[0] += price[0]

    monkeypatch.setattr(view, "_poll", poll)
    for each, expected in ((0.0, 20), (0.1, 1)):
        looks[0], price[0], start = 0, each, clock.now
        while clock.now - start < 9.99:
            view.update()
            clock.now += 0.1
        assert expected * 0.8 <= looks[0] <= expected
        clock.now += 100


def test_the_end_says_what_to_do_next(finished: Workspace) -> None:
    """The best configuration, where the dashboard is, and the next commands."""
    view = status.status(finished.storage, tiny(finished))
    verbs = ["best", "report", "confirm", "test"]
    text = closing_summary(view, tiny(finished), Baselines(2.5, None, None), verbs, " --data-dir d")
    for words in ("bigram 2.5", "dashboard --data-dir d", "confirm tiny"):
        assert words in text


def test_the_end_has_toml_that_can_be_pasted(finished: Workspace) -> None:
    """The lines of its [config] are those of `best --toml`."""
    view = status.status(finished.storage, tiny(finished))
    text = closing_summary(view, tiny(finished), Baselines(2.5, None, None), ["best"], "")
    block = finished.cli("best", "tiny", "--toml").out
    assert f"\n\n{block}\n" in text
    assert "config" in tomllib.loads(block)


def test_an_interruption_is_said_by_the_hint_alone(finished: Workspace) -> None:
    """At once and without reading the storage; what was reached is the one line at the end."""
    terminal, plain = console(terminal=True), console(terminal=False)
    for screen in (terminal, plain):
        with LiveView(finished.storage, tiny(finished), screen) as shown:
            shown.update()
            before = told(screen)
            shown.stopping()
            shown.update(last=True)
        added = told(screen).removeprefix(before)
        assert (HINT_STOPPING in added) == (screen is terminal)
        assert "trials (" not in added


@pytest.mark.parametrize(
    ("pruned_for", "expected", "fails"),
    [
        ({"out of memory": 12}, "pruned: 12 out of memory; what helps: fewer workers", True),
        ({"diverged": 8, "out of memory": 4}, "8 diverged, 4 out of memory; what helps: low", True),
        ({"over its memory limit": 12}, "what helps: a higher memory in [limits]", False),
        ({"over its time limit": 12}, "what helps: more seconds in [limits]", False),
        ({"pruner": 3, "diverged": 4}, "a larger budget may help", False),
        ({}, "a larger budget may help", False),
    ],
)
def test_an_end_without_a_result_says_why(
    finished: Workspace, pruned_for: dict[str, int], expected: str, fails: bool
) -> None:
    """A larger budget is advised only where it can help; a run fails unless its file's own limits
    ended every trial."""
    view = status.status(finished.storage, tiny(finished))
    view = replace(view, best=None, pruned_for=pruned_for)
    assert expected in closing_summary(view, tiny(finished), Baselines(None, None, None), [], "")
    assert fails == ended_without_result(view)


def test_the_lectures_loss_applies_to_its_own_split_only(finished: Workspace) -> None:
    """2.17 stands only beside a study of the lecture's corpus, split as there."""
    assert lecture(tiny(finished)) is None


def test_watching_a_finished_study_ends(finished: Workspace) -> None:
    """`status --watch` shows what there is and ends with the study."""
    answer = finished.cli("status", "tiny", "--watch")
    assert 0 == answer.status and "12/12 trials" in answer.out
