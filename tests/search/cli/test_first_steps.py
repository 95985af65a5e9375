"""The first five minutes: `init`, and what a winner is taken along as: `export` and `score`."""

import io
import json
import math
import tomllib
from pathlib import Path

import pytest
from workspace import Workspace, some_words, tree

from makemore_core.model import checkpoint
from search.evaluation import final_test
from search.spec import new_study_file, study_file
from search.study import study


@pytest.fixture
def here(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace that is the working directory."""
    monkeypatch.chdir(bed.root)
    return bed


# init


def test_init_writes_a_study_that_runs_as_it_is(here: Workspace) -> None:
    """On the user's own words, in the directory in which it was called."""
    here.corpus(some_words(40))
    assert {"path": "mine.toml"} == here.json("init", "mine", "--corpus", "words.txt")
    text = Path("mine.toml").read_text()
    assert 'name = "mine"' in text and 'corpus = "words.txt"' in text
    view = here.json("run", "mine.toml", "--trials", 1, "--workers", 1)
    assert ("mine", "done") == (view["study"], view["state"])


@pytest.mark.parametrize("name", new_study_file.example_names())
def test_init_writes_the_packaged_examples(name: str, here: Workspace) -> None:
    """As they are; with `--corpus` on other words."""
    here.json("init", name)
    example = Path(new_study_file.__file__).parents[1] / "examples" / f"{name}.toml"
    assert example.read_bytes() == Path(f"{name}.toml").read_bytes()
    here.corpus()
    here.json("init", name, "--corpus", "words.txt", "-o", "other.toml")
    spec, original = study_file.read(Path("other.toml")), study_file.read(example)
    assert str(here.root / "words.txt") == spec.study.corpus
    assert original.space == spec.space and original.budget == spec.budget


def test_every_line_of_the_template_is_right(here: Workspace) -> None:
    """Without its comments, and with everything that it only shows, it is a study file."""
    here.json("init")
    text = Path("study.toml").read_text()
    plain = study_file.read(Path("study.toml"))
    assert ("study", "first-names") == (plain.study.name, plain.study.corpus)
    Path("all.toml").write_text(text.replace("#: ", ""))
    assert 1 == len(study_file.read(Path("all.toml")).enqueue)


def test_init_names_the_corpus_from_the_file(here: Workspace) -> None:
    """A corpus below the file's directory is relative to it, any other one absolute; the layout of
    a table goes along."""
    folder = here.root / "folder"
    folder.mkdir()
    (folder / "table.csv").write_text("\n".join(f"{i},{w}" for i, w in enumerate(some_words(30))))
    layout = ("--column", 2, "--separator", ",")
    here.json("init", "a", "--corpus", "folder/table.csv", *layout, "-o", "folder/a.toml")
    section = tomllib.loads((folder / "a.toml").read_text())["study"]
    assert ("table.csv", 2, ",") == (section["corpus"], section["column"], section["separator"])
    here.corpus()
    here.json("init", "b", "--corpus", "words.txt", "-o", "folder/b.toml")
    assert str(here.root / "words.txt") == study_file.read(folder / "b.toml").study.corpus
    assert "b" == study_file.read(folder / "b.toml").study.name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tiny",), "tiny.toml: exists already"),
        (("a/b",), "study.name"),
        (("new", "--corpus", "missing.txt"), "missing.txt"),
        (("new", "-o", "nowhere/new.toml"), "nowhere/new.toml"),
        (("new", "--corpus", "first-names", "--column", "2"), "no columns"),
    ],
)
def test_init_refuses_what_would_not_run(
    arguments: tuple[str, ...], expected: str, here: Workspace
) -> None:
    """An existing file, a bad name, a corpus that is not there: exit 2, one line, no file."""
    file = here.file()
    before, content = tree(here.root), file.read_bytes()
    answer = here.cli("init", *arguments)
    assert (2, before, content) == (answer.status, tree(here.root), file.read_bytes())
    assert expected in answer.complaint


# export


def test_export_writes_the_winner_as_files(finished: Workspace) -> None:
    """Model, configuration, vocabulary and card; the model scores and samples by itself."""
    target = finished.root / "winner"
    view = finished.json("export", "tiny", "-o", target)
    names = {"model.safetensors", "config.toml", "vocabulary.json", "README.md"}
    assert {str(target / name) for name in names} == {*view["files"]}
    assert (str(target), names) == (view["path"], tree(target))
    best = finished.json("best", "tiny")
    model, _ = checkpoint.load(target / "model.safetensors", best["checkpoint_sha256"])
    vocabulary = json.loads((target / "vocabulary.json").read_text())
    assert list(model.vocabulary) == vocabulary["characters"]
    assert model.vocabulary[0] == vocabulary["boundary"]
    assert finished.cli("best", "tiny", "--toml").out == (target / "config.toml").read_text()
    arguments = ("-n", 5, "--seed", 1)
    assert finished.json("sample", "tiny", *arguments) == finished.json(
        "sample", "--checkpoint", target / "model.safetensors", *arguments
    )


