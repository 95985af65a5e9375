"""The bench's replay: workers that search recorded curves on virtual time, and the verdict."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial

from search.algorithms import experience
from search.algorithms.coordinates import Coordinates
from search.algorithms.pruners import Pruner
from search.spec.sections import PrunerSection
from tests.benchmarks.search import replay, tables, verdict
from tests.benchmarks.search.choosing import SAMPLERS, chooser, from_experience
from tests.benchmarks.search.replay import Search
from tests.benchmarks.search.simulation import Simulation
from tests.benchmarks.search.tables import SPACE, Curve, Facts, Table, drawn
from tests.benchmarks.search.verdict import Run


class InOrder:
    """Configurations in the order of the table; notes what it could know of the others."""

    def __init__(self) -> None:
        self.known: list[list[tuple[str, int]]] = []

    def choose(
        self, ordinal: int, study: optuna.Study, trial: FrozenTrial, untried: list[int]
    ) -> int:
        others = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number]
        assert all(each.params for each in others)
        self.known.append([(each.state.name, len(each.intermediate_values)) for each in others])
        return untried[0]


def facts(evaluations: int) -> Facts:
    return Facts(
        corpus="toy", words=20, symbols=9, sha256="", train_examples=80, examples=9_000,
        evaluations=evaluations, space_version=2, split_seed=42, seed=1, commit="", date="",
        environment={},
    )  # fmt: skip


def table_of(*losses: tuple[float, ...]) -> Table:
    """Curves of these losses; the k-th full trial takes k + 1 virtual seconds an evaluation."""
    evaluations = max(map(len, losses))
    curves = [Curve(k, drawn(k), 1.0, each) for k, each in enumerate(losses)]
    table = Table(facts(evaluations), tuple(curves))
    table.__dict__["seconds"] = tuple(evaluations * (k + 1.0) for k in range(len(losses)))
    return table


def simulation(table: Table, pruner: str, workers: int) -> Simulation:
    return Simulation(table, InOrder(), Pruner(PrunerSection(kind=pruner), table.facts), workers)  # type: ignore[arg-type]


TWO = table_of((2.5, 2.4, 2.2), (2.3, 2.6, 2.1))


def test_one_worker_trains_one_curve_after_the_other() -> None:
    """Without a pruner, times add up, and the improvements are those of the curves."""
    one = simulation(TWO, "none", 1)
    assert [(1.0, 2.5), (2.0, 2.4), (3.0, 2.2), (9.0, 2.1)] == one.run()
    assert [(3.0, 0, 3), (9.0, 1, 3)] == [(e.at, e.ordinal, e.evaluations) for e in one.ends]


def test_two_workers_train_at_the_same_time() -> None:
    """The second trial begins at once, and its evaluations fall between those of the first."""
    two = simulation(TWO, "none", 2)
    assert [(1.0, 2.5), (2.0, 2.4), (2.0, 2.3), (3.0, 2.2), (6.0, 2.1)] == two.run()


def test_more_workers_than_curves_end_with_the_longest() -> None:
    """A thousand workers need as long as the slowest configuration."""
    table = table_of(*[(2.5, 2.4, 2.2)] * 30)
    many = simulation(table, "none", 1000)
    many.run()
    assert table.seconds[-1] == max(end.at for end in many.ends)
    assert 30 == len(many.ends)


def test_a_search_ends_when_it_is_told_to() -> None:
    """Nothing after `until` counts."""
    assert [(1.0, 2.5), (2.0, 2.4)] == simulation(TWO, "none", 1).run(until=2.5)


def test_asha_stops_what_the_pruner_says() -> None:
    """The first trial has no rivals; at the rungs of a ninth and a third, the worse ones end."""
    good, fair, bad = ((start,) * 9 for start in (2.0, 2.1, 2.2))
    asha = simulation(table_of(good, bad, fair, good), "asha", 1)
    asha.run()
    assert [(0, 9, False), (1, 1, True), (2, 1, True), (3, 9, False)] == [
        (end.ordinal, end.evaluations, end.pruned) for end in asha.ends
    ]
    assert [9.0, 11.0, 14.0, 50.0] == [end.at for end in asha.ends]


def test_a_trial_is_not_its_own_rival() -> None:
    """A pruner hears of the others' losses only; under `median`, five others must have been."""
    worse = [(2.0 + k / 10,) * 2 for k in range(7)]
    median = simulation(table_of(*worse), "median", 1)
    median.run()
    assert [2, 2, 2, 2, 2, 1, 1] == [end.evaluations for end in median.ends]


