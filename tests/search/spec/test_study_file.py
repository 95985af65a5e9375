"""Study files: read as a whole, refused as a whole."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from workspace import Workspace, tiny

from search.errors import BadInput, StudyFileError
from search.spec.defaults import LATEST
from search.spec.search_space import RangeDimension
from search.spec.sections import parse_duration, parse_memory
from search.spec.study_file import read, read_config
from search.spec.study_spec import StudySpec, from_document

EVERYTHING = """
[study]
name = "quick"
corpus = "first-names"        # a built-in corpus, or the path of a text file with one word per line
seed = 1
split_seed = 42
dedupe = false                # true: repeated words are dropped before the split

[budget]
trials = 100                  # exactly this many finished (complete or pruned) trials
timeout = "2m"                # optional; working time over all resumes
target = 2.10                 # optional: stop once a dev loss is at or below it
examples = 4_020_000          # training examples that one full trial sees
evaluations = 20              # evenly spaced dev evaluations in a full trial

[search]
embedding_size = { low = 8, high = 128, log = true }
hidden_width   = { low = 64, high = 2048, log = true }
block_size     = { low = 2, high = 12 }
batch_size     = [32, 64, 128, 256, 512, 1024]
learning_rate  = { low = 1e-3, high = 0.1, log = true, relative = true }
schedule       = ["step", "linear", "cosine"]
step_at        = 0.5
step_factor    = 0.02
warmup         = 0.02
weight_decay   = { low = 0.01, high = 1.0, log = true }
decay_growth   = { low = 1.0, high = 2.5 }
dropout        = { low = 0.0, high = 0.5 }
smoothing      = { low = 0.0, high = 1.0 }
optimizer      = "adamw"
targets        = "expected"
initialisation = "scaled"
direct         = false

[sampler]
kind = "tpe"                  # tpe, random, qmc, gp

[pruner]
kind = "predictive"           # asha, hyperband, median, predictive, none
reduction_factor = 3
audit = 0.0

[early_stopping]
patience = 5

[limits]                      # per trial; left out: none
seconds = 120
memory = "2GB"

[confirm]
ensemble = 5                  # above 0: an ensemble of at most so many models is the winner

[[enqueue]]
embedding_size = 10
hidden_width = 200
block_size = 3
batch_size = 32
learning_rate = 0.02
schedule = "step"
optimizer = "sgd"
initialisation = "lecture"
"""
"""The study file of the interface, word for word but for some comments."""


RELATIVE = {"low": 0.01, "high": 0.02, "log": True, "relative": True}
RATES = {"learning_rate": RELATIVE}
"""With batches of 32 and 16 hidden units, it is from 0.0141 to 0.0283."""


def mistakes(document: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a document, by key."""
    with pytest.raises(StudyFileError) as caught:
        from_document(document, "study.toml")
    return {each.key: each.problem for each in caught.value.mistakes}


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    """Every key of the documented study file is known and has the documented meaning."""
    path = tmp_path / "study.toml"
    path.write_text(EVERYTHING)
    spec = read(path)
    assert (100, 120.0, 2.10) == (spec.budget.trials, spec.budget.timeout, spec.budget.target)
    assert (120.0, 2_000_000_000) == (spec.limits.seconds, spec.limits.memory)
    assert (5, 5) == (spec.early_stopping.patience, spec.confirm.ensemble)
    assert "lecture" == spec.enqueue[0]["initialisation"]


def test_left_out_values_have_the_documented_defaults(tmp_path: Path) -> None:
    """A file with nothing but a name searches what the documented file spells out."""
    path = tmp_path / "study.toml"
    path.write_text(EVERYTHING)
    minimal = from_document({"study": {"name": "quick"}}, "minimal", LATEST).as_document()
    assert read(path).as_document()["search"] == minimal["search"]
    assert (100, 20) == (minimal["budget"]["trials"], minimal["budget"]["evaluations"])
    assert {"kind": "bayes"} == minimal["sampler"]
    expected = {"kind": "predictive", "reduction_factor": 3, "probability": 0.05, "audit": 0.0}
    assert expected == minimal["pruner"]
    assert {"patience": None} == minimal["early_stopping"]
    assert {"seconds": None, "memory": None} == minimal["limits"]
    assert {"ensemble": 0} == minimal["confirm"]
    assert (
        1,
        42,
        False,
    ) == tuple(minimal["study"][key] for key in ("seed", "split_seed", "dedupe"))


