"""The test split: opened once, for a checkpoint that is known beforehand, and never again."""

import contextlib
import io
import json
import math
import os
import pty
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select
from workspace import Answer, Workspace, ended, run_python, some_words, wait_until

from makemore_core.model import checkpoint
from search.confidence_intervals import bootstrap
from search.storage import tables
from search.study import study

KEYS = {
    "study",
    "trial",
    "test_loss",
    "test_loss_ci95",
    "test_loss_unseen",
    "dev_loss",
    "per_model",
    "evaluated_at",
    "first_time",
    "opened_before",
    "ensemble",
}


def openings(bed: Workspace) -> list[Any]:
    with bed.storage.read() as connection:
        return list(connection.execute(select(tables.openings)))


def winners_checkpoint(bed: Workspace) -> Path:
    best = bed.json("best", "tiny")
    uid = study.resolve(bed.storage, "tiny").uid
    return bed.data_dir.checkpoint(uid, best["trial"])


def test_the_first_opening_and_every_later_one(finished: Workspace) -> None:
    """The first answer is recorded; later ones are that record, with its date, exit 0."""
    first = finished.json("test", "tiny", "--yes")
    again = finished.json("test", "tiny")
    assert KEYS == first.keys() == again.keys()
    assert (True, False) == (first.pop("first_time"), again.pop("first_time"))
    assert first == again
    best = finished.json("best", "tiny")
    assert (best["trial"], best["dev_loss"]) == (first["trial"], first["dev_loss"])
    (model,) = first["per_model"]
    assert {"seed", "test_loss", "checkpoint_sha256"} <= model.keys()
    assert best["checkpoint_sha256"] == model["checkpoint_sha256"]
    assert 1 == len(openings(finished))


def test_the_answer_is_the_mean_over_the_test_words(finished: Workspace) -> None:
    """Word by word, character by character, with the checkpoint's own network: the same loss."""
    words = some_words()
    random.Random(42).shuffle(words)
    model, _ = checkpoint.load(winners_checkpoint(finished))
    found = finished.json("test", "tiny", "--yes")
    nats = [_nats(model, word) for word in words[180:]]
    characters = [len(word) + 1 for word in words[180:]]
    assert pytest.approx(sum(nats) / sum(characters), abs=1e-5) == found["test_loss"]
    unseen = [word not in words[:160] for word in words[180:]]
    unseen_loss = sum(n for n, new in zip(nats, unseen, strict=True) if new) / sum(
        c for c, new in zip(characters, unseen, strict=True) if new
    )
    assert pytest.approx(unseen_loss, abs=1e-5) == found["test_loss_unseen"]
    low, high = found["test_loss_ci95"]
    assert low < found["test_loss"] < high


def _nats(model: Any, word: str) -> float:
    context = [0] * model.config.block_size
    total = 0.0
    for letter in f"{word}.":
        index = model.vocabulary.index(letter)
        logits = model.logits(torch.tensor([context]))
        total -= float(torch.log_softmax(logits.double(), 1)[0, index])
        context = [*context[1:], index]
    return total


def test_the_interval_covers_what_it_should() -> None:
    """The bootstrap's interval of a mean of equal words is near the normal one, and is the same
    each time it is asked for."""
    import numpy as np

    rng = np.random.default_rng(0)
    nats = rng.normal(10.0, 2.0, size=400)
    characters = np.full(400, 5)
    low, high = bootstrap(nats, characters)
    mean, error = nats.mean() / 5, nats.std() / 5 / math.sqrt(400)
    assert pytest.approx(mean - 1.96 * error, abs=0.004) == low
    assert pytest.approx(mean + 1.96 * error, abs=0.004) == high
    assert (low, high) == bootstrap(nats, characters)


def test_a_tested_study_takes_no_further_trials(finished: Workspace) -> None:
    """After its test a study is closed: `run` is refused with 3, in one line, and changes
    nothing, however many trials are asked for."""
    finished.json("test", "tiny", "--yes")
    assert "closed" == finished.json("status", "tiny")["state"]
    before = finished.json("trials", "tiny")
    for options in ((), ("--trials", 50)):
        answer = finished.cli("run", finished.root / "tiny.toml", *options)
        assert 3 == answer.status
        assert "tiny" in answer.complaint
    assert before == finished.json("trials", "tiny")


def test_a_tampered_checkpoint_opens_nothing(finished: Workspace) -> None:
    """A checkpoint with one byte changed is refused with 2 before the split is opened; with the
    right one in place the study can be tested as if nothing had been."""
    path = winners_checkpoint(finished)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    answer = finished.cli("test", "tiny", "--yes")
    assert 2 == answer.status
    assert str(path) in answer.complaint
    assert [] == openings(finished)
    assert "done" == finished.json("status", "tiny")["state"]
    path.unlink()
    assert 2 == finished.cli("test", "tiny", "--yes").status
    assert [] == openings(finished)
    path.write_bytes(whole)
    assert finished.json("test", "tiny", "--yes")["first_time"]


def test_a_study_without_a_complete_trial_opens_nothing(bed: Workspace) -> None:
    """There is no winner to test: exit 2, and the study stays open."""
    bed.create()
    answer = bed.cli("test", "tiny", "--yes")
    assert 2 == answer.status
    assert "tiny" in answer.complaint
    assert [] == openings(bed)


def _has_loaded(pid: int, library: str) -> bool:
    return library in Path(f"/proc/{pid}/maps").read_text()


