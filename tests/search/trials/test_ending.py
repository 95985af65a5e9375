"""What ended a study is told, with what is left of it and a command that goes on."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from workspace import InterruptedAfter, Workspace

from search.errors import Interrupted
from search.spec.sections import parse_duration
from search.storage import tables
from search.study import study
from search.study.study import StoredStudy
from search.terminal.display import format_counts, one_line
from search.trials import claims, leases, services, status
from search.trials.ending import describe_end, describe_way_on, enough_time, toml_duration
from search.trials.status import StatusView, describe_audit


def view_of(bed: Workspace, **changes: Any) -> StatusView:
    stored = study.resolve(bed.storage, "tiny")
    return replace(status.status(bed.storage, stored), **changes)


def end_of(bed: Workspace) -> tuple[str, str | None, str, str]:
    """(state, ended_by, what is told of it, how to go on)"""
    view = view_of(bed)
    told, way = describe_end(view), describe_way_on(view, "")
    return view.state, view.ended_by, told or "", way or ""


def interrupted_in_a_trial(bed: Workspace, stored: StoredStudy, looks: int) -> None:
    with pytest.raises(Interrupted):
        bed.work(stored, InterruptedAfter(looks))


def test_the_end_of_all_trials(finished: Workspace) -> None:
    """Done by its trials; more of them need a larger number."""
    state, ended_by, told, way = end_of(finished)
    assert ("done", "trials") == (state, ended_by)
    assert "done: its 12 trials are finished" == told
    assert "for more trials: makemore-search run STUDY.toml --trials 24" == way


def test_fewer_trials_than_are_finished(finished: Workspace) -> None:
    """A smaller budget than what is there is not told as if it had been met exactly."""
    finished.create(budget={"trials": 3})
    _, ended_by, told, way = end_of(finished)
    assert ("trials", "done: 12 trials are finished, and its budget is 3") == (ended_by, told)
    assert way.endswith("--trials 24")


def test_the_end_by_timeout_tells_what_waits(bed: Workspace) -> None:
    """How many trials there are, how many configurations wait, and a timeout that may do."""
    stored = bed.create(enqueue=[{"hidden_width": 16}] * 3)
    interrupted_in_a_trial(bed, stored, 5)
    bed.create(budget={"timeout": 1e-9}, enqueue=[{"hidden_width": 16}] * 3)
    state, ended_by, told, way = end_of(bed)
    assert ("done", "timeout") == (state, ended_by)
    assert "done by its timeout of 1e-09s, after" in told
    assert "configurations waiting to be tried" in told
    assert way.startswith("for more time: makemore-search run STUDY.toml --timeout ")
    assert "ended by its timeout" in one_line(view_of(bed))


def test_the_end_at_the_target(finished: Workspace) -> None:
    """The target is named, and that it is what must change."""
    finished.create(budget={"target": 99.0, "trials": 50})
    state, ended_by, told, way = end_of(finished)
    assert ("done", "target") == (state, ended_by)
    assert "the target of 99.0, after 12 of 50 trials" in told
    assert "lower `target`" in way


def test_a_stop_an_interruption_and_a_crash_are_told_apart(bed: Workspace) -> None:
    """Each leaves an open study without a worker, and says which it was."""
    stored = bed.create()
    assert ("open", None) == end_of(bed)[:2]
    interrupted_in_a_trial(bed, stored, 5)
    assert ("open", "interrupted") == end_of(bed)[:2]
    assert "no worker is at work on it" in end_of(bed)[2]
    with bed.storage.write() as connection:
        connection.execute(update(tables.attempts).values(outcome="failed", reason="error"))
    assert ("open", "crash") == end_of(bed)[:2]
    bed.cli("stop", "tiny")
    assert ("open", "stop", "stopped by `stop`") == (*end_of(bed)[:2], end_of(bed)[2].split(",")[0])


def test_what_dead_workers_still_hold_is_a_crash(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was killed with its launcher is not taken for one at work."""
    stored = bed.create()
    worker_id = leases.register_worker(bed.storage, stored)
    claimed = {"threads": 1, "device": "cpu", "versions": {}}
    claims.claim(bed.storage, stored, worker_id, claimed)
    assert (None, 1) == (view_of(bed).ended_by, view_of(bed).workers)
    monkeypatch.setattr(status, "is_dead", lambda host, pid: True)
    assert ("crash", 0, None) == (
        view_of(bed).ended_by,
        view_of(bed).workers,
        view_of(bed).eta_seconds,
    )


def test_a_closed_study_offers_no_more_trials(finished: Workspace) -> None:
    """Once the test split is open, the only way to search on is another study."""
    finished.cli("test", "tiny", "--yes")
    state, ended_by, told, way = end_of(finished)
    assert ("closed", "trials") == (state, ended_by)
    assert "closed by the opening of its test split" in told
    assert "to search on, give the study another name" == way