def test_every_mistake_is_told_at_once_with_its_key() -> None:
    """One error names all that is wrong, in every section, each with its key."""
    found = mistakes(
        tiny(
            study={"name": "x", "seeds": 3, "dedupe": "yes"},
            budget={"trials": 0, "timeout": "soon"},
            search={"dropout": 2, "batch_sise": 3, "block_size": {"low": 9, "high": 2}},
            sampler={"kind": "annealing"},
            pruner={"reduction_factor": 1},
            limits={"memory": "plenty"},
            enqueue=[{"hidden_width": 17, "colour": "red"}],
            extra={},
        )
    )
    assert {
        "study.seeds",
        "study.dedupe",
        "budget.trials",
        "budget.timeout",
        "search.dropout",
        "search.batch_sise",
        "search.block_size",
        "sampler.kind",
        "pruner.reduction_factor",
        "limits.memory",
        "enqueue.0.hidden_width",
        "enqueue.0.colour",
        "extra",
    } == found.keys()


@pytest.mark.parametrize(
    ("key", "document"),
    [
        ("study", {}),
        ("study.name", {"study": {}}),
        ("study.name", tiny(study={"name": ""})),
        ("study.name", tiny(study={"name": "a/b"})),
        ("study.seed", tiny(study={"seed": -1})),
        ("study.seed", tiny(study={"seed": 1.5})),
        ("study.seed", tiny(study={"seed": True})),
        ("study.corpus", tiny(study={"corpus": 3})),
        ("budget.trials", tiny(budget={"trials": "many"})),
        ("budget.timeout", tiny(budget={"timeout": 0})),
        ("budget.target", tiny(budget={"target": "low"})),
        ("budget.target", tiny(budget={"target": float("nan")})),
        ("budget.examples", tiny(budget={"examples": 0})),
        ("budget.epochs", tiny(budget={"epochs": 2.5, "examples": 4_000})),
        ("budget.evaluations", tiny(budget={"evaluations": 0})),
        ("search.embedding_size", tiny(search={"embedding_size": {"low": 8, "high": 4}})),
        ("search.embedding_size", tiny(search={"embedding_size": {"low": 8}})),
        ("search.embedding_size", tiny(search={"embedding_size": {"low": 2.5, "high": 4}})),
        ("search.embedding_size", tiny(search={"embedding_size": {"low": 2, "high": 4, "by": 1}})),
        (
            "search.dropout",
            tiny(search={"dropout": {"low": 0, "high": 0.5, "at_examples": 9000}}),
        ),
        (
            "search.weight_decay",
            tiny(search={"weight_decay": {"low": 0, "high": 0.5, "at_examples": 0}}),
        ),
        ("search.hidden_width", tiny(search={"hidden_width": []})),
        ("search.hidden_width", tiny(search={"hidden_width": [16, 16]})),
        ("search.hidden_width", tiny(search={"hidden_width": [16, -1]})),
        ("search.block_size", tiny(search={"block_size": "three"})),
        ("search.block_size", tiny(search={"block_size": True})),
        ("search.learning_rate", tiny(search={"learning_rate": {"low": 0, "high": 1}})),
        (
            "search.learning_rate",
            tiny(search={"learning_rate": {"low": 0, "high": 1, "log": True}}),
        ),
        (
            "search.weight_decay",
            tiny(search={"weight_decay": {"low": 0.0, "high": 1.0, "log": True}}),
        ),
        (
            "search.weight_decay",
            tiny(search={"weight_decay": {"low": -1.0, "high": 1.0, "log": True}}),
        ),
        ("search.learning_rate", tiny(search={"learning_rate": float("inf")})),
        ("search.schedule", tiny(search={"schedule": "exponential"})),
        ("search.schedule", tiny(search={"schedule": ["step", 3]})),
        ("search.optimizer", tiny(search={"optimizer": {"low": 1, "high": 2}})),
        ("search.direct", tiny(search={"direct": 1})),
        ("search.step_factor", tiny(search={"schedule": "inverse", "step_factor": 0})),
        ("sampler.kind", tiny(sampler={"kind": "cmaes"})),
        ("pruner.audit", tiny(pruner={"audit": 1.5})),
        ("early_stopping.patience", tiny(early_stopping={"patience": 0})),
        ("limits.seconds", tiny(limits={"seconds": -1})),
        ("enqueue.0.learning_rate", tiny(enqueue=[{"learning_rate": 5.0}])),
        ("enqueue.1.hidden_width", tiny(enqueue=[{}, {"hidden_width": 20}])),
        ("enqueue.0.dropout", tiny(enqueue=[{"dropout": 1.0}])),
        ("enqueue.0.examples", tiny(enqueue=[{"examples": 5}])),
        ("search.dropout", tiny(search={"dropout": {"low": 0, "high": 0.5, "relative": True}})),
        ("search.learning_rate", tiny(search={"learning_rate": RELATIVE | {"relative": 1}})),
        ("search.learning_rate", tiny(search={"learning_rate": RELATIVE | {"low": 0.02}})),
        (
            "enqueue.0.learning_rate",
            tiny(search=RATES, enqueue=[{"learning_rate": 0.015, "batch_size": 32}]),
        ),
        (
            "enqueue.0.learning_rate",
            tiny(
                search=RATES,
                enqueue=[{"learning_rate": 0.01, "batch_size": 32, "hidden_width": 16}],
            ),
        ),
        ("defaults", tiny(defaults=99)),
    ],
)
def test_a_mistake_is_told_with_its_key(key: str, document: dict[str, Any]) -> None:
    """Wrong kinds, empty or reversed ranges, unknown words: each is refused under its key."""
    assert [key] == list(mistakes(document))