def test_two_tests_at_once_are_one_opening(finished: Workspace) -> None:
    """Of two processes one is the first; both give the same answer."""
    other = finished.start("test", "tiny", "--json", "--yes")
    wait_until(lambda: _has_loaded(other.pid, "libtorch"))
    answers = [finished.cli("test", "tiny", "--json", "--yes"), ended(other)]
    assert [0, 0] == [answer.status for answer in answers], [a.err for a in answers]
    assert [False, True] == sorted(answer.json["first_time"] for answer in answers)
    one, other = ({**answer.json, "first_time": None} for answer in answers)
    assert one == other
    assert 1 == len(openings(finished))


KILLED = """
import os, sys
from search import cli
from search.evaluation import final_test

final_test.open_test_split = lambda *given: os.kill(os.getpid(), 9)
sys.exit(cli.main())
"""


@pytest.mark.sqlite_file
def test_a_test_killed_before_its_result_is_finished_by_the_next(bed: Workspace) -> None:
    """kill -9 after the opening was recorded: the next `test` finishes the same opening of the same
    checkpoint, though a better one has appeared meanwhile; it is no second opening."""
    bed.work(bed.create(budget={"trials": 2}))
    process = run_python(KILLED, *bed.arguments("test", "tiny", "--yes"))
    assert -9 == ended(process).status
    (opened,) = openings(bed)
    assert opened.result is None
    assert 3 == bed.cli("run", bed.root / "tiny.toml", "--trials", 3).status
    found = bed.json("test", "tiny", "--yes")
    (closed,) = openings(bed)
    assert (opened.claimed_at, opened.trial) == (closed.claimed_at, closed.trial)
    assert closed.trial == found["trial"]
    assert found["test_loss"] == bed.json("test", "tiny", "--yes")["test_loss"]


def test_later_studies_are_told_who_opened_the_split_before(finished: Workspace) -> None:
    """Studies that open the same split of the same corpus later are told, also of a study that has
    been deleted since; another split is another matter."""
    assert [] == finished.json("test", "tiny", "--yes")["opened_before"]
    first = study.resolve(finished.storage, "tiny")
    study.delete_study(finished.storage, first, finished.data_dir)
    for name, seeds in (("second", {}), ("other split", {"split_seed": 7})):
        stored = finished.create(study={"name": name, **seeds}, budget={"trials": 1})
        finished.work(stored)
    told = finished.json("test", "second", "--yes")["opened_before"]
    assert ["tiny"] == [each["study"] for each in told]
    assert [] == finished.json("test", "other split", "--yes")["opened_before"]
    assert told == finished.json("test", "second", "--yes")["opened_before"]


def test_the_record_outlives_its_study(finished: Workspace) -> None:
    """`delete` takes trials and checkpoints, never the record of the opening."""
    answer = finished.json("test", "tiny", "--yes")
    finished.json("delete", "tiny", "--yes")
    (record,) = openings(finished)
    assert ("tiny", answer["trial"]) == (record.study_name, record.trial)
    assert answer["test_loss"] == record.result["test_loss"]


def test_the_dashboard_sees_nothing_of_the_test(finished: Workspace) -> None:
    """No test loss stands in what Optuna stores, which the dashboard shows."""
    loss = finished.json("test", "tiny", "--yes")["test_loss"]
    shown = finished.storage.optuna.get_all_studies()[0]
    assert repr(loss)[:8] not in json.dumps([shown.user_attrs, shown.system_attrs])
    trials = finished.storage.optuna.get_all_trials(shown._study_id)
    assert repr(loss)[:8] not in repr(trials)


@contextlib.contextmanager
def on_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> Iterator[None]:
    """Standard input is a terminal, where somebody answers."""
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    with os.fdopen(theirs) as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", terminal)
        yield
    os.close(ours)


END_OF_INPUT = b"\x04"


def test_a_person_is_asked_first(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal `test` asks on standard error, with --json too; the end of the input opens
    nothing and ends with 130."""
    with on_a_terminal(monkeypatch, END_OF_INPUT):
        answered = finished.cli("test", "tiny", "--json")
    _expect_nothing_was_opened(finished, answered)


@pytest.mark.parametrize("said", ["n\n", "\n", "never\n"])
def test_whatever_is_not_yes_opens_nothing(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """As the end of the input."""
    monkeypatch.setattr(sys, "stdin", Terminal(True, said))
    _expect_nothing_was_opened(finished, finished.cli("test", "tiny", "--json"))


def _expect_nothing_was_opened(bed: Workspace, answered: Answer) -> None:
    assert 130 == answered.status
    assert "once and for good" in answered.err
    assert "Traceback" not in answered.err
    assert "" == answered.out
    assert [] == openings(bed)


def test_a_person_may_say_yes(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a yes the answer is the only thing on standard output."""
    with on_a_terminal(monkeypatch, b"Yes\n"):
        answered = finished.cli("test", "tiny", "--json")
    assert 0 == answered.status, answered.err
    assert answered.json["first_time"]


class Terminal(io.StringIO):
    """A standard input that a person sits at, or does not."""

    def __init__(self, is_terminal: bool, said: str = "") -> None:
        super().__init__(said)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("standard_input", ["missing", "closed", "no terminal"])
def test_without_a_terminal_nothing_is_undone_unasked(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch, standard_input: str
) -> None:
    """Where nobody can be asked, `test` and `delete` need --yes: 2, one line, nothing is done; what
    has been opened is shown without it."""
    stream = None if standard_input == "missing" else Terminal(standard_input != "no terminal")
    if stream is not None and standard_input == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)
    for command in (("test", "tiny"), ("test", "tiny", "--json"), ("delete", "tiny")):
        answer = finished.cli(*command)
        assert (2, "") == (answer.status, answer.out)
        assert "--yes" in answer.complaint
    assert [] == openings(finished)
    assert "done" == finished.json("status", "tiny")["state"]
    opened = finished.json("test", "tiny", "--yes")
    assert {**opened, "first_time": False} == finished.json("test", "tiny")
