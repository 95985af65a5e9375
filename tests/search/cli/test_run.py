"""`run` with real worker processes, real signals and real deaths."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from workspace import Workspace, ended, wait_until

from search.storage import tables
from search.study.study import StoredStudy, find
from search.system.processes import HOST, is_dead
from search.trials import status

SLOWER: dict[str, Any] = {
    "budget": {"trials": 3, "examples": 1_000_000, "evaluations": 9},
    "search": {"batch_size": 32, "hidden_width": 64},
    "pruner": {"kind": "none"},
}
"""Trials of a second: whoever saw one under way has the time to end it, on a busy machine too."""


def rows(bed: Workspace, query: Any) -> list[Any]:
    with bed.storage.read() as connection:
        return list(connection.execute(query))


def stored_study(bed: Workspace) -> StoredStudy:
    found = find(bed.storage, "tiny")
    assert found is not None
    return found


def worker_pids(bed: Workspace) -> list[int]:
    workers = tables.workers
    return [pid for (pid,) in rows(bed, select(workers.c.pid).where(workers.c.ended_at.is_(None)))]


def in_the_middle_of_a_trial(bed: Workspace, finished: int = 0) -> int | None:
    """The process of a worker that has a trial and not ended it, once so many have finished."""
    attempts, workers = tables.attempts, tables.workers
    if not bed.has_storage or find(bed.storage, "tiny") is None:
        return None
    view = status.status(bed.storage, stored_study(bed))
    if view.budget["finished"] < finished:
        return None
    query = (
        select(workers.c.pid)
        .join(attempts, attempts.c.worker_id == workers.c.id)
        .where(attempts.c.trial.is_not(None), attempts.c.ended_at.is_(None))
    )
    found = rows(bed, query)
    return found[0].pid if found else None


def start(bed: Workspace, file: Path, *options: Any) -> "subprocess.Popen[str]":
    return bed.start("run", file, "--quiet", *options)


def assert_exactly(trials: int, bed: Workspace) -> None:
    """The budget was met exactly, and nothing is left under way."""
    view = status.status(bed.storage, stored_study(bed))
    assert "done" == view.state
    assert trials == view.trials["complete"] + view.trials["pruned"] == view.budget["finished"]
    assert (0, 0) == (view.trials["running"], view.trials["waiting"])
    assert [] == worker_pids(bed)


@pytest.mark.long
def test_two_runs_at_once_end_with_exactly_the_budget(bed: Workspace) -> None:
    """Two launchers that begin one study in the same moment share one database, one study and one
    budget; both say so, with the same answer."""
    file = bed.file(budget={"trials": 15})
    runs = [start(bed, file, "--workers", 1, "--json") for _ in range(2)]
    answers = [ended(each) for each in runs]
    assert [0, 0] == [answer.status for answer in answers], [a.err for a in answers]
    assert [15, 15] == [answer.json["budget"]["finished"] for answer in answers]
    assert_exactly(15, bed)
    assert 15 == len(bed.trials(stored_study(bed)))


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_ctrl_c_and_termination_lose_nothing(bed: Workspace, how: signal.Signals) -> None:
    """SIGINT and SIGTERM end a run with 130, its running trial as `interrupted`; the same command
    goes on, and the finished trials are bit for bit those of a study that was left in peace."""
    peaceful = bed.create(study={"name": "peaceful"}, **SLOWER)
    file = bed.file(**SLOWER)
    process = start(bed, file, "--workers", 1, "--json")
    pid = wait_until(lambda: _stopped_in_a_trial(bed, finished=1))
    process.send_signal(how)
    wait_until(lambda: _is_asked_to_end(pid))
    os.kill(pid, signal.SIGCONT)
    answer = ended(process)
    assert 130 == answer.status, answer.err
    assert "trials (" in answer.complaint and "the same command continues it" in answer.complaint
    assert "open" == answer.json["state"]
    assert 0 == answer.json["trials"]["running"]
    assert 1 == answer.json["trials"]["waiting"]
    assert [] == worker_pids(bed)
    (lost,) = [trial for trial in bed.trials(stored_study(bed)) if trial.state == "failed"]
    assert "interrupted" == lost.reason
    bed.work(bed.create(file))  # as the same command does, in a process less
    assert_exactly(3, bed)
    bed.work(peaceful)
    assert bed.outcomes(peaceful) == bed.outcomes(stored_study(bed))


def test_a_killed_worker_is_replaced_and_its_trial_tried_again(bed: Workspace) -> None:
    """`--workers 2` makes two processes at work at once, each with a log under the data directory.
    After kill -9 of one in the middle of a trial, which is `failed`, `killed`, a new worker takes
    over, tries the same configuration with the same seed once more, and the budget is met exactly:
    that of `--trials`, of a file whose corpus is a relative path.

    There are so many trials that a new worker is needed even if a busy machine kills late.
    """
    bed.corpus()
    file = bed.file(**SLOWER, study={"corpus": "words.txt"})
    process = bed.start("run", file.name, "--workers", 2, "--trials", 16, "--json")
    victim = wait_until(lambda: _stopped_in_a_trial(bed))
    wait_until(lambda: 2 == len(worker_pids(bed)))
    os.kill(victim, signal.SIGKILL)
    answer = ended(process)
    assert 0 == answer.status, answer.err
    assert "Traceback" not in answer.err
    assert {"trials": 16, "finished": 16} == answer.json["budget"]
    assert_exactly(16, bed)
    assert 3 == len(rows(bed, select(tables.workers.c.id)))
    logs = [path for path in (bed.data_dir.root / "logs").iterdir() if path.stat().st_size]
    assert 3 == len(logs)
    trials = bed.trials(stored_study(bed))
    (lost,) = [trial for trial in trials if trial.state == "failed"]
    (retry,) = [trial for trial in trials if trial.retry_of is not None]
    assert "killed" == lost.reason
    assert lost.number == retry.retry_of
    assert lost.config == retry.config
    a = tables.attempts
    seeds = rows(bed, select(a.c.training_seed).where(a.c.trial.in_([lost.number, retry.number])))
    assert seeds[0] == seeds[1]


def _stopped_in_a_trial(bed: Workspace, finished: int = 0) -> int | None:
    """A worker that is halted, for certain, in the middle of a trial and of no transaction."""
    if (pid := in_the_middle_of_a_trial(bed, finished)) is None:
        return None
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "T" == _stat(pid)[0])
    writing = Path(f"{bed.data_dir.database}-journal").exists()
    if not writing and in_the_middle_of_a_trial(bed, finished) == pid:
        return pid
    os.kill(pid, signal.SIGCONT)
    return None


def _stat(pid: int) -> list[str]:
    """What Linux tells of a process after its name: its state, its parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _is_asked_to_end(pid: int) -> bool:
    """Whether a halted process has a SIGTERM waiting for it."""
    pending = Path(f"/proc/{pid}/status").read_text().partition("ShdPnd:")[2].split()[0]
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.long
def test_workers_leave_when_their_launcher_is_killed(bed: Workspace) -> None:
    """kill -9 of the launcher: its workers end as on Ctrl-C, and the same command goes on."""
    file = bed.file(**SLOWER)
    process = start(bed, file, "--workers", 1)
    pid = wait_until(lambda: _stopped_in_a_trial(bed))
    parent = int(_stat(pid)[1])
    process.kill()
    ended(process)
    wait_until(lambda: is_dead(HOST, parent))
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: is_dead(HOST, pid))
    trials = bed.trials(stored_study(bed))
    assert not [trial for trial in trials if trial.state == "running"]
    assert {"interrupted"} == {trial.reason for trial in trials if trial.state == "failed"}
    assert 0 == ended(start(bed, file, "--workers", 1)).status
    assert_exactly(3, bed)


