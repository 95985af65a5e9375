"""The Python interface: the same as the program says, and nothing written."""

import doctest
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import SQLAlchemyError
from workspace import Workspace

from makemore_core.errors import CheckpointError, CorpusError
from search import api


@pytest.fixture
def study(finished: Workspace) -> Iterator[api.Study]:
    """The study `tiny`, done, as a notebook loads it."""
    with api.load_study("tiny", finished.url, finished.data_dir.root) as loaded:
        yield loaded


def test_it_is_small_and_documented() -> None:
    """A dozen public names at most, each with a docstring."""
    assert len(api.__all__) <= 12
    assert sorted(api.__all__) == api.__all__
    assert all(getattr(api, name).__doc__ for name in api.__all__)


def test_a_study_is_what_the_program_shows(finished: Workspace, study: api.Study) -> None:
    """Its names, status, winner and trials are those of the verbs."""
    assert ["tiny"] == api.study_names(finished.url, finished.data_dir.root)
    assert finished.json("status", "tiny")["trials"] == study.status().trials
    best = finished.json("best", "tiny")
    assert (best["trial"], best["config"]) == (study.best().trial, study.best().config)
    csv = finished.cli("trials", "tiny", "--format", "csv").out.splitlines()
    rows = study.trials()
    assert csv[0] == ",".join(rows[0])
    assert csv[1:] == [
        ",".join("" if value is None else str(value) for value in row.values()) for row in rows
    ]


EXAMPLES = [each for each in doctest.DocTestFinder().find(api) if each.examples]


@pytest.mark.sqlite_file
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_documentations_examples_run(
    example: doctest.DocTest, finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand beside the data directory `runs`, with a loaded study and its model at hand."""
    monkeypatch.chdir(finished.root)
    for name in [name for name in os.environ if name.startswith("MAKEMORE_SEARCH_")]:
        monkeypatch.delenv(name)
    with api.load_study("tiny") as study:
        example.globs = vars(api) | {"api": api, "study": study, "model": study.model()}
        assert 0 == doctest.DocTestRunner().run(example, clear_globs=False).failed


def test_a_study_is_optunas_too(study: api.Study) -> None:
    """Optuna's own readers take it, and agree on the best."""
    assert study.best().trial == study.optuna.best_trial.number
    assert study.best().dev_loss == study.optuna.best_value
    assert len(study.trials()) == len(study.optuna.trials)
    assert optuna.importance.get_param_importances(study.optuna)


def test_nothing_is_written(study: api.Study) -> None:
    """The database refuses to be written, even through Optuna's study."""
    with pytest.raises((SQLAlchemyError, optuna.exceptions.StorageInternalError)):
        study.optuna.set_user_attr("note", "mine")


@pytest.mark.usefixtures("trained_here")
def test_the_model_is_the_winners(finished: Workspace, study: api.Study) -> None:
    """Its words are those that `sample` draws; after `confirm` it is the retrained one."""
    searched = study.model()
    arguments = ("tiny", "-n", "5", "--seed", "3", "--temperature", "0.7", "--prefix", "a")
    words = api.sample_words(searched, 5, seed=3, temperature=0.7, prefix="a")
    assert finished.json("sample", *arguments) == words
    finished.json("confirm", "tiny", "--top", "1", "--seeds", "1", "--workers", "1")
    assert study.best().confirmed
    confirmed = study.model()
    assert not searched.tensors["embedding"].equal(confirmed.tensors["embedding"])
    assert finished.json("sample", *arguments) == api.sample_words(
        confirmed, 5, seed=3, temperature=0.7, prefix="a"
    )


def test_a_models_file_can_be_loaded_alone(finished: Workspace, study: api.Study) -> None:
    """By its path, its hash checked."""
    best = study.best()
    (uid,) = [path.name for path in finished.data_dir.all_checkpoints.iterdir()]
    path = finished.data_dir.checkpoint(uid, best.trial)
    loaded = api.load_model(path, best.checkpoint_sha256)
    assert api.sample_words(study.model(), 3, seed=1) == api.sample_words(loaded, 3, seed=1)
    with pytest.raises(CheckpointError, match="SHA-256"):
        api.load_model(str(path), "0" * 64)


def test_scores_are_log_likelihoods(study: api.Study) -> None:
    """A word's nats are the sum over its characters and its end, by the plain forward pass."""
    import torch

    model = study.model()
    word, block = "mars", study.best().config["block_size"]
    indices = [model.vocabulary.index(character) for character in word] + [0]
    context, nats = [0] * block, 0.0
    for index in indices:
        logits = model.logits(torch.tensor([context])).double()
        nats -= torch.log_softmax(logits, 1)[0, index].item()
        context = [*context[1:], index]
    (score,) = api.score_words(model, [word])
    assert (word, 5) == (score.word, score.characters)
    assert nats == pytest.approx(score.nats, rel=1e-5)
    with pytest.raises(CorpusError, match="'ß'"):
        api.score_words(model, ["maß"])


def test_a_word_is_continued_the_likeliest_first(study: api.Study) -> None:
    """Different words with the beginning, in the order of their scores."""
    words = api.continue_word(study.model(), "lis", 30, seed=2)
    assert len(words) == len(set(words))
    assert all(word.startswith("lis") for word in words)
    nats = [score.nats for score in api.score_words(study.model(), words)]
    assert sorted(nats) == nats


def test_the_reports_figures_can_be_drawn(study: api.Study) -> None:
    """As plotly figures without a name of a color that only the page knows."""
    figures = study.report_figures()
    assert {"history", "curves", "embedding"} <= set(figures)
    for figure in figures.values():
        assert figure.data
        assert '"@' not in figure.to_json()


def test_what_is_not_there_is_said(finished: Workspace, tmp_path: Path) -> None:
    """The program's own exceptions: no such study, no such database."""
    with pytest.raises(api.NotFound, match="emma"):
        api.load_study("emma", finished.url, finished.data_dir.root)
    with pytest.raises(api.SearchError, match="no such database"):
        api.load_study("tiny", data_dir=tmp_path / "elsewhere")


def test_a_deleted_study_is_not_found(finished: Workspace, study: api.Study) -> None:
    """Also by an object that was loaded before."""
    finished.json("delete", "tiny", "--yes")
    for read in (study.status, study.trials, study.best, lambda: study.optuna):
        with pytest.raises(api.NotFound):
            read()


@pytest.mark.sqlite_file
def test_the_environment_says_where(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the program hold here, too."""
    monkeypatch.setenv("MAKEMORE_SEARCH_DATA_DIR", str(finished.data_dir.root))
    assert ["tiny"] == api.study_names()


def test_a_study_is_read_without_torch(finished: Workspace) -> None:
    """Neither torch nor plotly is imported before a model or a figure is asked for."""
    source = """
import sys
from search import api
with api.load_study("tiny", *sys.argv[1:]) as study:
    study.best(), study.trials(), study.optuna
print([name for name in ("torch", "plotly", "numba") if name in sys.modules])
"""
    command = [sys.executable, "-c", source, finished.url, str(finished.data_dir.root)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "[]\n" == answer.stdout