def test_the_predictive_pruner_predicts_in_a_replay() -> None:
    """Where ends follow from the dropout, hopeless trials are stopped, and none that is best."""
    losses = [
        tuple(2.0 + float(drawn(k)["dropout"]) + 1 / evaluation for evaluation in range(1, 11))
        for k in range(40)
    ]
    search = simulation(table_of(*losses), "predictive", 1)
    search.run()
    stopped = [end for end in search.ends if end.pruned]
    assert len(stopped) > 10
    assert all(losses[end.place][-1] > end.lowest for end in stopped)


def test_a_constant_cut_has_trials_and_time_of_a_third(tmp_path: Path) -> None:
    """`third` searches the table of short trials, in the full table's time and above its best."""
    path = tmp_path / "toy.json"
    full = table_of((2.5, 2.0), (2.5, 2.1))
    full.save(path)
    short = replace(full.facts, examples=3_000)
    Table(short, tuple(Curve(k, drawn(k), 99.0, (2.6, 2.2 + k / 10)) for k in range(2))).save(
        tables.third_of(path)
    )
    found = replay.searched(Search(path, "random/third", 1, 2, 2.0))
    assert [2, 0] == [found.trials, found.pruned]
    assert (0.2, True) == (found.regrets[-1][1], found.regrets[-1][0] < 0.7)


def test_a_trial_that_diverged_ends_where_its_next_evaluation_was_due() -> None:
    """Its curve is shorter; its worker goes on with the next, and no pruner has stopped it."""
    one = simulation(table_of((2.5, 2.4, 2.2), (2.5,), (), (2.3, 2.2, 2.1)), "none", 1)
    one.run()
    assert [(3.0, False), (7.0, False), (10.0, False), (22.0, False)] == [
        (end.at, end.pruned) for end in one.ends
    ]
    assert 2.1 == one.best[-1][1]


def test_a_sampler_knows_of_the_trials_under_way() -> None:
    """Running trials are in the study with their parameters and reports, ended ones with states."""
    two = simulation(table_of((2.5, 2.4), (2.5,), (2.3, 2.2), (2.3, 2.2)), "none", 2)
    two.run()
    chooser = two.chooser
    assert isinstance(chooser, InOrder)
    assert [
        [],
        [("RUNNING", 0)],
        [("COMPLETE", 2), ("RUNNING", 0)],
        [("COMPLETE", 2), ("PRUNED", 1), ("RUNNING", 0)],
    ] == chooser.known


@pytest.mark.parametrize("kind", [*SAMPLERS, "tpe+initial-design"])
def test_every_configuration_is_tried_once(kind: str) -> None:
    """Whatever the sampler prefers, it is an untried configuration, until there is none."""
    table = table_of(*[(2.5 - k / 100, 2.4, 2.2) for k in range(14)])
    search = Simulation(
        table, chooser(kind, table, 1), Pruner(PrunerSection(kind="none"), table.facts), 2
    )
    search.run()
    assert list(range(14)) == sorted(end.place for end in search.ends)


@pytest.mark.parametrize(("kind", "trials"), [("tpe", 25), ("tpe-greedy", 25), ("gp", 14)])
def test_a_sampler_scores_the_table(kind: str, trials: int) -> None:
    """Where the loss is the dropout, configurations with little of it come after the random ten."""
    losses = [(2.0 + float(drawn(k)["dropout"]),) for k in range(150)]
    table = table_of(*losses)
    table.__dict__["seconds"] = 150 * (1.0,)
    search = Simulation(
        table, chooser(kind, table, 3), Pruner(PrunerSection(kind="none"), table.facts), 1
    )
    search.run(until=trials)
    chosen = [losses[end.place][0] for end in search.ends]
    assert trials == len(chosen)
    assert fmean(chosen[10:]) < fmean(chosen[:10]) - 0.05


