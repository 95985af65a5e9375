"""Ensembles: chosen on dev, named the winner by the study file, opened as one."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from called_here import training_here
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from optuna_dashboard import get_note
from sqlalchemy import select
from workspace import Workspace, some_words

from makemore_core.model import checkpoint
from makemore_core.training.evaluate import example_nats
from search.evaluation.ensemble import averaged_nats, cross_fitted_nats, ensemble_selection
from search.storage import tables
from search.study import study
from search.trials.retention import trials_to_keep

LIKELIHOODS = arrays.arrays(np.float64, (4, 30), elements=st.floats(0.01, 1.0))
NewDatabase = Callable[[str | None], str | None]
MEMBER = {"trial", "seed_index", "seed", "checkpoint_sha256", "share"}


@pytest.fixture(scope="module")
def _named(
    _finished: Workspace, _new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """The study `tiny`, done, whose file now names an ensemble as the winner, chosen already."""
    root = tmp_path_factory.mktemp("named")
    shutil.copytree(_finished.root, root, dirs_exist_ok=True)
    made = Workspace(root, _new_database(_finished.url))
    made.create(confirm={"ensemble": 3})
    with training_here():
        made.json("confirm", "tiny", "--top", 1, "--seeds", 1, "--workers", 1)
    made.close()
    return made


@pytest.fixture
def named(_named: Workspace, _new_database: NewDatabase, tmp_path: Path) -> Iterator[Workspace]:
    """A place of its own that holds that study."""
    shutil.copytree(_named.root, tmp_path, dirs_exist_ok=True)
    made = Workspace(tmp_path, _new_database(_named.url))
    yield made
    made.close()


@pytest.mark.usefixtures("trained_here")
def test_without_a_word_in_the_file_nothing_changes(finished: Workspace) -> None:
    """`--ensemble` chooses one, which the report, the note and `best` tell; the winner stays the
    configuration, and `test` says that it does not use the ensemble."""
    view = finished.json("confirm", "tiny", "--top", 1, "--seeds", 1, "--ensemble", 3)
    assert view["ensemble"]["winner"] is False
    assert {"members", "dev_loss", "dev_loss_unseen"} <= view["ensemble"].keys()
    assert 1 <= len(view["ensemble"]["members"]) <= 3
    assert all(MEMBER == member.keys() for member in view["ensemble"]["members"])
    finished.json("report", "tiny", "-o", finished.root / "page.html")
    stored = study.resolve(finished.storage, "tiny")
    note = get_note(optuna.load_study(study_name="tiny", storage=finished.storage.optuna))
    told = finished.cli("best", "tiny").out, note, (finished.root / "page.html").read_text()
    models, loss = len(view["ensemble"]["members"]), view["ensemble"]["dev_loss"]
    for text in told:
        assert f"nsemble of {models} models has dev loss {loss:.4f}" in text
    expected = {"wins": False, "at_most": 3, "models": models, "dev_loss": loss}
    assert expected == finished.json("best", "tiny")["ensemble"]
    answer = finished.cli("test", "tiny", "--yes", "--json")
    assert answer.json["ensemble"] is False
    assert "`test` does not use it" in answer.err
    assert {m["trial"] for m in view["ensemble"]["members"]} <= trials_to_keep(
        finished.storage, stored, 0
    )


def test_the_file_names_the_ensemble_the_winner(named: Workspace) -> None:
    """`test` opens the split for exactly the models that `confirm` chose; once. `best`, which is of
    a single configuration, says so."""
    (row,) = recorded(named)
    best = named.json("best", "tiny")
    assert (True, len(row.members)) == (best["ensemble"]["wins"], best["ensemble"]["models"])
    assert "names it the winner" in named.cli("best", "tiny").out
    found = named.json("test", "tiny", "--yes")
    assert found["ensemble"] is True
    assert row.dev_loss == found["dev_loss"]
    assert best["trial"] == found["trial"]
    chosen = [(m["trial"], m["checkpoint_sha256"], m["share"]) for m in row.members]
    told = [(m["trial"], m["checkpoint_sha256"], m["share"]) for m in found["per_model"]]
    assert chosen == told
    assert found["test_loss"] == named.json("test", "tiny")["test_loss"]
    assert "an ensemble of" in named.cli("test", "tiny").out
    named.json("report", "tiny", "-o", named.root / "page.html")
    assert "for an ensemble of" in (named.root / "page.html").read_text()


def test_the_test_loss_is_that_of_the_averaged_probabilities(named: Workspace) -> None:
    """Counted here from the checkpoints, character by character."""
    words = some_words()
    random.Random(42).shuffle(words)
    found = named.json("test", "tiny", "--yes")
    files = {checkpoint.load(path)[0]: path for path in checkpoints(named)}
    by_hash = {sha256(path): model for model, path in files.items()}
    likelihood = sum(
        m["share"] * np.exp(-example_nats(by_hash[m["checkpoint_sha256"]], words[180:]))
        for m in found["per_model"]
    )
    assert pytest.approx(-np.log(likelihood).mean()) == found["test_loss"]
    assert found["test_loss"] <= max(m["test_loss"] for m in found["per_model"])


def test_before_the_choice_nothing_is_opened(finished: Workspace) -> None:
    """A file that names an ensemble wants `confirm` before `test`: exit 2, and nothing is open."""
    finished.create(confirm={"ensemble": 2})
    answer = finished.cli("test", "tiny", "--yes")
    assert 2 == answer.status
    assert "confirm tiny" in answer.complaint
    assert "done" == finished.json("status", "tiny")["state"]


@pytest.mark.usefixtures("trained_here")
def test_another_number_wants_another_choice(named: Workspace) -> None:
    """After the file has changed its mind, `test` refuses the old ensemble until `confirm`."""
    named.create(confirm={"ensemble": 2})
    assert 2 == named.cli("test", "tiny", "--yes").status
    named.json("confirm", "tiny", "--top", 1, "--seeds", 1)
    assert 2 >= len(named.json("test", "tiny", "--yes")["per_model"])


def test_after_the_test_no_mind_can_be_changed(named: Workspace) -> None:
    """The study is closed: neither its file nor `confirm` can name another winner (exit 3)."""
    opened = named.json("test", "tiny", "--yes")
    path = named.file(confirm={"ensemble": 0})
    assert 3 == named.cli("run", path).status
    assert 3 == named.cli("confirm", "tiny", "--seeds", 1).status
    assert opened["per_model"] == named.json("test", "tiny", "--yes")["per_model"]
    assert 3 == study.resolve(named.storage, "tiny").spec.confirm.ensemble


def test_an_option_that_contradicts_the_file_is_refused(named: Workspace) -> None:
    """The file is what counts; one line says so."""
    answer = named.cli("confirm", "tiny", "--ensemble", 5)
    assert 2 == answer.status
    assert "at most 3" in answer.complaint


def test_a_tampered_member_opens_nothing(named: Workspace) -> None:
    """One byte of one member's checkpoint changed: exit 2 before the split is opened."""
    (row,) = recorded(named)
    wanted = row.members[-1]["checkpoint_sha256"]
    (path,) = (path for path in checkpoints(named) if sha256(path) == wanted)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert 2 == named.cli("test", "tiny", "--yes").status
    assert "done" == named.json("status", "tiny")["state"]


