"""Studies: created once, gone on with, refused when their definition drifted."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from servers import new_database
from sqlalchemy import delete, func, select, update
from workspace import Workspace, ended, run_python, some_words

from makemore_core.data.corpus import read_file
from makemore_core.data.dataset import Dataset
from makemore_core.errors import CorpusError
from search.errors import BadInput, Drift, NotFound, StudyClosed, StudyFileError
from search.paths import DataDir
from search.spec.search_space import RangeDimension
from search.storage import tables
from search.storage.database import open_storage
from search.study import corpora, study


def test_a_study_is_created_once(bed: Workspace) -> None:
    """Asked for again, the same study is found, with all that it had."""
    assert bed.create().uid == bed.create().uid
    assert 1 == len(optuna.get_all_study_names(bed.storage.optuna))


@pytest.mark.parametrize(
    ("field", "sections"),
    [
        ("study.seed", {"study": {"seed": 2}}),
        ("study.split_seed", {"study": {"split_seed": 7}}),
        ("study.dedupe", {"study": {"dedupe": True}}),
        ("budget.examples", {"budget": {"examples": 4_001}}),
        ("budget.evaluations", {"budget": {"evaluations": 8}}),
        ("search.embedding_size", {"search": {"embedding_size": {"low": 2, "high": 9}}}),
        ("search.hidden_width", {"search": {"hidden_width": [32, 16]}}),
        ("search.learning_rate", {"search": {"learning_rate": {"low": 1e-3, "high": 1.0}}}),
        ("search.dropout", {"search": {"dropout": 0.1}}),
        ("sampler.kind", {"sampler": {"kind": "random"}}),
        ("pruner.kind", {"pruner": {"kind": "none"}}),
        ("pruner.reduction_factor", {"pruner": {"reduction_factor": 4}}),
        ("pruner.audit", {"pruner": {"audit": 0.5}}),
        ("early_stopping.patience", {"early_stopping": {"patience": 3}}),
        ("limits.seconds", {"limits": {"seconds": 9}}),
        ("limits.memory", {"limits": {"memory": "1GB"}}),
        ("enqueue", {"enqueue": [{"hidden_width": 16}]}),
    ],
)
def test_drift_names_the_field(field: str, sections: dict[str, Any], bed: Workspace) -> None:
    """A definition that differs is refused with the field, what it was and what it is now."""
    created = bed.create()
    with pytest.raises(Drift, match=field) as caught:
        bed.create(**sections)
    assert 3 == caught.value.exit_status
    assert created == study.by_uid(bed.storage, created.uid)


def test_drift_names_every_field(bed: Workspace) -> None:
    """All that differs is told at once."""
    bed.create()
    with pytest.raises(Drift, match=r"study\.seed.*sampler\.kind"):
        bed.create(study={"seed": 2}, sampler={"kind": "qmc"})


def test_another_corpus_is_drift(bed: Workspace) -> None:
    """The corpus counts by its words, not by its name or place."""
    bed.create()
    moved = bed.corpus(name="moved.txt")
    bed.create(study={"corpus": str(moved)})
    with pytest.raises(Drift, match=r"study\.corpus"):
        bed.create(study={"corpus": str(bed.corpus(some_words(seed=1), "other.txt"))})


def test_line_endings_are_no_drift(bed: Workspace) -> None:
    """The same words saved with a byte-order mark, CRLF and blank lines are the same corpus."""
    bed.create()
    path = bed.root / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(some_words()).encode())
    bed.create(study={"corpus": str(path)})


def test_epochs_are_of_the_corpus(bed: Workspace) -> None:
    """A trial as long as so many passes over the train split; the same in examples is no drift."""
    path = bed.file("epochs.toml", budget={"epochs": 2.5})
    created = bed.create(path)
    corpus = study.corpus_of(bed.storage, created, bed.data_dir)
    seen = Dataset.from_corpus(corpus, 42).contexts(3).train.examples
    assert round(2.5 * seen) == created.spec.budget.examples
    assert created.spec == bed.create(path).spec
    bed.create(budget={"examples": round(2.5 * seen)})
    with pytest.raises(Drift, match=r"budget\.examples"):
        bed.create(budget={"examples": round(2.5 * seen) + 1})


def test_a_weight_decay_may_go_with_the_corpus(bed: Workspace) -> None:
    """A range at so many examples in the train split is twice as high for a quarter of them; the
    same as a plain range is no drift."""
    here = Dataset.from_corpus(read_file(bed.corpus()), 42).contexts(3).train.examples

    def decay(low: float, high: float, **more: int) -> dict[str, Any]:
        return {"weight_decay": {"low": low, "high": high, "log": True} | more}

    enqueued = [{"weight_decay": 0.9}]
    created = bed.create(search=decay(0.1, 0.6, at_examples=4 * here), enqueue=enqueued)
    assert RangeDimension(0.2, 1.2, log=True, integer=False) == created.spec.space["weight_decay"]
    bed.create(search=decay(0.2, 1.2), enqueue=enqueued)
    with pytest.raises(Drift, match=r"search\.weight_decay"):
        bed.create(search=decay(0.1, 1.2), enqueue=enqueued)
    with pytest.raises(StudyFileError, match=r"enqueue\.0\.weight_decay"):
        bed.create(search=decay(0.1, 0.6, at_examples=here), enqueue=enqueued)


@pytest.mark.parametrize("budget", [{"trials": 99}, {"trials": 1}, {"timeout": 9}, {"target": 1}])
def test_more_or_less_budget_is_no_drift(budget: dict[str, Any], bed: Workspace) -> None:
    """Trials, timeout and target may change; the study takes them over."""
    bed.create()
    found = bed.create(budget=budget)
    for key, value in budget.items():
        assert value == getattr(found.spec.budget, key)


def test_spelling_out_a_default_is_no_drift(bed: Workspace) -> None:
    """A file that says what it left out before defines the same study."""
    bed.create()
    bed.create(sampler={"kind": "tpe"}, pruner={"reduction_factor": 3}, search={"dropout": 0.0})


def test_a_closed_study_is_refused(bed: Workspace) -> None:
    """Once its test split was opened, a study takes no further trials."""
    bed.create()
    with bed.storage.write() as connection:
        connection.execute(update(tables.studies).values(closed_at=bed.storage.now()))
    with pytest.raises(StudyClosed) as caught:
        bed.create()
    assert 3 == caught.value.exit_status


def test_drift_is_told_of_a_closed_study_as_well(bed: Workspace) -> None:
    """Neither refusal hides the other's exit status."""
    bed.create()
    with bed.storage.write() as connection:
        connection.execute(update(tables.studies).values(closed_at=bed.storage.now()))
    with pytest.raises(Drift):
        bed.create(study={"seed": 2})