def test_stop_ends_a_run_as_ctrl_c_does(bed: Workspace) -> None:
    """`stop` reaches the workers through the storage; their launcher ends with 130."""
    endless = SLOWER | {"budget": SLOWER["budget"] | {"examples": 10**9}}
    process = start(bed, bed.file(**endless), "--workers", 1)
    wait_until(lambda: in_the_middle_of_a_trial(bed))
    assert "tiny" == bed.json("stop", "tiny")["study"]
    answer = ended(process)
    assert 130 == answer.status, answer.err
    view = status.status(bed.storage, stored_study(bed))
    assert (0, "open") == (view.trials["running"], view.state)
    assert [] == worker_pids(bed)


def test_a_run_without_a_result_says_why_and_what_helps(bed: Workspace) -> None:
    """Every trial diverged, which a larger budget does not change: one line, exit 1; the status is
    answered all the same."""
    wild = {"optimizer": "sgd", "learning_rate": 1e6, "schedule": "constant", "warmup": 0.0}
    file = bed.file(
        search=wild | {"initialisation": "lecture"}, pruner={"kind": "none"}, budget={"trials": 2}
    )
    answer = bed.cli("run", file, "--workers", 1, "--quiet", "--json")
    assert 1 == answer.status
    assert {"diverged": 2} == answer.json["pruned_for"]
    expected = "no trial is complete; pruned: 2 diverged; what helps: lower"
    assert expected in answer.complaint
    told = bed.cli("status", "tiny").out
    assert expected in told
    assert "--trials" not in told
