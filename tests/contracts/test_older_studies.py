"""Studies that older code began go on with this code; made from invented words."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from workspace import TINY, Workspace, some_words

from search.spec import study_file
from search.spec.defaults import FIRST
from search.study import create, study

DATABASES = Path(__file__).parents[1] / "faults" / "data"
"""Each file says at its top which commit wrote it, and how."""


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Workspace]:
    """The finished study `old` of four trials, in tables of version 5, without its models."""
    workspace = Workspace(tmp_path / "old")
    workspace.data_dir.root.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(workspace.data_dir.database)) as connection:
        script = DATABASES / "version_5_in_new_york.sql"
        connection.executescript(script.read_text(encoding="utf-8"))
    yield workspace
    workspace.close()


def write_file(workspace: Workspace, trials: int) -> Path:
    """Writes the study's file as it was, and its words beside it; the budget is in trials."""
    workspace.corpus(some_words(60))
    names = ("embedding_size", "hidden_width", "block_size", "batch_size", "learning_rate")
    document = {
        "study": {"name": "old", "corpus": "words.txt"},
        "budget": {"trials": trials, "examples": 1_000, "evaluations": 3},
        "search": {name: TINY["search"][name] for name in names},
    }
    path = workspace.root / "old.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    return path


def configurations(workspace: Workspace) -> list[dict[str, Any]]:
    """The finished trials' configurations, by the number of the trial."""
    trials = workspace.json("trials", "old")
    return [trial["config"] for trial in trials if trial["state"] in ("complete", "pruned")]


@pytest.mark.sqlite_file
def test_an_older_study_goes_on_as_a_new_one_would(old: Workspace, tmp_path: Path) -> None:
    """With a larger budget its unchanged file trains what is missing, with the configurations and
    the losses of a study that this code runs from its beginning with the defaults of then."""
    recorded = {trial["number"]: trial for trial in old.json("trials", "old")}
    assert 4 == sum(old.json("status", "old")["trials"][state] for state in ("complete", "pruned"))
    old.work(old.create(write_file(old, 6)))
    new = Workspace(tmp_path / "new")
    new.root.mkdir()
    spec = study_file.read(write_file(new, 6)).with_defaults(FIRST)
    words = study.load_corpus(spec, new.data_dir)
    new.work(create.create_or_resume(new.storage, spec, words, new.data_dir))
    assert configurations(new) == configurations(old)
    for number, trial in enumerate(new.json("trials", "old")[:4]):
        # another processor may round otherwise
        assert trial["dev_loss"] == pytest.approx(recorded[number]["dev_loss"], abs=1e-3)
    new.close()


@pytest.mark.usefixtures("trained_here")
@pytest.mark.sqlite_file
def test_an_older_study_can_be_looked_at_confirmed_and_tested(old: Workspace) -> None:
    """Its best trial, its files and its standing are as they were; `confirm` trains models where
    its own are missing, and `test` opens its test split once."""
    best = old.json("best", "old")
    assert min(t["dev_loss"] for t in old.json("trials", "old")) == best["dev_loss"]
    assert "[config]" in old.cli("best", "old", "--toml").out
    assert 0 == old.cli("report", "old", "-o", old.root / "old.html").status
    assert 0 == old.cli("confirm", "old", "--top", 1, "--seeds", 1, "--workers", 1).status
    assert best["dev_loss"] == pytest.approx(old.json("test", "old", "--yes")["test_loss"], abs=1)
    assert 3 == old.cli("run", write_file(old, 8)).status
    assert 0 == old.cli("delete", "old", "--yes").status