def test_a_study_that_optuna_holds_under_that_name_is_not_taken(bed: Workspace) -> None:
    """Somebody's own Optuna study of the same name, with its trials, is left alone."""
    theirs = optuna.create_study(study_name="tiny", storage=bed.storage.optuna)
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(Drift, match="tiny"):
        bed.create()
    assert 1 == len(theirs.trials)
    maximised = optuna.create_study(
        study_name="other", storage=bed.storage.optuna, direction="maximize"
    )
    with pytest.raises(Drift, match="other"):
        bed.create(study={"name": "other"})
    assert "MAXIMIZE" == maximised.direction.name


def test_a_study_argument_is_a_name_or_a_file(finished: Workspace) -> None:
    """Both lead to the same study; anything else names what the storage holds."""
    by_name = study.resolve(finished.storage, "tiny")
    assert by_name == study.resolve(finished.storage, str(finished.file()))
    with pytest.raises(NotFound, match="tiny") as caught:
        study.resolve(finished.storage, "huge")
    assert 2 == caught.value.exit_status
    with pytest.raises(BadInput):
        study.resolve(finished.storage, str(finished.root / "missing.toml"))


def test_the_corpus_is_kept(bed: Workspace) -> None:
    """What becomes of the user's file does not matter to a study that exists."""
    stored = bed.create()
    (bed.root / "words.txt").write_text("\n".join(some_words(seed=5)))
    assert tuple(some_words()) == study.corpus_of(bed.storage, stored, bed.data_dir).words


def test_the_corpus_travels_with_the_study(bed: Workspace, tmp_path: Path) -> None:
    """A fresh host takes it out of the storage, and then has a copy; one that is damaged there is
    not taken."""
    stored = bed.create()
    (bed.root / "words.txt").unlink()
    fresh = DataDir(tmp_path / "fresh")
    assert tuple(some_words()) == study.corpus_of(bed.storage, stored, fresh).words
    with bed.storage.write() as connection:
        connection.execute(update(tables.corpora).values(words="a\nb"))
    assert tuple(some_words()) == study.corpus_of(bed.storage, stored, fresh).words
    with pytest.raises(CorpusError, match=r"words\.txt"):
        study.corpus_of(bed.storage, stored, DataDir(tmp_path / "another"))


def test_a_damaged_copy_is_replaced(bed: Workspace) -> None:
    """By the storage's."""
    stored = bed.create()
    bed.data_dir.corpus(stored.fingerprint).write_bytes(b"\xff\n" * 20)
    assert tuple(some_words()) == study.corpus_of(bed.storage, stored, bed.data_dir).words
    assert tuple(some_words()) == read_file(bed.data_dir.corpus(stored.fingerprint)).words


