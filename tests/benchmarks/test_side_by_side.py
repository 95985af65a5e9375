"""The bench's comparison: what counts as found, and who is given what."""

import math
from pathlib import Path

import optuna
import pytest
from workspace import Workspace

from search.spec import study_file
from tests.benchmarks.search import events, peers, summary
from tests.benchmarks.search.contenders import our_events
from tests.benchmarks.search.events import Event, Recorder
from tests.benchmarks.search.side_by_side import fair_study

FOUND = [
    Event(103.0, "b", 2.3, False),
    Event(101.0, "a", 2.5, False),
    Event(102.0, "a", 2.4, True),
    Event(104.0, "b", math.nan, False),
    Event(105.0, "b", 2.35, True),
    Event(111.0, "c", 1.9, True),
]


def test_any_evaluation_within_the_time_counts() -> None:
    """The best so far improves with evaluations, in the order of time; a NaN is nothing found."""
    assert [(1.0, 2.5), (2.0, 2.4), (3.0, 2.3)] == events.best_so_far(FOUND, 100.0, 10.0)


def test_complete_trials_count_with_their_best_evaluation() -> None:
    """A trial that has ended counts from its end on, with the best that it had."""
    found = events.best_so_far(FOUND, 100.0, 10.0, complete_only=True)
    assert [(2.0, 2.4), (5.0, 2.3)] == found
    assert [math.inf, 2.4, 2.3] == [events.best_at(found, at) for at in (1.9, 2.0, 60.0)]


def test_the_table_tells_median_and_range() -> None:
    """One row for each contender, one column for each time within the comparison."""
    runs = [
        {"contender": "ours", "trials": 9, "complete": 3, "best": [(4.0, loss), (15.0, 1.9)]}
        for loss in (2.1, 2.2, 2.0)
    ]
    found = {"seconds": 20.0, "contenders": {"ours": "", "other": ""}, "runs": runs}
    assert [
        "|  | 10 s | 20 s | trials |",
        "|---|---|---|---|",
        "| ours | 2.1000 (2.0000 to 2.2000) | 1.9000 (1.9000 to 1.9000) | 9 (3 complete) |",
    ] == summary.table(found, "best")


def test_a_fair_study_hands_nothing_over(bed: Workspace) -> None:
    """Enqueued configurations and every limit but time are left out; the space stays."""
    source = bed.file(
        budget={"trials": 3, "timeout": "5s", "target": 2.0},
        enqueue=[{"embedding_size": 4, "hidden_width": 16}],
    )
    made = fair_study(source, "first-names", bed.root)
    spec = study_file.read(made)
    assert ("first-names", (), None, None) == (
        spec.study.corpus, spec.enqueue, spec.budget.timeout, spec.budget.target,
    )  # fmt: skip
    assert study_file.read(source).space == spec.space


def test_a_fair_study_gives_everybody_our_trials(bed: Workspace) -> None:
    """What a study file leaves to its corpus is what it is in a study of ours."""
    decay = {"low": 0.1, "high": 0.2, "at_examples": 20_000}
    source = bed.file(budget={"epochs": 2}, search={"weight_decay": decay})
    made, ours = study_file.read(fair_study(source, None, bed.root)), bed.create(source).spec
    assert (ours.budget.examples, None) == (made.budget.examples, made.budget.epochs)
    assert ours.space == made.space


def test_a_peer_is_heard_and_pruned(bed: Workspace, tmp_path: Path) -> None:
    """A peer's objective suggests the study's space, notes every evaluation, and may be pruned."""
    spec = study_file.read(bed.file())
    for space, train in (
        (spec.space, peers.train_ours),
        (peers.lecture_space(spec), peers.train_as_the_lecture),
    ):
        place = tmp_path / train.__name__
        place.mkdir()
        peer = peers.Peer(spec, space, train, Recorder(place, spec.budget.evaluations), seed=1)
        study = optuna.create_study(
            sampler=optuna.samplers.RandomSampler(seed=1),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
        )
        study.optimize(peer.objective, n_trials=6)
        complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
        found = events.recorded(place)
        assert len(complete) == sum(event.last for event in found)
        assert sum(len(trial.intermediate_values) for trial in study.trials) == len(found)
        assert min(trial.value for trial in complete) >= min(event.dev_loss for event in found)


@pytest.mark.sqlite_file
def test_our_study_is_read_from_its_database(finished: Workspace) -> None:
    """Every evaluation of every trial is an event; a complete trial has a last one."""
    found = our_events(finished.data_dir.root)
    trials = finished.json("trials", "tiny")
    complete = [trial["dev_loss"] for trial in trials if trial["state"] == "complete"]
    best = events.best_so_far(found, 0.0, math.inf, complete_only=True)
    assert min(complete) == best[-1][1]
    assert len(complete) == sum(event.last for event in found)
    assert {trial["number"] for trial in trials} == set(range(len({e.trial for e in found})))
