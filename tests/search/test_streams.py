"""What the program shows, and to whom: never decides what it does."""

import os
from pathlib import Path

import pytest
from bed import Bed, ended

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


@pytest.fixture
def noisy(tmp_path: Path) -> dict[str, str]:
    """An environment in which libraries print."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hooks.joinpath("sitecustomize.py").write_text(NOISY)
    return os.environ | {"PYTHONPATH": str(hooks)}


@pytest.mark.parametrize("verb", ["run", "confirm", "test"])
def test_what_libraries_print_is_never_taken_for_an_answer(
    finished: Bed, noisy: dict[str, str], verb: str
) -> None:
    """One JSON document on standard output, whatever is printed by any process."""
    arguments = {
        "run": ("run", finished.file(budget={"trials": 14}), "--workers", 1),
        "confirm": ("confirm", "tiny", "--top", 1, "--seeds", 1),
        "test": ("test", "tiny", "--yes"),
    }[verb]
    answer = ended(finished.start(*arguments, "--json", env=noisy))
    assert 0 == answer.status, answer.err
    assert "tiny" == answer.json["study"]
    assert "optuna says hello" in answer.err