@pytest.mark.parametrize("section", ["study", "budget", "search", "sampler", "enqueue", "limits"])
def test_a_section_of_the_wrong_kind_is_a_mistake(section: str) -> None:
    """A section that is no table is told as such, not met with a traceback."""
    assert any(key.startswith(section) for key in mistakes(tiny(**{section: 3})))


def test_an_unknown_key_gets_a_suggestion() -> None:
    """A misspelt key is answered with the one that was probably meant."""
    assert "batch_size" in mistakes(tiny(search={"batch_sise": 3}))["search.batch_sise"]
    assert "trials" in mistakes(tiny(budget={"trial": 3}))["budget.trial"]


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    """Broken TOML, bytes that are no UTF-8, a directory and a missing file are bad input."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[study]\nname = \n")
    with pytest.raises(BadInput, match=r"broken\.toml.*line 2"):
        read(broken)
    broken.write_bytes(b'[study]\nname = "\xff"\n')
    with pytest.raises(BadInput, match="byte 16"):
        read(broken)
    with pytest.raises(BadInput, match="directory"):
        read(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        read(tmp_path / "missing.toml")


def test_a_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    """A study file that an editor on Windows wrote is read like any other."""
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + tomli_w.dumps(tiny()).replace("\n", "\r\n").encode())
    assert "tiny" == read(path).study.name


def test_a_relative_corpus_is_found_beside_its_study_file(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same study file works from any directory."""
    corpus = bed.corpus()
    path = bed.file(study={"corpus": "words.txt"})
    (bed.root / "elsewhere").mkdir()
    monkeypatch.chdir(bed.root / "elsewhere")
    assert corpus == Path(read(path).study.corpus)


