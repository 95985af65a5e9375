"""One winner, everywhere, with both of its numbers."""

import hashlib
import io
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial
from optuna_dashboard import get_note
from rich.console import Console
from sqlalchemy import select, update
from workspace import Workspace

from search.dashboard.study_note import write_note
from search.dashboard.trial_pictures import PicturePublisher
from search.dashboard.winner_marks import write_marks
from search.evaluation.baselines import Baselines
from search.storage import tables
from search.storage.optuna_reader import BulkReadStorage
from search.study import study
from search.study.study import StoredStudy
from search.terminal.display import closing_summary, render
from search.trials import confirmations, results, retention, status
from search.trials.results import SearchedView

NOTHING = Baselines(None, None, None)


def tiny(bed: Workspace) -> StoredStudy:
    return study.resolve(bed.storage, "tiny")


def searched(bed: Workspace) -> list[SearchedView]:
    """The complete trials, the search's best first."""
    return results.best_trials(bed.storage, tiny(bed), 10)


def confirm(bed: Workspace, losses: Mapping[int, Sequence[float]]) -> None:
    """As if `confirm` had trained these trials on fresh seeds, with these dev losses; their models
    are those of other trials, so that they are told from the searched ones."""
    uid = tiny(bed).uid
    kept = [bed.data_dir.checkpoint(uid, each.trial) for each in searched(bed)]
    with bed.storage.write() as connection:
        for trial, own in losses.items():
            others = [path for path in kept if path != bed.data_dir.checkpoint(uid, trial)]
            for index, loss in enumerate(own):
                path = bed.data_dir.confirmed(uid, trial, index)
                shutil.copyfile(others[index % len(others)], path)
                connection.execute(
                    tables.confirmations.insert().values(
                        study_uid=uid,
                        trial=trial,
                        seed_index=index,
                        seed=index,
                        dev_loss=loss,
                        dev_loss_unseen=loss,
                        seconds=1.0,
                        checkpoint_sha256=sha256(path),
                    )
                )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def told(bed: Workspace) -> dict[str, str]:
    """Every text that names the winner."""
    stored = tiny(bed)
    view = status.status(bed.storage, stored)
    live = io.StringIO()
    Console(file=live, width=300).print(render(view, [], stored, NOTHING, ""))
    write_note(bed.storage, stored, bed.data_dir)
    bed.json("report", "tiny", "-o", bed.root / "page.html")
    return {
        "best": bed.cli("best", "tiny").out,
        "status": bed.cli("status", "tiny").out,
        "list": bed.cli("status").out,
        "live": live.getvalue(),
        "end": closing_summary(view, stored, NOTHING, (), ""),
        "note": get_note(optuna.load_study(study_name="tiny", storage=bed.storage.optuna)),
        "report": (bed.root / "page.html").read_text(),
    }


@pytest.mark.parametrize("place", [None, 0, 1])
def test_one_winner_everywhere(finished: Workspace, place: int | None) -> None:
    """Whether or not it is confirmed, and whichever of the search's best wins then: every verb,
    display, report and note names the same trial, says which it is, and gives its numbers."""
    ranked = searched(finished)
    expected = ranked[place or 0]
    if place is not None:
        losses = {each.trial: [3.0, 3.5] for each in ranked[:2]}
        confirm(finished, losses | {expected.trial: [2.75, 2.25]})
    best = finished.json("best", "tiny")
    del best["count_model"]  # which a status has beside its best
    assert (expected.trial, place is not None) == (best["trial"], best["confirmed"])
    assert expected.dev_loss == best["dev_loss"]
    assert (None if place is None else 2.5) == best["dev_loss_mean"]
    assert best == finished.json("status", "tiny")["best"] == finished.json("status")[0]["best"]
    config = tomllib.loads(finished.cli("best", "tiny", "--toml").out)["config"]
    assert dict(expected.config) == {name: config.get(name) for name in expected.config}
    for name, text in told(finished).items():
        assert f"trial {expected.trial}" in text, name
        assert f"{expected.dev_loss:.4f}" in text, name
        assert (place is None) == ("not confirmed" in text), name
        assert place is None or "2.5000" in text, name
    report = (finished.root / "page.html").read_text()
    assert f"its winner, trial {expected.trial}, has a dev loss of" in report
    assert f"The winner: trial {expected.trial}" in report
    uid = tiny(finished).uid
    path = finished.data_dir.checkpoint(uid, expected.trial)
    if place is not None:
        path = finished.data_dir.confirmed(uid, expected.trial, 0)
    assert sha256(path) == best["checkpoint_sha256"]
    words = finished.json("sample", "tiny", "--seed", 5)
    assert words == finished.json("sample", "--checkpoint", path, "--seed", 5)
    assert f"trial {expected.trial}," in finished.cli("sample", "tiny").err
    tested = finished.json("test", "tiny", "--yes")
    assert expected.trial == tested["trial"]
    assert (best["dev_loss_mean"] or best["dev_loss"]) == tested["dev_loss"]
    assert best["checkpoint_sha256"] == tested["per_model"][0]["checkpoint_sha256"]
    assert best == finished.json("status", "tiny")["best"]


