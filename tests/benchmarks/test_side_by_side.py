"""The bench's comparison: what counts as found, and who is given what."""

import argparse
import math
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest
from workspace import Workspace

from search.spec import study_file
from tests.benchmarks.search import events, peers, side_by_side, summary
from tests.benchmarks.search.contenders import our_events
from tests.benchmarks.search.events import Event, Recorder
from tests.benchmarks.search.side_by_side import fair_study
from tests.benchmarks.search.workload import spec_of

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


def found_on(corpus: str, seconds: float, **losses: tuple[float, ...]) -> dict[str, Any]:
    """Runs of contenders: one seed for each loss, found after 4 s, and 0.1 less after 15 s."""
    conditions = {"commit": "abc", "surroundings": {"machine": "toy"}, "trials": 9, "complete": 3}
    runs = [
        {
            "contender": name, "seed": seed, **conditions,
            "best": [(4.0, loss), (15.0, loss - 0.1)], "best_complete": [(15.0, loss - 0.1)],
        }
        for name, of_name in losses.items()
        for seed, loss in enumerate(of_name)
    ]  # fmt: skip
    return {"corpus": corpus, "seconds": seconds, "workers": 2, "runs": runs}


def test_the_table_tells_median_and_range() -> None:
    """One row for each contender, one column for each time within the comparison."""
    assert [
        "|  | 8 s | 10 s | 20 s | trials | seeds |",
        "|---|---|---|---|---|---|",
        "| ours | 2.1000 (2.0000 to 2.2000) | 2.1000 (2.0000 to 2.2000) | "
        "2.0000 (1.9000 to 2.1000) | 9 (3 complete) | 3 |",
    ] == summary.table(found_on("toy", 20.0, ours=(2.1, 2.2, 2.0)), "best")


def test_every_second_tells_who_is_ahead() -> None:
    """A median that is not below a peer's is not ahead; who drew the space by hand is no peer."""
    found = found_on("toy", 18.0, ours=(2.1,), random=(2.2,), ray=(2.1,), **{"by-hand": (1.9,)})
    found["runs"][2]["best"] = [(4.0, 2.2), (12.0, 2.0), (14.0, 1.9)]
    assert ["random", "ray"] == [run["contender"] for run in found["runs"][1:3]]
    assert [
        "- ours ahead of random from 10 s on: at every full second",
        "- ours ahead of ray from 10 s on: not at 12 to 18 s",
    ] == summary.who_is_ahead(found)


def test_pairs_are_tested_over_all_seeds_and_corpora() -> None:
    """Ours and another contender are paired by seed; a seed that one of them lacks is in no pair,
    and a contender that has found nothing counts as higher."""
    losses = [2.0 + k / 100 for k in range(5)]
    first = found_on("a", 30.0, ours=tuple(losses), ray=tuple(loss + 0.05 for loss in losses))
    second = found_on("b", 30.0, ours=(2.0, 2.1), ray=(2.3, 2.2, 2.0))
    second["runs"][2]["best"] = []
    assert [
        "| ours is lower than | pairs | p at 30 s |",
        "|---|---|---|",
        "| ray | 7 | 0.0078 |",
    ] == summary.paired_tests([first, second])


def test_what_is_missing_is_done_seed_by_seed(tmp_path: Path) -> None:
    """Earlier runs are read and not repeated; those of another length do not go together."""
    path = tmp_path / "toy.json"
    summary.save(found_on("toy", 20.0, ours=(2.0,), ray=(2.0, 2.1)), path)
    found = side_by_side.resumed(path, str(tmp_path / "toy.txt"), 20.0, 2)
    missing = side_by_side.missing_runs(found, ["ray", "ours"], [0, 1, 2])
    assert [("ours", 1), ("ray", 2), ("ours", 2)] == missing
    with pytest.raises(SystemExit, match="its runs have other seconds"):
        side_by_side.resumed(path, "toy", 30.0, 2)


def test_a_summary_has_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text is printed, and each corpus gets a picture."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "toy.json"
    summary.save(found_on("toy", 20.0, ours=(2.0, 2.1), random=(2.2, 2.3)), path)
    summary.main(argparse.Namespace(files=[path], plots=tmp_path / "plots"))
    told = capsys.readouterr().out
    assert all(part in told for part in ("Corpus toy, 2 workers", "- **random**: random search"))
    assert "<svg" in (tmp_path / "plots" / "toy.svg").read_text()


def test_a_fair_study_names_its_corpus_alone(tmp_path: Path) -> None:
    """Whatever is searched by default is what everybody searches."""
    made = fair_study(None, "first-names", tmp_path / "study.toml")
    assert {"study": {"name": "bench", "corpus": "first-names"}} == tomllib.loads(made.read_text())


def test_a_fair_study_hands_nothing_over(bed: Workspace) -> None:
    """Enqueued configurations and every limit but time are left out; the space stays."""
    source = bed.file(
        budget={"trials": 3, "timeout": "5s", "target": 2.0},
        enqueue=[{"embedding_size": 4, "hidden_width": 16}],
    )
    spec = study_file.read(fair_study(source, "first-names", bed.root / "fair.toml"))
    assert ("first-names", (), None, None) == (
        spec.study.corpus, spec.enqueue, spec.budget.timeout, spec.budget.target,
    )  # fmt: skip
    assert study_file.read(source).space == spec.space


def test_a_fair_study_gives_everybody_our_trials(bed: Workspace) -> None:
    """What a study file leaves to its corpus is for the others what it is in a study of ours."""
    decay = {"low": 0.1, "high": 0.2, "at_examples": 20_000}
    source = bed.file(budget={"epochs": 2}, search={"weight_decay": decay})
    ours = bed.create(source).spec
    theirs = spec_of(fair_study(source, ours.study.corpus, bed.root / "fair.toml"))
    assert ours.budget.examples == theirs.budget.examples
    assert ours.space == theirs.space


def test_a_peer_is_heard_and_pruned(bed: Workspace, tmp_path: Path) -> None:
    """A peer's objective suggests the study's space, notes every evaluation, and may be pruned."""
    spec = spec_of(bed.file())
    peer = peers.Peer(spec, Recorder(tmp_path, spec.budget.evaluations), seed=1)
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
    )
    study.optimize(peer.objective, n_trials=6)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    found = events.recorded(tmp_path)
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