def test_a_checked_document_reads_back_as_itself() -> None:
    """What the storage keeps of a study is that study again, defaults and all."""
    spec = from_document(tiny(enqueue=[{"hidden_width": 16}], limits={"memory": "1GiB"}), "a")
    assert spec == from_document(spec.as_document(), "b")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    """Hours, minutes and seconds may be given together; a bare number is seconds."""
    total = 3600 * hours + 60 * minutes + seconds
    assert total == parse_duration(f"{hours}h{minutes}m{seconds}s")
    assert total == parse_duration(f"{total}")
    assert total == parse_duration(total)


@pytest.mark.parametrize("raw", ["", "s", "2 m", "m2", "-3s", "1d", "two minutes", "2m1h"])
def test_what_is_no_duration_is_refused(raw: str) -> None:
    """A duration of any other form is an error that shows the right one."""
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(raw)


@pytest.mark.parametrize(
    ("expected", "raw"),
    [(2_000_000_000, "2GB"), (2**31, "2GiB"), (1_500_000, "1.5MB"), (1000, "1 kB"), (77, 77)],
)
def test_sizes(expected: int, raw: Any) -> None:
    """Sizes are decimal with B, binary with iB, plain numbers are bytes."""
    assert expected == parse_memory(raw)


def test_every_mistake_of_a_config_file_is_told_at_once(tmp_path: Path) -> None:
    """A file for `train` is checked as a whole, too."""
    path = tmp_path / "config.toml"
    path.write_text(
        '[config]\nhidden = 3\ndropout = 2.0\ncorpus = 5\nschedule = "no"\n[study]\nname = "x"\n'
    )
    with pytest.raises(StudyFileError) as caught:
        read_config(path)
    keys = {each.key for each in caught.value.mistakes}
    assert {
        "study",
        "config.hidden",
        "config.dropout",
        "config.corpus",
        "config.schedule",
    } == keys


def test_a_config_file_without_its_table_says_so(tmp_path: Path) -> None:
    """A study file given to `train` is met with what would be right."""
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(tiny()))
    with pytest.raises(StudyFileError, match="config"):
        read_config(path)


LECTURE = {
    "embedding_size": 10, "hidden_width": 200, "block_size": 3, "batch_size": 32,
    "learning_rate": 0.1, "schedule": "step", "optimizer": "sgd",
}  # fmt: skip


def test_the_default_learning_rates_reach_what_is_enqueued(bed: Workspace) -> None:
    """The lecture's rate is 0.25 relative to batch and width; the range ends at 0.1 without it."""
    document: dict[str, Any] = {
        "study": {"name": "lecture", "corpus": str(bed.corpus())},
        "budget": {"trials": 1, "examples": 4_000},
        "enqueue": [LECTURE],
    }
    path = bed.root / "lecture.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    stored = bed.create(path)
    assert (1e-3, pytest.approx(0.25)) == _ends(stored.spec)
    bed.work(stored)
    (trial,) = bed.trials(stored)
    assert LECTURE.items() <= dict(trial.config).items()
    assert stored.uid == bed.create(path).uid


def test_a_given_range_of_learning_rates_stays_as_it_is() -> None:
    """An enqueued rate outside of it is refused; so is a rate that no trainer takes, by default."""
    own = {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True, "relative": True}}
    document: dict[str, Any] = {"study": {"name": "s"}, "search": own, "enqueue": [LECTURE]}
    with pytest.raises(StudyFileError, match=r"is 0\.25 relative to batch and width"):
        from_document(document, "s.toml", LATEST)
    document |= {"search": {}, "enqueue": [LECTURE | {"learning_rate": -1}]}
    with pytest.raises(StudyFileError, match=r"enqueue\.0\.learning_rate"):
        from_document(document, "s.toml", LATEST)


def _ends(spec: StudySpec) -> tuple[float, float]:
    kind = spec.space["learning_rate"]
    assert isinstance(kind, RangeDimension)
    return kind.low, kind.high