def test_an_old_study_gets_its_corpus_stored(bed: Workspace, tmp_path: Path) -> None:
    """One whose corpus is not in the storage needs the file; whoever has it and goes on with the
    study puts it there."""
    stored = bed.create()
    with bed.storage.write() as connection:
        connection.execute(delete(tables.corpora))
    (bed.root / "words.txt").write_text("\n".join(some_words(seed=5)))
    with pytest.raises(Drift, match="words"):
        study.corpus_of(bed.storage, stored, DataDir(tmp_path / "fresh"))
    bed.corpus()
    bed.create()
    (bed.root / "words.txt").unlink()
    found = study.corpus_of(bed.storage, stored, DataDir(tmp_path / "fresh"))
    assert tuple(some_words()) == found.words


def test_a_corpus_that_is_too_large_is_not_stored(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The study goes on with the file, and its user is told what that means."""
    monkeypatch.setattr(corpora, "MAX_BYTES", 100)
    stored = bed.create()
    assert "another host needs the file" in caplog.text
    assert set() == stored_fingerprints(bed)
    assert tuple(some_words()) == study.corpus_of(bed.storage, stored, bed.data_dir).words


def test_a_corpus_is_stored_once(bed: Workspace) -> None:
    """However many studies name it; the last that is deleted takes it along."""
    one, two = bed.create(study={"name": "one"}), bed.create(study={"name": "two"})
    other = bed.corpus(some_words(seed=1), "other.txt")
    three = bed.create(study={"name": "three", "corpus": str(other)})
    assert {one.fingerprint, three.fingerprint} == stored_fingerprints(bed)
    study.delete_study(bed.storage, one, bed.data_dir)
    assert {one.fingerprint, three.fingerprint} == stored_fingerprints(bed)
    study.delete_study(bed.storage, two, bed.data_dir)
    assert {three.fingerprint} == stored_fingerprints(bed)


CREATORS = """
import os, sys
from pathlib import Path
from search.paths import DataDir
from search.spec import study_file
from search.storage.database import open_storage
from search.storage.database import create_storage
from search.study import create, study

create_storage(sys.argv[1]).close()
for number in range(6):
    if os.fork() == 0:
        data_dir = DataDir(Path(sys.argv[2]).parent / str(number))
        spec = study_file.read(Path(sys.argv[2])).with_values("study", name=f"study {number}")
        corpus = study.load_corpus(spec, data_dir)
        storage = create_storage(sys.argv[1])
        stored = create.create_or_resume(storage, spec, corpus, data_dir)
        os._exit(0 if stored.name == f"study {number}" else 1)
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(6)])
"""
"""Imports once, then is six processes, each with a study of its own over the same words."""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_studies_over_the_same_words_are_created_at_once(
    kind: str, bed: Workspace, request: pytest.FixtureRequest
) -> None:
    """Each is, and the words are stored once."""
    url = bed.url
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgresql_server"))
    assert "[0, 0, 0, 0, 0, 0]\n" == ended(run_python(CREATORS, url, bed.file())).out
    storage = open_storage(url)
    with storage.read() as connection:
        assert 6 == connection.execute(select(func.count()).select_from(tables.studies)).scalar()
        assert 1 == connection.execute(select(func.count()).select_from(tables.corpora)).scalar()
    storage.close()


def stored_fingerprints(bed: Workspace) -> set[str]:
    with bed.storage.read() as connection:
        return set(connection.execute(select(tables.corpora.c.fingerprint)).scalars())


def test_delete_leaves_nothing_of_the_study(finished: Workspace) -> None:
    """Its trials, its rows and its checkpoints go; another study's stay."""
    other = finished.create(study={"name": "other"}, budget={"trials": 2})
    finished.work(other)
    stored = study.resolve(finished.storage, "tiny")
    study.delete_study(finished.storage, stored, finished.data_dir)
    assert ["other"] == optuna.get_all_study_names(finished.storage.optuna)
    assert not finished.data_dir.checkpoints(stored.uid).exists()
    assert finished.data_dir.checkpoints(other.uid).exists()
    with finished.storage.read() as connection:
        for table in (tables.slots, tables.attempts, tables.workers):
            uids = set(connection.execute(table.select().with_only_columns(table.c.study_uid)))
            assert {(other.uid,)} == {tuple(row) for row in uids}


def test_a_study_of_the_same_name_may_follow_a_deleted_one(finished: Workspace) -> None:
    """After `delete` the name is free again."""
    stored = study.resolve(finished.storage, "tiny")
    study.delete_study(finished.storage, stored, finished.data_dir)
    anew = finished.create(study={"seed": 9})
    assert stored.uid != anew.uid
    assert [] == finished.trials(anew)
