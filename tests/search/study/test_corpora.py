"""Corpora at the command line and in studies: how they are read, and where their words are kept."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DatabaseError
from workspace import Workspace, invoke, some_words

from search.retry import error_summary
from search.spec import study_file, study_spec

COUNTED = "name,sex,count\n" + "\n".join(f"{word},F,{n % 3 + 1}" for n, word in
                                         enumerate(dict.fromkeys(some_words(60))))  # fmt: skip
WORDS = [line.split(",")[0] for line in COUNTED.split("\n")[1:]]
REPEATED = [word for n, word in enumerate(WORDS) for _ in range(n % 3 + 1)]
CONFIG = "embedding_size = 2\nhidden_width = 8\nexamples = 2_000\nevaluations = 2\n"


@pytest.fixture
def table(bed: Workspace) -> Path:
    path = bed.root / "names.csv"
    path.write_text(COUNTED, encoding="utf-8")
    return path


def test_every_verb_that_takes_a_corpus_takes_its_columns(bed: Workspace, table: Path) -> None:
    """The same options mean the same words everywhere; without them nothing is created."""
    config = bed.root / "config.toml"
    config.write_text(f'[config]\ncorpus = "{table}"\n{CONFIG}', encoding="utf-8")
    file = bed.file(budget={"trials": 1}, study={"corpus": str(table)})
    options = ("--column", 1, "--separator", ",", "--count", 3)
    commands: list[tuple[Any, ...]] = [
        ("corpus", table),
        ("baseline", "--corpus", table),
        ("train", config, "--quiet"),
        ("capacity", config, "--widths", "4", "--quiet"),
        ("submit", file),
    ]
    for command in commands:
        answer = bed.cli(*command)
        assert 2 == answer.status
        assert "--column 1 --separator ," in answer.complaint
        assert "--count 3" in answer.complaint
        assert not bed.data_dir.database.exists()
        assert 0 == bed.cli(*command, *options).status
    view = bed.json("corpus", table, *options)
    plain = bed.json("corpus", bed.corpus(REPEATED, "plain.txt"))
    assert (len(REPEATED), len(WORDS)) == (view["words"], view["unique_words"])
    assert (plain["sha256"], plain["splits"]) == (view["sha256"], view["splits"])
    assert any("header" in note for note in view["notes"])


def test_a_study_file_says_where_its_words_are(bed: Workspace, table: Path) -> None:
    """`column`, `separator`, `count` and `drop_unusable` stand in `[study]`, and come back in what
    `best --toml` writes; the words count, not how they were found: the same ones are no drift."""
    section = {"corpus": str(table), "column": 1, "separator": ",", "count": 3}
    stored = bed.create(study=section, budget={"trials": 1})
    bed.work(stored)
    again = bed.create(study={"corpus": str(bed.corpus(REPEATED, "p.txt"))}, budget={"trials": 1})
    assert stored.uid == again.uid
    written = bed.root / "best.toml"
    written.write_text(bed.cli("best", "tiny", "--toml").out, encoding="utf-8")
    assert (1, ",", 3) == (lambda s: (s.column, s.separator, s.count))(
        study_file.read_config(written)[0]
    )
    assert 0 == bed.cli("train", written, "--quiet").status


@pytest.mark.parametrize(
    "wrong", [{"column": 0}, {"column": "name"}, {"separator": ""}, {"count": -1},
              {"drop_unusable": 1}],
)  # fmt: skip
def test_a_layout_that_makes_no_sense(bed: Workspace, table: Path, wrong: dict[str, Any]) -> None:
    """A mistake in these keys is told with its key, as any other."""
    answer = bed.cli("submit", bed.file(study={"corpus": str(table)} | wrong))
    assert 2 == answer.status
    assert f"study.{next(iter(wrong))}" in answer.complaint


def test_what_is_left_out_is_said(bed: Workspace) -> None:
    """Dropped words are counted on standard error, and in the answer of `corpus`."""
    path = bed.corpus([*some_words(), "st. john", "a.b"])
    answer = bed.cli("submit", bed.file(study={"corpus": str(path)}))
    assert 2 == answer.status
    assert "2 lines cannot be words" in answer.complaint
    answer = bed.cli("submit", bed.file(study={"corpus": str(path)}), "--drop-unusable")
    assert 0 == answer.status
    assert "note: corpus words: left out as unusable: 2 lines" in answer.err
    assert 200 == bed.json("corpus", path, "--drop-unusable")["words"]


def test_built_in_corpora_have_no_columns(bed: Workspace) -> None:
    """Columns of a corpus that is no file are bad usage."""
    assert "has no columns" in bed.cli("corpus", "first-names", "--column", 1).complaint


def test_a_pipe_is_a_corpus(bed: Workspace) -> None:
    """Words may come through a pipe, as of `<(...)`; the study keeps them, so that it goes on when
    the pipe is gone."""
    pipe = bed.root / "pipe"
    os.mkfifo(pipe)
    words = "\n".join(some_words()).encode()
    writer = threading.Thread(target=lambda: pipe.write_bytes(words), daemon=True)
    writer.start()
    file = bed.file(study={"corpus": "first-names"}, budget={"trials": 1})
    assert 0 == bed.cli("submit", file, "--corpus", pipe).status
    writer.join(10)
    pipe.unlink()
    answer = bed.cli("submit", file, "--corpus", pipe)
    assert 0 == answer.status, answer.err
    assert "the study's stored words are used" in answer.err


def test_a_study_goes_on_without_its_corpus_file(finished: Workspace) -> None:
    """Its words are in the database: a file that is gone is no obstacle, one that changed is drift,
    whatever it changed to, and another name that is no file is bad input."""
    file, words = finished.file(), finished.root / "words.txt"
    kept = words.read_bytes()
    words.unlink()
    answer = finished.cli("submit", file)
    assert 0 == answer.status, answer.err
    assert 2 == finished.cli("submit", file, "--corpus", "other.txt").status
    for changed in (kept + b"\nmore", b"\xff" + kept, b"", b"a,b\n" * 50):
        words.write_bytes(changed)
        answer = finished.cli("submit", file)
        assert 3 == answer.status, answer
        assert "corpus" in answer.complaint
        assert "restore" in answer.complaint
    words.write_bytes(kept.replace(b"\n", b"\r\n"))
    assert 0 == finished.cli("submit", file).status


def test_a_study_whose_words_would_be_refused_today_goes_on(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study made when every line was a word keeps its words, with its file or without it."""
    from makemore_core.data import corpus_format

    path = bed.corpus([f"{word},F,{n}" for n, word in enumerate(some_words())])
    file = bed.file(study={"corpus": str(path)}, budget={"trials": 2})
    with monkeypatch.context() as patch:
        patch.setattr(corpus_format, "check_layout", lambda *_: None)
        assert 0 == bed.cli("submit", file).status
    assert 2 == bed.cli("corpus", path).status
    assert 0 == bed.cli("submit", file).status
    path.unlink()
    assert 0 == bed.cli("submit", file).status