def test_virtual_time_is_the_analytic_cost() -> None:
    """One factor for all curves, the median of recorded over analytic; the diverged do not count,
    and have the time of a full trial."""
    table = Table(facts(2), tuple(Curve(k, drawn(k), 0.0, (2.5, 2.4)) for k in range(5)))
    unit = Table(table.facts, tuple(replace(curve, seconds=1.0) for curve in table.curves)).seconds
    doubled = [replace(c, seconds=2 * s) for c, s in zip(table.curves, unit, strict=True)]
    doubled[1] = replace(doubled[1], seconds=0.0, losses=())
    doubled[2] = replace(doubled[2], seconds=100 * doubled[2].seconds)
    assert [2 * s for s in unit] == pytest.approx(Table(table.facts, tuple(doubled)).seconds)


def run(method: str, seed: int, *regrets: tuple[float, float]) -> Run:
    return Run("", method, seed, regrets, trials=9, pruned=4, wrongly=1)


def test_the_verdict_compares_means_and_times() -> None:
    """A method reaches a reference when its mean regret is at most the reference's at the end."""
    runs = {
        "toy": [
            run("tpe/none", 1, (0.1, 0.4), (0.9, 0.2)), run("tpe/none", 2, (0.1, 0.2)),
            run("ours/x", 1, (0.1, 0.3), (0.305, 0.1)), run("ours/x", 2, (0.2, 0.2)),
        ]
    }  # fmt: skip
    assert math.inf == verdict.mean_regret(runs, "ours/x", 0.15)
    assert [0.25, pytest.approx(0.15)] == [
        verdict.mean_regret(runs, "ours/x", at) for at in (0.25, 1.0)
    ]
    assert (0.31, 0.9, None) == (
        verdict.time_to_reach(runs, "ours/x", "tpe/none"),
        verdict.time_to_reach(runs, "tpe/none", "tpe/none"),
        verdict.time_to_reach(runs, "tpe/none", "ours/x"),
    )
    line = verdict.as_markdown(runs, ["tpe/none", "ours/x"], "tpe/none").splitlines()[3]
    assert line.startswith("| ours/x | 0.2500 | 0.1500 | 0.1500 |")
    assert line.endswith("| 9 | 4 | 25.0% |")


def test_equal_pairs_say_nothing() -> None:
    """The paired test is one-sided: lower is better."""
    lower, higher = [0.1] * 9, [0.1 + k / 100 for k in range(9)]
    assert 1.0 == verdict.p_value(lower, lower)
    assert verdict.p_value(lower, higher) < 0.01 < 0.9 < verdict.p_value(higher, lower)


def test_a_replay_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What was found is read again; only what is missing is searched for."""
    path = tmp_path / "toy.json"
    table_of(*[(2.5, 2.4 - k / 100) for k in range(6)]).save(path)
    wanted = [Search(path, "random/none", seed, 2, 3.0) for seed in range(3)]
    first = list(replay.found(wanted[:2], tmp_path / "toy.jsonl", 1))
    kept = (tmp_path / "toy.jsonl").read_text()
    every = list(replay.found(wanted, tmp_path / "toy.jsonl", 1))
    assert (first, [0, 1, 2]) == (every[:2], [each.seed for each in every])
    assert (tmp_path / "toy.jsonl").read_text().startswith(kept)
    assert 3 == len((tmp_path / "toy.jsonl").read_text().splitlines())
    other = replace(wanted[0], budget=4.0)
    assert replay.key_of(other) not in {each.key for each in every}


def test_an_opening_knows_nothing_of_the_corpus_that_is_searched() -> None:
    """On a recorded corpus the first configurations come from the others alone."""
    table = table_of(*[(2.5, 2.0)] * 40)
    table = replace(table, facts=replace(table.facts, corpus="towns-cs", train_examples=4_446))
    first = from_experience(table, 1)
    listed = [first(k, None, None) for k in range(9)]  # type: ignore[arg-type]
    assert experience.configurations(4_446, without="towns-cs") == listed[:8]
    assert None is listed[8]
    assert experience.configurations(4_446) != listed[:8]


def test_an_opening_is_tried_before_the_sampler_is_asked() -> None:
    """The nearest recorded configuration stands for each of the opening."""
    table = table_of(*[(2.5, 2.0)] * 40)
    first = chooser("bayes+experience", table, 1).choose(0, None, None, list(range(40)))  # type: ignore[arg-type]
    points = Coordinates(SPACE).points([curve.searched for curve in table.curves])
    wanted = Coordinates(SPACE).point(experience.configurations(80)[0])
    assert np.square(points - wanted).sum(axis=1).argmin() == first
