"""The README names every verb and every option: a new one without a word on it fails here."""

from pathlib import Path

import pytest
import typer

from search.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app()).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_the_readme_has_every_verb_and_option(verb: str) -> None:
    """Each verb stands in the README, and so does each of its options."""
    options = {
        name
        for parameter in COMMANDS[verb].params
        for name in parameter.opts
        if name.startswith("--") and name != "--help"
    }
    assert f"`{verb}" in README or f"makemore-search {verb}" in README
    assert set() == {name for name in options if name not in README}


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_verb_says_what_it_does(verb: str) -> None:
    """`--help` has a sentence for each verb."""
    assert COMMANDS[verb].help