def test_the_chosen_models_are_kept(named: Workspace) -> None:
    """However many better trials come later."""
    (row,) = recorded(named)
    stored = study.resolve(named.storage, "tiny")
    assert {m["trial"] for m in row.members} <= trials_to_keep(named.storage, stored, 0)


@given(LIKELIHOODS, st.integers(1, 6))
def test_a_greedy_choice_is_no_worse_than_the_best_model(likelihoods: Any, most: int) -> None:
    """Its shares add up to one, there are at most so many, and each pick was an improvement."""
    shares = ensemble_selection(likelihoods, most)
    assert pytest.approx(1.0) == sum(shares.values())
    assert 1 <= len(shares) <= most
    best = -np.log(likelihoods).mean(axis=1).min()
    assert averaged_nats(likelihoods, shares).mean() <= best + 1e-12


@given(LIKELIHOODS, st.integers(1, 4), arrays.arrays(bool, 30))
def test_each_half_is_judged_by_the_others_choice(
    likelihoods: Any, most: int, second_half: Any
) -> None:
    """What the judged half says has no part in the choice: changing it changes no share."""
    if second_half.all() or not second_half.any():
        return
    nats = cross_fitted_nats(likelihoods, second_half, most)
    shares = ensemble_selection(likelihoods[:, ~second_half], most)
    judged = averaged_nats(likelihoods, shares)[second_half]
    assert np.allclose(judged, nats[second_half], rtol=1e-12)  # sums of as many, otherwise grouped


def recorded(bed: Workspace) -> list[Any]:
    with bed.storage.read() as connection:
        return list(connection.execute(select(tables.ensembles)))


def checkpoints(bed: Workspace) -> list[Path]:
    uid = study.resolve(bed.storage, "tiny").uid
    return list(bed.data_dir.checkpoints(uid).glob("*.safetensors"))


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
