"""Names, paths and words are shown and used as they are, and taken for nothing else."""

import json
import shlex
import subprocess
import tomllib
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard import get_note
from workspace import Workspace, invoke

from search.cli.session import Session
from search.dashboard.study_note import write_note
from search.formatting import command
from search.paths import DataDir, file_name
from search.spec import toml_writer
from search.storage.urls import parse_url, sqlite_path

NAMES = [":smile: adam [lr 1e-3] `b` $(ls) 名前", '-x\'b "c" & <i>\x9b']
"""Names of studies that are also markup, words of a shell, options, verbs, ..."""
anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_shown_by_the_name_that_it_has(
    bed: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the answer, in what is said of its course, and in every command that a hint names."""
    monkeypatch.setenv("MAKEMORE_SEARCH_STORAGE", bed.url)  # no hint shows a PostgreSQL URL
    bed.work(bed.create(study={"name": name}, budget={"trials": 1}))
    answer = bed.cli("run", bed.root / "tiny.toml")
    assert 0 == answer.status, answer.err
    assert answer.out.startswith(f"{name}: 1/1 trials")
    shown = name.replace("\x9b", "\\x9b")
    assert f"{shown}: Ctrl-C" in answer.err
    hints = [line.split("   ")[0] for line in answer.err.splitlines() if "next  " in line]
    assert 4 == len(hints)
    for hint in hints:
        words = _words(hint.removeprefix("next  "))
        assert "makemore-search" == words[0]
        if "test" != words[1] and "confirm" != words[1]:
            output = ["-o", str(bed.root / "page.html")] if words[1] == "report" else []
            told = invoke(words[1], *output, *bed.options, *words[2:])
            assert 0 == told.status, told.err


def _words(command: str) -> list[str]:
    """A command's words, as a shell understands it."""
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    )
    return told.stdout.decode().split("\0")[:-1]


@given(names=st.lists(anything.filter(lambda text: "\0" not in text), min_size=1, max_size=3))
def test_a_command_can_be_pasted(names: list[str]) -> None:
    """Whatever stands in a name, a shell finds the same words; dashes come behind `--`."""
    told = command("best", *names, options=["--toml"], place=" --data-dir 'a b'")
    if "$'" not in told:  # which only a real shell understands
        words = shlex.split(told)
        plain = [*names, "--toml", "--data-dir", "a b"]
        behind = ["--toml", "--data-dir", "a b", "--", *names]
        assert ["makemore-search", "best"] == words[:2]
        assert (behind if any(n.startswith("-") for n in names) else plain) == words[2:]
        assert told.isprintable() or "\xa0" in told or not told.isascii()


@given(st.lists(anything, min_size=2, max_size=2, unique=True))
def test_files_about_two_things_have_two_names(texts: list[str]) -> None:
    """Short, of plain letters, no device of Windows, and another where letters differ in case."""
    one, other = map(file_name, texts)
    assert one.lower() != other.lower()
    for name in (one, other):
        assert name.isascii()
        assert 0 < len(name) <= 80
        assert not set(name) & set('/\\:*?"<>|\0 ')
        assert name[0] not in ".-"
        assert name.split(".")[0] not in ("con", "nul", "com1")


def test_reports_of_two_studies_in_han_are_two_files(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither overwrites the other."""
    monkeypatch.chdir(bed.root)
    for name in ("名前", "苗字"):
        bed.create(study={"name": name})
    paths = {bed.json("report", name)["path"] for name in ("名前", "苗字")}
    assert 2 == len(paths)
    assert all("Traceback" not in Path(path).read_text(encoding="utf-8") for path in paths)


@given(anything.filter(lambda text: "\0" not in text and text.strip("/")))
def test_a_data_directory_may_have_any_name(name: str) -> None:
    """Its database lies in it, whatever a URL means by a character of its name."""
    place = DataDir(Path(name))
    assert place.database == sqlite_path(parse_url(place.default_storage))


@pytest.mark.parametrize("name", ["what?now", "a#b", "50%", "%41", "{x}", "a b", "c:d@e", "a&b=c"])
@pytest.mark.sqlite_file
def test_a_data_directory_is_made_where_it_was_asked_for(bed: Workspace, name: str) -> None:
    """And nowhere else."""
    root = bed.root / "d" / name
    answer = invoke("submit", bed.file(), "--data-dir", root)
    assert 0 == answer.status, answer.err
    assert (root / "studies.db").is_file()
    assert [root] == [*root.parent.iterdir()]
    assert "tiny" == json.loads(invoke("status", "tiny", "--json", "--data-dir", root).out)["study"]


def test_a_question_mark_in_the_path_of_a_url_is_refused(bed: Workspace) -> None:
    """It would be dropped with all behind it, and another file be opened."""
    url = f"sqlite:///{bed.root}/what?now/studies.db"
    answer = invoke("submit", bed.file(), "--storage", url)
    assert 2 == answer.status
    assert "%3F" in answer.complaint
    assert not [*bed.root.glob("wha*")]


def test_a_data_directory_as_a_shell_would_mean_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` stands for the home directory, also where no shell has seen it; nothing is refused."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Session.from_options(Path("~/runs"), None, False, False, False)
    assert tmp_path / "runs" == made.data_dir.root
    for given_as in ("", b"\xff".decode(errors="surrogateescape")):
        answer = invoke("status", "--data-dir", given_as)
        assert 2 == answer.status
        assert "--data-dir" in answer.complaint


@given(anything)
def test_toml_that_is_written_can_be_read(text: str) -> None:
    """Quotes, line ends and control characters too."""
    assert {"a": {"b": text}} == tomllib.loads(toml_writer.document({"a": {"b": text}}))


def test_a_note_shows_names_and_no_markup(bed: Workspace) -> None:
    """Brackets, tags and backticks of a name are letters of the note."""
    stored = bed.create(study={"name": "a [b](c:d) <script> `d`"})
    bed.work(stored)
    write_note(bed.storage, stored, bed.data_dir)
    study = optuna.Study(stored.name, bed.storage.optuna, sampler=optuna.samplers.RandomSampler())
    head = get_note(study).splitlines()[0]
    assert r"## a \[b\]\(c\:d\) \<script\> \`d\`" == head