def test_a_better_trial_since_is_told_and_does_not_win(finished: Workspace) -> None:
    """A trial with a lower searched loss that no confirm has retrained is named beside the winner;
    the next `confirm` settles it."""
    first, second, third, *_ = searched(finished)
    confirm(finished, {second.trial: [2.5, 2.5]})
    best = finished.json("best", "tiny")
    assert {"trial": first.trial, "dev_loss": first.dev_loss} == best["unconfirmed"]
    for name, text in told(finished).items():
        if name not in ("status", "list"):
            assert f"rial {first.trial} has a lower searched loss" in text, name
    confirm(finished, {first.trial: [2.75, 2.75], third.trial: [2.0]})
    best = finished.json("best", "tiny")
    assert (third.trial, None) == (best["trial"], best["unconfirmed"])


def test_what_was_confirmed_is_kept(finished: Workspace) -> None:
    """However many better trials come later, the searched and the retrained models of a confirmed
    configuration stay."""
    last, stored = searched(finished)[-1], tiny(finished)
    confirm(finished, {last.trial: [2.5]})
    assert {last.trial} <= retention.trials_to_keep(finished.storage, stored, 0)
    retention.delete_unneeded(finished.storage, stored, study.files_of(stored, finished.data_dir))
    assert finished.data_dir.checkpoint(stored.uid, last.trial).is_file()
    assert finished.json("sample", "tiny", "--seed", 1)


def test_candidates_are_ranked_alike_for_all(finished: Workspace) -> None:
    """The lowest mean wins, however many seeds it is of; a tie goes to the cheaper one."""
    one, other, *_ = searched(finished)
    confirm(finished, {one.trial: [2.5, 2.7], other.trial: [2.60001]})
    c = tables.confirmations
    with finished.storage.write() as connection:
        connection.execute(update(c).where(c.c.trial == other.trial).values(seconds=0.5))
    ranked = confirmations.candidates(finished.storage, tiny(finished))
    assert [other.trial, one.trial] == [each.trial for each in ranked]
    assert other.trial == finished.json("best", "tiny")["trial"]


# In Optuna's dashboard


def stored_trials(bed: Workspace) -> list[FrozenTrial]:
    """As anybody reads them with Optuna."""
    with bed.optuna_storage() as storage:
        return optuna.load_study(study_name="tiny", storage=storage).trials


def test_ended_trials_say_what_they_were(finished: Workspace) -> None:
    """Each trial that has ended has its reason, cost and size as user attributes, as the database's
    own tables have them; they are columns of Optuna's dashboard and of `trials_dataframe`."""
    uid, a = tiny(finished).uid, tables.attempts
    with finished.storage.read() as connection:
        rows = {row.trial: row for row in connection.execute(select(a).where(a.c.study_uid == uid))}
    names = ("reason", "seconds", "examples", "parameters", "dev_loss_unseen", "retry_of")
    for trial in stored_trials(finished):
        row = rows[trial.number]
        expected = {name: getattr(row, name) for name in names if getattr(row, name) is not None}
        assert expected == trial.user_attrs
        assert {"seconds", "examples", "parameters"} <= trial.user_attrs.keys()
    assert "pruner" in {trial.user_attrs.get("reason") for trial in stored_trials(finished)}


def marks(trials: Sequence[FrozenTrial]) -> dict[int, tuple[str | None, float | None, int | None]]:
    """(winner, confirmed mean, seeds) of the trials that have any of them."""
    found = {
        trial.number: (
            trial.user_attrs.get("winner"),
            trial.user_attrs.get("confirmed_dev_loss"),
            trial.user_attrs.get("confirmed_seeds"),
        )
        for trial in trials
    }
    return {number: each for number, each in found.items() if any(each)}


def test_the_mark_moves_with_the_winner(finished: Workspace) -> None:
    """One trial is marked as the winner, confirmed or not; a dashboard that has read the trials
    before sees what Optuna reads. A test score is never among what it shows."""
    first, second, *_ = (each.trial for each in searched(finished))
    stored, quick = tiny(finished), BulkReadStorage(finished.storage, marks=True)

    def shown() -> dict[int, tuple[str | None, float | None, int | None]]:
        PicturePublisher(finished.storage, stored, finished.data_dir).finish()
        trials = quick.get_all_trials(stored.optuna_id)
        assert stored_trials(finished) == trials
        return marks(trials)

    assert {} == marks(quick.get_all_trials(stored.optuna_id))
    assert {first: ("not confirmed", None, None)} == shown()
    confirm(finished, {second: [2.75, 2.25]})
    assert {second: ("confirmed", 2.5, 2)} == shown() == shown()
    confirm(finished, {first: [2.0]})
    assert {first: ("confirmed", 2.0, 1), second: (None, 2.5, 2)} == shown()
    loss = repr(finished.json("test", "tiny", "--yes")["test_loss"])[:8]
    assert {first: ("confirmed", 2.0, 1), second: (None, 2.5, 2)} == shown()
    assert loss not in repr([trial.user_attrs for trial in stored_trials(finished)])


def test_marks_that_stand_are_not_written_again(finished: Workspace) -> None:
    """Publishing is a look where nothing has changed: a database that takes no writes will do."""
    write_marks(finished.storage, tiny(finished))
    finished.storage.set_read_only()
    write_marks(finished.storage, tiny(finished))
