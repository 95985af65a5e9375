"""The program before any verb: help, versions, completion, and options that stand before a verb."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer
from workspace import Workspace, ended, invoke, run_python

from search.cli import app
from search.cli.program import GROUPS, VERBS

ROOT = Path(__file__).parents[3]
COMMANDS = typer.main.get_command(app()).commands  # type: ignore[attr-defined]
HEAVY = ("torch", "optuna", "sqlalchemy", "numpy", "numba", "plotly", "bottle")
"""Libraries that take long to load, and that no help text needs."""


def summary(verb: str) -> str:
    """The first paragraph of a verb's help, in one line."""
    return " ".join(COMMANDS[verb].help.split("\n\n")[0].split())


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_program_without_a_verb_shows_its_help(arguments: tuple[str, ...]) -> None:
    """On standard output, as a success: every verb in its group, each description whole."""
    answer = invoke(*arguments)
    assert (0, "") == (answer.status, answer.err)
    text = " ".join(answer.out.split())
    assert sorted(COMMANDS) == sorted(VERBS)
    for title, verbs in GROUPS.items():
        assert f"{title}:" in answer.out
        for verb in verbs:
            assert f"{verb} {summary(verb)}" in text
    assert "..." not in answer.out.partition("Options:")[2]
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb: str) -> None:
    """`-h` is `--help`; each argument and option has a description."""
    answer = invoke(verb, "-h")
    assert (0, answer.out) == (invoke(verb, "--help").status, invoke(verb, "--help").out)
    assert summary(verb)[:40] in " ".join(answer.out.split())
    assert [] == [p.name for p in COMMANDS[verb].params if not p.help and p.name != "help"]


def test_the_version_is_one_line() -> None:
    """The package's, Python's, and those of the libraries that a result depends on."""
    answer = invoke("--version")
    assert (0, "", 1) == (answer.status, answer.err, answer.out.count("\n"))
    assert answer.out.startswith("makemore-search ") and "torch" in answer.out


def test_help_loads_no_heavy_library() -> None:
    """Help, versions and completion are there at once: nothing that takes long is imported."""
    source = (
        "import sys, json, contextlib, io; from search.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    for words in ([], ['--version'], *([v, '-h'] for v in sys.argv[1].split(','))):\n"
        "        sys.argv[1:] = words\n"
        "        assert main() == 0, words\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    answer = ended(run_python(source, ",".join(VERBS)))
    assert 0 == answer.status, answer.err
    assert [] == json.loads(answer.out)


def _complete(words: str, shell: str = "bash") -> list[str]:
    """What a shell is offered for a command line whose last word is not finished."""
    environment = os.environ | {
        "_MAKEMORE_SEARCH_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    process = subprocess.run(
        [sys.executable, "-m", "search"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return process.stdout.split()


def test_a_shell_completes_verbs_and_options() -> None:
    """Verbs after the program's name or after its options, options after a verb."""
    assert ["status", "stop"] == sorted(
        {"status", "stop", "score", "run"} & {*_complete("makemore-search st")}
    )
    assert ["confirm"] == _complete("makemore-search --data-dir x conf")
    assert ["--watch"] == _complete("makemore-search status --wa")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_program_shows_its_completion(shell: str) -> None:
    """`--show-completion` prints what a shell reads."""
    answer = ended(
        run_python(
            "import sys; from search.cli import main; sys.exit(main())",
            "--show-completion",
            shell,
        )
    )
    assert 0 == answer.status, answer.err
    assert "_MAKEMORE_SEARCH_COMPLETE" in answer.out


# Options before the verb


def test_common_options_stand_before_the_verb_as_well(finished: Workspace) -> None:
    """`--data-dir`, `--json` and `--quiet` mean the same there."""
    place = ("--data-dir", finished.data_dir.root, "--storage", finished.url)
    after = invoke("status", "tiny", *place, "--json")
    before = invoke(*place, "--json", "--quiet", "status", "tiny")
    assert 0 == before.status, before.err
    assert after.json == before.json


def test_the_later_of_an_option_given_twice_wins(finished: Workspace) -> None:
    """An option after the verb replaces the same option before it."""
    right, wrong = ("--storage", finished.url), ("--storage", "sqlite:///nowhere.db")
    assert 0 == invoke(*wrong, "status", "tiny", *right).status
    assert 2 == invoke(*right, "status", "tiny", *wrong).status


def test_an_option_before_the_verb_outranks_the_environment(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one after it does."""
    monkeypatch.setenv("MAKEMORE_SEARCH_STORAGE", "sqlite:///nowhere.db")
    assert 0 == invoke("--storage", finished.url, "status", "tiny").status
    assert 2 == invoke("status", "tiny").status


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_takes_the_common_options_before_it(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each verb's session has the values that stand before it."""
    sessions = []

    def from_options(**options: object) -> object:
        sessions.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("search.cli.options.Session.from_options", from_options)
    arguments = [
        "12" if p.name == "number" else "word"
        for p in COMMANDS[verb].params
        if p.param_type_name == "argument" and p.required
    ]
    required = {"baseline": ("--corpus", "c")}.get(verb, ())
    common = ("--data-dir", "there", "--storage", "sqlite:///s.db", "--json", "--quiet", "--debug")
    invoke(*common, verb, *arguments, *required)
    expected = {
        "data_dir": Path("there"),
        "storage": "sqlite:///s.db",
        "json": True,
        "quiet": True,
        "debug": True,
    }
    assert [expected] == sessions


# The package


def test_the_wheel_ships_two_packages_and_the_examples() -> None:
    """No top-level name but `makemore_core` and `search`."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = configuration["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"packages": ["makemore_core", "search"]} == wheel


def test_the_packaged_examples_are_those_of_the_repository() -> None:
    """`studies/` and `search/examples/` hold the same study files."""
    packaged, shown = ROOT / "search" / "examples", ROOT / "studies"
    names = sorted(path.name for path in packaged.iterdir())
    assert ["bengio.toml", "lecture.toml", "names.toml", "quick.toml"] == names
    assert names == sorted(path.name for path in shown.glob("*.toml"))
    for name in names:
        assert (packaged / name).read_bytes() == (shown / name).read_bytes()


@pytest.mark.long
def test_a_built_wheel_has_no_other_top_level_name(tmp_path: Path) -> None:
    """What `pip wheel` builds from this tree holds the two packages, their data and its metadata;
    installed alone, it writes its first study file."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "-q", "-w", str(tmp_path), str(ROOT)], capture_output=True, text=True
    )
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("hatchling is not installed here")
    assert 0 == built.returncode, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    tops = {name.split("/")[0] for name in names}
    assert {"makemore_core", "search"} == {top for top in tops if not top.endswith(".dist-info")}
    assert "search/examples/quick.toml" in names
    source = "import sys; from search.cli import main; sys.exit(main())"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", source, "init", "quick", "-o", str(tmp_path / "first.toml")],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert 0 == answer.returncode, answer.stderr
    assert (tmp_path / "first.toml").read_bytes() == (ROOT / "studies/quick.toml").read_bytes()