def test_interrupted_attempts_are_not_failures(bed: Workspace) -> None:
    """People see them apart, in every view; the JSON counts keep them in `failed`."""
    interrupted_in_a_trial(bed, bed.create(), 5)
    view = view_of(bed)
    assert (1, 1) == (view.trials["failed"], view.interrupted)
    assert (0, 1) == (format_counts(view)["failed"], format_counts(view)["interrupted"])
    assert "1 interrupted" in one_line(view) and "failed" not in one_line(view)
    table = bed.cli("trials", "tiny").out
    assert re.search(r"^\d+ +interrupted ", table, re.MULTILINE) and "failed" not in table
    assert "failed" == bed.json("trials", "tiny")[-1]["state"]


def test_no_time_left_is_told_without_a_worker(bed: Workspace) -> None:
    """An estimate needs somebody who works; then it is at least something."""
    stored = bed.create(budget={"timeout": 3600})
    interrupted_in_a_trial(bed, stored, 20)
    assert view_of(bed).eta_seconds is None
    assert " left" not in one_line(view_of(bed))
    leases.register_worker(bed.storage, stored)
    assert 0 < (view_of(bed).eta_seconds or 0) <= 3600
    assert " left" in one_line(view_of(bed))


def test_submit_says_whether_anybody_serves(bed: Workspace) -> None:
    """Nobody: how to begin. A service, idle or not: that it takes the study on."""
    alone = bed.cli("submit", bed.file())
    assert 0 == alone.status
    assert "nobody serves this storage" in alone.out
    assert "makemore-search worker tiny" in alone.out and "makemore-search serve" in alone.out
    with services.serving(bed.storage):
        served = bed.cli("submit", bed.file()).out
        assert "nobody serves" not in served and "a service is there" in served
        assert bed.json("status", "tiny")["served"]
    assert not bed.json("submit", bed.file())["served"]


def test_run_tells_the_command_that_it_was_given(bed: Workspace) -> None:
    """What else it was given is needed again; the timeout is replaced, not repeated."""
    file = bed.file(budget={"timeout": 1e-9, "trials": 5})
    bed.work(bed.create(file), InterruptedAfter(10**9))
    view = view_of(bed, ended_by="timeout", timeout=2.0, elapsed_seconds=2.0)
    given = {"--workers": "2", "--timeout": "2s", "--corpus": "my words.txt"}
    told = describe_way_on(view, " --data-dir d", str(file), given)
    words = shlex.split((told or "").removeprefix("for more time: "))
    assert ["makemore-search", "run", str(file)] == words[:3]
    assert "my words.txt" == words[words.index("--corpus") + 1]
    assert 1 == words.count("--timeout") and "2s" != words[words.index("--timeout") + 1]
    assert ["--data-dir", "d"] == words[-2:]


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(1e-3, 1e7))
def test_the_timeout_that_is_told_is_larger(trials: int, finished: int, elapsed: float) -> None:
    """It is a duration that the study file takes, and more than what was worked already."""
    view = StatusView(
        study="s",
        state="done",
        trials={},
        budget={"trials": trials, "finished": finished},
        best=None,
        elapsed_seconds=elapsed,
        eta_seconds=0.0,
        audit=None,
        timeout=elapsed,
        target=None,
        ended_by="timeout",
        interrupted=0,
        set_aside=0,
        workers=0,
        served=False,
        pruned_for={},
        began_from=None,
    )
    assert elapsed < parse_duration(enough_time(view))


@given(st.integers(0, 10**6))
def test_durations_are_told_as_they_are_read(seconds: int) -> None:
    """A whole number of seconds comes back from its text."""
    assert seconds == parse_duration(toml_duration(seconds))


def test_pruning_is_told_only_where_the_pruner_stopped_something(finished: Workspace) -> None:
    """Trials that diverged say nothing about the pruner, and how to know more is told."""
    view = view_of(finished, pruned_for={"diverged": 3})
    assert describe_audit(view) is None
    told = describe_audit(replace(view, pruned_for={"pruner": 1, "diverged": 3})) or ""
    assert (
        "it stopped 1 trial; whether it missed a better one is unknown: no trial was audited"
        in told
    )
    assert "`audit` under [pruner]" in told


def test_a_stop_that_its_workers_have_not_followed_yet(bed: Workspace) -> None:
    """Workers that are still there are told of, not passed over."""
    leases.register_worker(bed.storage, bed.create())
    assert "its workers are leaving" in bed.cli("stop", "tiny").out
    assert view_of(bed).eta_seconds is None
