"""Mistakes of a file have lines: where a key stands, however it is written."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace import Workspace

from search.errors import StudyFileError
from search.spec.study_file import read, read_config
from search.spec.toml_lines import MAX_LINES, Lines

TEXT = '''# a comment with [search] in it
title = "one"
[study]
name = """
[search]
hidden_width = 3
"""
"cor pus" = 'words.txt'

[search] # here
hidden_width = { low = 1, high = 2 }
schedule.low = 1
batch_size = [
  32,
  64,   # not a key = 3
]
"dotted.key" = 1

[[enqueue]]
hidden_width = 4

[[enqueue]]
batch_size = 5
[a.b]
c = 1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("title", 2),
        ("study", 3),
        ("study.name", 4),
        ("study.cor pus", 8),
        ("study.missing", 3),
        ("search", 10),
        ("search.hidden_width", 11),
        ("search.hidden_width.low", 11),
        ("search.schedule", 12),
        ("search.schedule.low", 12),
        ("search.batch_size", 13),
        ("search.dotted.key", 17),
        ("enqueue.0", 19),
        ("enqueue.0.hidden_width", 20),
        ("enqueue.1", 22),
        ("enqueue.1.batch_size", 23),
        ("enqueue.1.colour", 22),
        ("a.b.c", 25),
        ("nowhere", None),
        ("", None),
    ],
)
def test_a_key_is_found_however_it_is_written(key: str, line: int | None) -> None:
    """Headers, dotted and quoted keys, tables in lists; a missing key has the line above it."""
    assert line == Lines(TEXT).of(key)
    assert line == Lines(TEXT.replace("\n", "\r\n")).of(key)


NAMES = st.text("ab.\" '#=[]\n\\é", min_size=1, max_size=4)
VALUES = st.one_of(
    st.integers(),
    st.booleans(),
    st.text("a\"'#[]=\n\\{}é", max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["low", "high"]), st.integers(), max_size=2),
)


def written(name: str) -> str:
    escaped = "".join(f"\\u{ord(c):04x}" if c in '"\\\n' else c for c in name)
    return f'"{escaped}"'


def value_over_lines(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"""\n' + "".join(f"\\u{ord(c):04x}" if c in '"\\' else c for c in value) + '"""'
    if isinstance(value, list):
        return "[\n" + "".join(f"  {each}, # ]\n" for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {v}" for k, v in value.items()) + "}"
    return str(value)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4), max_size=4))
def test_whatever_the_reader_reads_is_found(document: dict[str, dict[str, Any]]) -> None:
    """The line of every header and every key is the one that it was written on."""
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, values in document.items():
        lines += ["# [not.a] = header", f"[{written(table)}]"]
        expected[(table,)] = len(lines)
        for name, value in values.items():
            expected[(table, name)] = len(lines) + 1
            lines += f"{written(name)} = {value_over_lines(value)}".split("\n")
    text = "\n".join(lines)
    assert document == tomllib.loads(text)
    keys = [".".join(parts) for parts in expected]
    for key, line in zip(keys, expected.values(), strict=True):
        if keys.count(key) == 1:
            assert line == Lines(text).of(key)


def test_an_endless_text_gets_no_lines() -> None:
    """A line is a service; it must not take minutes."""
    assert Lines("a = 1\n" * 1 + "#\n" * MAX_LINES).of("a") is None


WRONG = """[study]
name = "b"
corpus = "nowhere.txt"
seeds = 3
[budget]
trials = 0
epochs = 2
examples = 5
[search]
batch_size = [32, -1]
learning_rate = "auto"
optimizer = ["adamw", "sgd"]
[[enqueue]]
batch_size = 64
colour = "red"
"""


def lines_of(error: StudyFileError) -> dict[str, int | None]:
    return {each.key: each.line for each in error.mistakes}


def test_every_mistake_is_told_beside_the_others_with_its_line(bed: Workspace) -> None:
    """Also a corpus that is not there, a value outside a list that is wrong itself, two lengths of
    a trial, and "auto" with two optimizers."""
    file = bed.root / "wrong.toml"
    file.write_text(WRONG)
    with pytest.raises(StudyFileError) as caught:
        read(file)
    assert {
        "study.corpus": 3,
        "study.seeds": 4,
        "budget.trials": 6,
        "budget.epochs": 7,
        "search.batch_size": 10,
        "search.learning_rate": 11,
        "enqueue.0.batch_size": 14,
        "enqueue.0.colour": 15,
    } == lines_of(caught.value)
    for verb in ("run", "submit", "preview"):
        answer = bed.cli(verb, file)
        assert 2 == answer.status
        assert "wrong.toml: line 3: study.corpus: " in answer.complaint
        assert "line 15: enqueue.0.colour: " in answer.complaint
    assert bed.is_untouched


def test_the_mistakes_of_a_config_file_have_lines(bed: Workspace) -> None:
    """Of `train`, `lr-range` and `capacity` as well."""
    file = bed.root / "config.toml"
    file.write_text('other = 1\n[config]\ncorpus = "no.txt"\nhidden_width = -1\ncolour = 2\n')
    with pytest.raises(StudyFileError) as caught:
        read_config(file)
    expected = {"other": 1, "config.corpus": 3, "config.hidden_width": 4, "config.colour": 5}
    assert expected == lines_of(caught.value)


def test_mistakes_of_options_are_told_beside_those_of_the_file(bed: Workspace) -> None:
    """One line has all that keeps the command from beginning."""
    file = bed.file(budget={"trials": 0})
    told = bed.cli("run", file, "--timeout", "soon", "--device", "cuda:99").complaint
    for what in ("budget.trials", "--timeout", "--device cuda:99"):
        assert what in told
    told = bed.cli("preview", file, "--timeout", "soon", "--corpus", "gone.txt").complaint
    for what in ("budget.trials", "--timeout", "--corpus: no such file 'gone.txt'"):
        assert what in told


def test_train_tells_its_options_beside_its_file(bed: Workspace) -> None:
    """The device and the place of the model are looked at, whatever is wrong with the file."""
    file = bed.root / "config.toml"
    file.write_text("[config]\nhidden_width = -1\n")
    options = ("--device", "cuda:99", "--save", bed.root)
    told = bed.cli("train", file, *options).complaint
    for what in ("line 2: config.hidden_width", "--device cuda:99", "--save"):
        assert what in told


def test_a_missing_corpus_alone_is_left_to_whoever_loads_it(tmp_path: Path) -> None:
    """A study that exists has its words, whether or not the file is still there."""
    file = tmp_path / "good.toml"
    file.write_text('[study]\nname = "s"\ncorpus = "gone.txt"\n')
    assert "gone.txt" == read(file).study.corpus
