"""The first configurations of a study: of another study (`--from`), stored when it is created."""

from typing import Any

import pytest
from workspace import TINY, Workspace, some_words

from search.spec.study_spec import from_document
from search.study.study import StoredStudy, resolve
from search.trials import results

BUDGET = {"trials": 6, "examples": 500, "evaluations": 2}
EARLIER: dict[str, Any] = {
    "study": {"name": "earlier"},
    "budget": BUDGET,
    "search": TINY["search"] | {"optimizer": "adamw"},
    "pruner": {"kind": "none"},
}


@pytest.fixture
def earlier(bed: Workspace) -> StoredStudy:
    """A study of six complete trials."""
    stored = bed.create(bed.file("earlier.toml", **EARLIER))
    bed.work(stored)
    return stored


def best(bed: Workspace, stored: StoredStudy, count: int) -> list[dict[str, Any]]:
    """The configurations of the trials with the lowest dev losses."""
    return [dict(each.config) for each in results.best_trials(bed.storage, stored, count)]


def later(bed: Workspace, **sections: Any) -> str:
    """The file of another study, of the same space."""
    document = EARLIER | {"study": {"name": "later"}} | sections
    return str(bed.file("later.toml", **document))


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_study_begins_with_the_best_of_another(
    kind: str, bed: Workspace, earlier: StoredStudy
) -> None:
    """With `--from`, its first five trials have the best five configurations of that study, the
    best first, whatever the sampler; the sampler goes on from there."""
    path = later(bed, study={"name": "later", "seed": 2}, sampler={"kind": kind})
    answer = bed.cli("submit", path, "--from", "earlier")
    assert "it began with the best configurations of study earlier" in answer.out
    stored = resolve(bed.storage, "later")
    bed.work(stored)
    tried = [dict(trial.config) for trial in bed.trials(stored)]
    assert best(bed, earlier, 5) == tried[:5]
    assert tried[5] not in best(bed, earlier, 6)


def test_enqueued_configurations_come_before_those_of_another_study(
    bed: Workspace, earlier: StoredStudy
) -> None:
    """What the file names is tried first, then what `--from` names."""
    path = later(
        bed, enqueue=[{"embedding_size": 2, "block_size": 3}], budget=BUDGET | {"trials": 2}
    )
    assert 0 == bed.cli("submit", path, "--from", "earlier").status
    stored = resolve(bed.storage, "later")
    bed.work(stored)
    first, second = (trial.config for trial in bed.trials(stored))
    assert (2, 3) == (first["embedding_size"], first["block_size"])
    assert best(bed, earlier, 1) == [second]


def test_a_study_of_another_space_and_corpus_begins_from_it(
    bed: Workspace, earlier: StoredStudy
) -> None:
    """Values outside of its space become the nearest inside, and the rate goes with the sizes."""
    bed.corpus(some_words(90, letters="xyz"), "others.txt")
    relative = {"low": 1e-3, "high": 0.1, "log": True, "relative": True}
    search = EARLIER["search"] | {"embedding_size": 4, "learning_rate": relative}
    path = later(bed, study={"name": "later", "corpus": "others.txt"}, search=search)
    assert "earlier" == bed.json("submit", path, "--from", "earlier")["began_from"]
    found = resolve(bed.storage, "later").spec
    config = best(bed, earlier, 1)[0]
    expected = config["learning_rate"] / (config["batch_size"] / config["hidden_width"]) ** 0.5
    first = found.opening[0]
    assert pytest.approx(min(max(expected, 1e-3), 0.1)) == first["relative_learning_rate"]
    assert config["block_size"] == first["block_size"]
    assert "embedding_size" not in first
    assert found == from_document(found.as_document(), "storage")


def test_the_beginning_is_no_part_of_the_definition(bed: Workspace, earlier: StoredStudy) -> None:
    """The same file, with the same `--from` or without, goes on with the study, also when the
    earlier one is gone; a larger budget keeps the opening."""
    assert 0 == bed.cli("submit", later(bed), "--from", "earlier").status
    opening = resolve(bed.storage, "later").spec.opening
    assert 0 == bed.cli("delete", "earlier", "--yes").status
    assert 0 == bed.cli("submit", later(bed), "--from", "earlier").status
    assert 0 == bed.cli("submit", later(bed), "--trials", 9).status
    assert opening == resolve(bed.storage, "later").spec.opening


def test_a_study_that_exists_cannot_begin_anew(bed: Workspace, earlier: StoredStudy) -> None:
    """Another `--from` than at its creation is refused in one line, which names both."""
    assert 0 == bed.cli("submit", later(bed)).status
    answer = bed.cli("submit", later(bed), "--from", "earlier")
    assert (3, True) == (
        answer.status,
        "began without --from, not from earlier" in answer.complaint,
    )
    answer = bed.cli("submit", bed.root / "earlier.toml", "--from", "later")
    assert (3, True) == (answer.status, "not from later" in answer.complaint)


def test_an_unknown_or_empty_study_is_nothing_to_begin_from(bed: Workspace) -> None:
    """A name that the storage does not hold, and a study without a complete trial: status 2, and
    nothing is created."""
    assert 2 == bed.cli("submit", later(bed), "--from", "earlier").status
    bed.create(bed.file("earlier.toml", **EARLIER))
    assert "not in storage" in bed.cli("submit", later(bed), "--from", "nowhere").complaint
    answer = bed.cli("submit", later(bed), "--from", "earlier")
    assert (2, True) == (answer.status, "no complete trial" in answer.complaint)
    assert ["earlier"] == results.study_names(bed.storage)
