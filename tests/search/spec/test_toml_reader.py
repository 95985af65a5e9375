"""TOML of a stranger: whatever it is, it takes no long time, and is one error."""

import pytest
from workspace import Workspace

from search.errors import StudyFileError
from search.spec import study_file, toml_reader


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("a = " + "[" * 100_000, "too deeply nested", None),
        ("a = " + "{a=" * 100_000, "too deeply nested", None),
        ("[study]\na" + ".a" * 450_000 + " = 1", "1000 dots", 2),
        ("[" + "a." * 450_000 + "a]", "1000 dots", 1),
        ("a = {" + "b." * 450_000 + "b = 1}", "1000 dots", 1),
        ("[budget]\ntrials = " + "9" * 5_000, "too many digits", None),
        ("[budget]\ntrials = 1\ntrials = 2\n", "Cannot overwrite", 3),
    ],
)
def test_what_would_take_long_is_no_study_file(text: str, says: str, line: int | None) -> None:
    """Keys of very many parts, nested without an end, numbers without an end."""
    with pytest.raises(StudyFileError) as caught:
        study_file.read_text(text, "study file")
    (mistake,) = caught.value.mistakes
    assert ("", line) == (mistake.key, mistake.line) and says in mistake.problem


def test_a_long_study_file_is_read() -> None:
    """A thousand configurations that are tried first, each with numbers, are as usual."""
    entry = "[[enqueue]]\nlearning_rate = 0.125\ndropout = 0.5\n"
    assert 1_000 == len(toml_reader.loads(1_000 * entry)["enqueue"])


def test_a_file_with_a_number_without_end_is_one_line(bed: Workspace) -> None:
    """Exit status 2, as of any file that is no TOML."""
    path = bed.root / "long.toml"
    path.write_text("a = " + "9" * 5_000)
    answer = bed.cli("preview", path)
    assert 2 == answer.status and "too many digits" in answer.complaint
