"""What the program shows, and to whom: never decides what it does."""

import contextlib
import json
import os
import shlex
import subprocess
import sys

import pytest
from workspace import Workspace, ended

from search.cli import streams

LONG = pytest.mark.long
VERBS = ["run", pytest.param("confirm", marks=LONG), pytest.param("test", marks=LONG)]
NOISY = """
import os, sys

class Noise:
    def find_spec(self, name, *_):
        if name in ("torch", "optuna", "numba"):
            os.write(1, f"{name} says hello\\n".encode())
            print(f"{name} prints hello")

sys.meta_path.insert(0, Noise())
"""
"""Has libraries print when they are loaded, as MKL does with MKL_VERBOSE=1 and Ray always."""


MARKED = """
import os
with open({mark!r}, "a") as marks:
    print(os.getpid(), __name__, file=marks)
with open(os.path.join(os.path.dirname(os.__file__), {file!r})) as real:
    exec(real.read())
"""
"""A module of the standard library that leaves a mark when it is imported."""
MARKED_MODULES = ("types", "signal", "random", "queue", "selectors")


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_that_stands_around_gets_into_an_answer_or_a_process(
    finished: Workspace, verb: str
) -> None:
    """One JSON document is on standard output, whatever libraries print in any process. Whoever
    types `python -m search` has the files of the working directory imported, as Python does it; no
    process that is started has, whatever PYTHONPATH says."""
    hooks, mark = finished.root / "hooks", finished.root / "marks"
    hooks.mkdir()
    hooks.joinpath("sitecustomize.py").write_text(NOISY)
    for name in MARKED_MODULES:
        text = MARKED.format(mark=str(mark), file=f"{name}.py")
        finished.root.joinpath(f"{name}.py").write_text(text)
    arguments = {
        "run": ("run", finished.file(budget={"trials": 14}), "--workers", 1),
        "confirm": ("confirm", "tiny", "--top", 1, "--seeds", 1),
        "test": ("test", "tiny", "--yes"),
    }[verb]
    path = f":.:{hooks}:" if verb == "run" else str(hooks)
    process = finished.start(*arguments, "--json", env=os.environ | {"PYTHONPATH": path})
    answer = ended(process)
    assert 0 == answer.status, answer.err
    assert "tiny" == answer.json["study"]
    assert "optuna says hello" in answer.err
    assert {str(process.pid)} == {line.split()[0] for line in mark.read_text().splitlines()}


def _shell(bed: Workspace, redirection: str, *arguments: object, **options: str) -> tuple[int, str]:
    """The exit status of the program, its streams as a shell leads them, and its standard error."""
    command = shlex.join([sys.executable, "-m", "search", *bed.arguments(*arguments)])
    told = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} {redirection}"],
        cwd=bed.root,
        env=os.environ | options,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    return told.returncode, told.stderr.decode()


@pytest.mark.parametrize(
    ("redirection", "status"), [("| true", 0), ("> /dev/full", 1), (">&- 2>&- <&-", 0)]
)
def test_an_answer_that_nobody_takes_is_told_in_a_line_at_most(
    finished: Workspace, redirection: str, status: int
) -> None:
    """A reader that left wants no more; a full disk is a failure; a closed stream is no stream."""
    found, told = _shell(finished, redirection, "status", "tiny", "--json")
    assert status == found, told
    assert status == told.count("\n")
    assert ("standard output: cannot be written" in told) == bool(status)


@pytest.mark.parametrize("redirection", ["2> /dev/full", pytest.param("2> >(true)", marks=LONG)])
def test_a_run_goes_on_where_its_progress_cannot_be_shown(
    finished: Workspace, redirection: str
) -> None:
    """Its budget is met, and its status is 0."""
    file = finished.file(budget={"trials": 13})
    status, _ = _shell(finished, f"> out {redirection}", "run", file, "--workers", 1, "--json")
    assert 0 == status
    assert 13 == json.loads((finished.root / "out").read_text())["budget"]["finished"]


def test_a_reader_that_has_stopped_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not read is dropped; what it reads later comes whole again."""
    monkeypatch.setattr(streams, "WAIT_SECONDS", 0.01)
    reader, writer = os.pipe()
    stream = streams._text(streams._Lenient(writer), None)
    for _ in range(3):
        print("x" * 100_000, file=stream)
    os.set_blocking(reader, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(reader, 65536):
            pass
    print("again", file=stream)
    assert b"again\n" == os.read(reader, 65536)
    os.close(reader)
    print("to nobody", file=stream)
    os.close(writer)


def test_an_encoding_that_lacks_a_character_ends_nothing(bed: Workspace) -> None:
    """`test` opens the split, and shows with escapes what it has to show."""
    bed.work(bed.create(study={"name": "名前"}, budget={"trials": 1}))
    bed.close()
    options = {"PYTHONIOENCODING": "ascii"}
    status, told = _shell(bed, "> out", "test", "名前", "--yes", **options)
    assert 0 == status, told
    assert (bed.root / "out").read_text().startswith(r"\u540d\u524d: ")


def test_a_path_that_is_no_text_is_shown_by_its_bytes() -> None:
    """So that a program can open what it was told."""
    reader, writer = os.pipe()
    print("a\udcffb", file=streams._text(streams._Whole(writer), None))
    assert b"a\xffb\n" == os.read(reader, 100)
    for end in (reader, writer):
        os.close(end)
