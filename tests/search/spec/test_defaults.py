"""Defaults have versions: new studies get the latest, a study keeps those of its creation."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from workspace import Workspace, some_words

from makemore_core.data.corpus import Corpus
from makemore_core.data.splits import split
from search.errors import Drift
from search.spec import study_file
from search.spec.defaults import FIRST, LATEST, VERSIONS
from search.spec.study_spec import StudySpec, from_document
from search.study import create

TWO_LINES = {"study": {"name": "two", "corpus": "words.txt"}}


def two_lines(workspace: Workspace, **sections: Any) -> Path:
    """A study file that says little more than a name and a corpus."""
    workspace.corpus()
    path = workspace.root / "two.toml"
    path.write_text(tomli_w.dumps(TWO_LINES | sections), encoding="utf-8")
    return path


def characters_of_train(corpus: Corpus) -> int:
    """As a study counts them; an end is a character."""
    return sum(len(word) + 1 for word in split(corpus, 42).train)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stored_document_reads_back_with_its_own_defaults(version: int) -> None:
    """What the storage has of a study defines that study, whatever the latest defaults are."""
    spec = from_document(TWO_LINES, "file", version)
    again = from_document(spec.as_document(), "storage")
    assert (version, spec) == (again.defaults, again)
    assert spec.definition() == again.definition()


def test_a_stored_document_without_a_version_has_the_first() -> None:
    """Studies that the first versions of the program stored are read as they were meant."""
    assert FIRST == from_document(TWO_LINES, "storage").defaults
    assert "defaults" not in from_document(TWO_LINES, "storage").as_document()


def test_a_file_has_the_latest_defaults_and_says_nothing_of_versions(bed: Workspace) -> None:
    """Only the storage knows of versions; in a file `defaults` is an unknown key."""
    assert LATEST == study_file.read(two_lines(bed)).defaults
    with pytest.raises(study_file.StudyFileError, match="defaults: unknown key"):
        study_file.read(two_lines(bed, defaults=1))


@pytest.mark.parametrize(("count", "expected"), [(60, 53_800), (400, 190_000), (2_400, 637_000)])
def test_a_two_line_study_trains_the_longer_the_larger_its_corpus(
    count: int, expected: int
) -> None:
    """A full trial sees 1,250 N^(2/3) examples for N characters: fewer epochs of more words."""
    corpus = Corpus("words", tuple(some_words(count)))
    resolved = from_document(TWO_LINES, "file", LATEST).resolved_for(corpus)
    assert expected == resolved.budget.examples
    assert expected == pytest.approx(1250 * characters_of_train(corpus) ** (2 / 3), rel=5e-3)


@pytest.mark.parametrize(
    ("budget", "expected"), [({"examples": 700}, 700), ({"epochs": 2.0}, None)]
)
def test_a_given_length_of_a_trial_counts(budget: dict[str, Any], expected: int | None) -> None:
    """`examples` and `epochs` replace the default length."""
    corpus = Corpus("words", tuple(some_words(60)))
    spec = from_document(TWO_LINES | {"budget": budget}, "file", LATEST).resolved_for(corpus)
    assert (expected or 2 * characters_of_train(corpus)) == spec.budget.examples


def test_an_option_changes_what_was_given_and_leaves_the_rest_open() -> None:
    """What the command line replaces is as if the file had said it; defaults come afterwards."""
    spec = from_document(TWO_LINES, "file", LATEST).with_values("budget", trials=7)
    first = spec.with_defaults(FIRST)
    assert (7, 1_500_000) == (first.budget.trials, first.budget.examples)
    assert VERSIONS[FIRST]["search"] == first.as_document()["search"]
    assert spec == first.with_defaults(LATEST)


def older(workspace: Workspace) -> StudySpec:
    """The study of the two lines, created by a program that knew the first defaults alone."""
    path = two_lines(workspace)
    corpus = Corpus("words.txt", tuple(some_words()))
    spec = study_file.read(path).with_defaults(FIRST)
    return create.create_or_resume(workspace.storage, spec, corpus, workspace.data_dir).spec


def test_an_unchanged_file_of_an_older_study_is_no_drift(bed: Workspace) -> None:
    """`submit`, `preview` and creation fill the file of a study that exists as it was filled."""
    stored = older(bed)
    resumed = bed.create(two_lines(bed, budget={"trials": 41}))
    assert stored.definition() == resumed.spec.definition()
    assert (FIRST, 41) == (resumed.spec.defaults, resumed.spec.budget.trials)
    assert 40 == bed.json("submit", two_lines(bed))["budget"]["trials"]
    assert {"low": 64, "high": 1024, "log": True} == bed.json(
        "preview", two_lines(bed), "--workers", 1
    )["space"]["hidden_width"]


def test_a_changed_file_of_an_older_study_is_drift(bed: Workspace) -> None:
    """A value that the file did not have is compared with the default of the time."""
    older(bed)
    assert 3 == bed.cli("submit", two_lines(bed, search={"dropout": 0.1})).status
    with pytest.raises(Drift, match=r"search\.dropout is 0\.0 in the storage"):
        bed.create(two_lines(bed, search={"dropout": 0.1}))


def test_a_new_study_stays_as_it_was_created(bed: Workspace) -> None:
    """The storage has every default, so that a newer program's defaults change nothing."""
    stored = bed.create(two_lines(bed)).spec
    document = stored.as_document()
    assert LATEST == document["defaults"]
    assert VERSIONS[LATEST]["search"] == document["search"]
    assert 100 == document["budget"]["trials"]
    assert stored.definition() == bed.create(two_lines(bed)).spec.definition()