def test_an_older_document_has_no_layout(bed: Workspace) -> None:
    """A study from before these keys means the same with them: nothing drifted."""
    stored = bed.create()
    document = stored.spec.as_document()
    for key in ("column", "separator", "count", "drop_unusable"):
        del document["study"][key]
    older = study_spec.from_document(document, "older")
    assert stored.spec.definition() == older.definition()


def test_a_model_of_another_machine_is_said_to_lie_there(finished: Workspace) -> None:
    """With another data directory on the same database words are at hand, models are not: the one
    line says where they lie. A trial can be trained again there."""
    place = finished.root / "another"
    answer = invoke("sample", "tiny", "--storage", finished.url, "--data-dir", place)
    assert 2 == answer.status
    assert "another data dir" in answer.complaint
    assert str(place) in answer.complaint
    assert 0 == invoke("replay", "tiny", 0, "--storage", finished.url, "--data-dir", place).status


@pytest.mark.sqlite_file
def test_a_database_that_vanishes_is_named(bed: Workspace) -> None:
    """A file that is removed while it is in use is told as gone, whatever the database says."""
    stored = bed.create()
    bed.data_dir.database.unlink()
    error = DatabaseError("UPDATE", {}, Exception("attempt to write a readonly database"))
    assert "studies.db is gone" in error_summary(error)
    assert stored.open
    bed.close()
    assert "readonly" in error_summary(error)
