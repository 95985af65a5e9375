"""Code is never taken from the directory in which a verb is called."""

import os
from pathlib import Path

import pytest

from search.cli.import_path import without_working_directory


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
