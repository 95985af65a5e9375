"""Code is never taken from the directory in which a verb is called."""

import os
from pathlib import Path

import pytest
from workspace import Workspace, ended

from search.cli.import_path import without_working_directory

MARKED = """
import os
with open({mark!r}, "a") as marks:
    print(os.getpid(), __name__, file=marks)
with open(os.path.join(os.path.dirname(os.__file__), {file!r})) as real:
    exec(real.read())
"""
"""A module of the standard library that leaves a mark when it is imported."""
NAMES = ("types", "signal", "random", "queue", "selectors")


@pytest.mark.parametrize(("verb", "path"), [("run", ":.:"), ("confirm", None)])
def test_no_process_that_is_started_imports_from_the_working_directory(
    finished: Workspace, verb: str, path: str | None
) -> None:
    """Whoever types `python -m search` there has its files imported; no other process has."""
    mark = finished.root / "marks"
    for name in NAMES:
        text = MARKED.format(mark=str(mark), file=f"{name}.py")
        finished.root.joinpath(f"{name}.py").write_text(text)
    arguments = {
        "run": ("run", finished.file(budget={"trials": 14}), "--workers", 1),
        "confirm": ("confirm", "tiny", "--top", 1, "--seeds", 1),
    }[verb]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = path
    process = finished.start(*arguments, env=environment)
    answer = ended(process)
    assert 0 == answer.status, answer.err
    assert {str(process.pid)} == {line.split()[0] for line in mark.read_text().splitlines()}


def test_a_search_path_keeps_all_but_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty entries and dots go, in whatever form; others stay, whole, for whatever directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f":.:./:sub:{elsewhere}:../{tmp_path.name}")
    with without_working_directory():
        named = os.environ["PYTHONPATH"].split(":")
        assert "1" == os.environ["PYTHONSAFEPATH"]
    assert [str(tmp_path / "sub"), str(elsewhere)] == named
    assert "PYTHONSAFEPATH" not in os.environ


def test_a_working_directory_that_was_removed_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nowhere to import from."""
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    with without_working_directory():
        assert "1" == os.environ["PYTHONSAFEPATH"]