def test_the_card_says_what_is_known_and_no_more(finished: Workspace) -> None:
    """The loss as searched and that it is not confirmed; the test loss once the split is open."""
    stored = study.resolve(finished.storage, "tiny")
    finished.json("export", "tiny", "-o", finished.root / "before")
    card = (finished.root / "before" / "README.md").read_text()
    best = finished.json("best", "tiny")
    for words in (
        f"{best['dev_loss']:.4f}",
        "not confirmed",
        stored.fingerprint,
        "not been opened",
    ):
        assert words in card
    assert final_test.recorded(finished.storage, stored) is None
    result = finished.json("test", "tiny", "--yes")
    finished.json("export", "tiny", "-o", finished.root / "after")
    card = (finished.root / "after" / "README.md").read_text()
    assert f"{result['test_loss']:.4f}" in card and "not been opened" not in card


def test_the_code_of_the_card_runs(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines of Python draw words, in the directory of the card."""
    target = finished.root / "winner"
    finished.json("export", "tiny", "-o", target)
    code = (target / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(target)
    exec(compile(code, "card", "exec"), {})


def test_export_is_whole_or_absent(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that holds something is refused, a model that was changed exports nothing."""
    (finished.root / "here").mkdir()
    monkeypatch.chdir(finished.root / "here")
    assert "the working directory" in finished.cli("export", "tiny", "-o", ".").complaint
    full, target = finished.root / "full", finished.root / "target"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    assert "not empty" in finished.cli("export", "tiny", "-o", full).complaint
    assert "is a file" in finished.cli("export", "tiny", "-o", full / "mine.txt").complaint
    assert "above it" in finished.cli("export", "tiny", "-o", target / "x" / "y").complaint
    target.mkdir()
    assert 0 == finished.cli("export", "tiny", "-o", target).status  # an empty one is filled
    stored = study.resolve(finished.storage, "tiny")
    path = finished.data_dir.checkpoint(stored.uid, finished.json("best", "tiny")["trial"])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = tree(finished.root)
    answer = finished.cli("export", "tiny", "-o", finished.root / "changed")
    assert (2, before) == (answer.status, tree(finished.root))


# score


def test_score_gives_the_nats_of_each_word(finished: Workspace) -> None:
    """The same from the study and from its exported model; the end of a word counts."""
    rows = finished.json("score", "tiny", "anna", "li")
    assert [("anna", 5), ("li", 3)] == [(row["word"], row["characters"]) for row in rows]
    assert all({"word", "nats", "characters"} == row.keys() and row["nats"] > 0 for row in rows)
    finished.json("export", "tiny", "-o", finished.root / "winner")
    model = finished.root / "winner" / "model.safetensors"
    assert rows == finished.json("score", "--checkpoint", model, "anna", "li")
    text = finished.cli("score", "tiny", "anna", "li").out
    total = sum(row["nats"] for row in rows)
    assert f"{total / 8:.4f}" in text and f"{rows[0]['nats'] / 5:.4f}" in text


def test_score_reads_words_from_standard_input(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One per line, for `-`."""
    monkeypatch.setattr("sys.stdin", io.StringIO("anna\nli\r\n\n"))
    rows = finished.json("score", "tiny", "-")
    assert ["anna", "li"] == [row["word"] for row in rows]
    assert all(math.isfinite(row["nats"]) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tiny", "anna", "qux"), "'q'"),
        (("tiny", "an.na"), "'.'"),
        (("tiny",), "STUDY WORD"),
        ((), "STUDY WORD"),
        (("huge", "anna"), "huge"),
        (("--checkpoint", "missing.safetensors", "anna"), "missing.safetensors"),
    ],
)
def test_score_refuses_what_it_cannot_score(
    arguments: tuple[str, ...], expected: str, finished: Workspace
) -> None:
    """A character outside the alphabet is named: exit 2, one line."""
    answer = finished.cli("score", *arguments, "--quiet")
    assert (2, "") == (answer.status, answer.out)
    assert expected in answer.complaint
