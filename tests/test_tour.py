"""The tour as it lies in git; `.ci/run` executes it from a clean kernel."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

TOUR = Path(__file__).parent.parent / "studies" / "tour.ipynb"
NOTEBOOK: dict[str, Any] = json.loads(TOUR.read_text(encoding="utf-8"))
CODE = ["".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "code"]
TEXT = "\n".join("".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "markdown")


def test_outputs_are_stripped() -> None:
    """No outputs, no execution counts, no traces of a machine."""
    for cell in NOTEBOOK["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert {"kernelspec", "language_info"} == set(NOTEBOOK["metadata"])
    assert not re.search(r"/(work|home|root|usr)/", TOUR.read_text(encoding="utf-8"))


def test_one_cell_installs() -> None:
    """The first, and only where the program is missing."""
    assert [0] == [index for index, source in enumerate(CODE) if "pip install" in source]
    assert 'find_spec("makemore_core") is None' in CODE[0]


@pytest.mark.parametrize("source", CODE[1:])
def test_cells_are_short_and_well_formed(source: str) -> None:
    """Python without magic; few lines each, but for the study file."""
    ast.parse(source)
    assert len(source.splitlines()) <= (40 if "STUDY" in source else 17)
    assert max(map(len, source.splitlines())) <= 100


def test_the_order_is_the_lectures() -> None:
    """From the bigram to the one opening of the test split, the winner's words, and the service."""
    steps = ["names", "bigram", "Contexts", "untrained", "Overfitting one batch", "splits",
             "learning rate", "Train and dev", "letters in the plane", "under- and overfitting",
             "New names", "paper", "small search", "Confirm", "from Python", "service"]  # fmt: skip
    headings = re.findall(r"^## \d+\. (.*)$", TEXT, re.MULTILINE)
    assert len(steps) == len(headings)
    for step, heading in zip(steps, headings, strict=True):
        assert step in heading
    assert ['"run"', '"confirm"', '"test"'] == re.findall(r"makemore\((\"\w+\")", "\n".join(CODE))
