"""The bench's replay: workers that search recorded curves on virtual time."""

from pathlib import Path

import pytest
from workspace import tiny

from search.algorithms.pruners import Pruner
from search.spec.study_file import from_document
from tests.benchmarks.search import curves
from tests.benchmarks.search.choosing import chooser
from tests.benchmarks.search.curves import Curve, Table
from tests.benchmarks.search.simulation import Simulation


class InOrder:
    """Configurations in the order of the table."""

    def __init__(self, table: Table) -> None:
        self.count = len(table.curves)

    def next(self, ordinal: int) -> int | None:
        return ordinal if ordinal < self.count else None

    def report(self, ordinal: int, evaluation: int, dev_loss: float) -> None: ...

    def end(self, ordinal: int, best: float, complete: bool) -> None: ...


def table_of(*losses: tuple[float, ...], pace: float = 1.0) -> Table:
    """Curves of these losses; the k-th trial takes k paces for each evaluation."""
    budget = {"trials": 12, "examples": 9_000, "evaluations": len(losses[0])}
    spec = from_document(tiny(budget=budget), "test")
    found = [
        Curve(
            {
                "embedding_size": 2 + k % 6, "hidden_width": 16, "block_size": 2, "batch_size": 32,
                "learning_rate": 0.1, "schedule": "step", "optimizer": "sgd",
            },
            tuple((k + 1) * pace * n for n in range(1, len(each) + 1)),
            each,
        )
        for k, each in enumerate(losses)
    ]  # fmt: skip
    return Table(spec, tuple(found), {})


def simulation(table: Table, pruner: str, workers: int) -> Simulation:
    section = table.spec.with_values("pruner", kind=pruner).pruner
    return Simulation(table, InOrder(table), Pruner(section, table.spec.budget), workers)


TWO = table_of((2.5, 2.4, 2.2), (2.3, 2.6, 2.1))


def test_one_worker_trains_one_curve_after_the_other() -> None:
    """Without a pruner, times add up, and the improvements are those of the curves."""
    one = simulation(TWO, "none", 1)
    assert [(1.0, 2.5), (2.0, 2.4), (3.0, 2.2), (9.0, 2.1)] == one.run()
    assert [(3.0, 0, 3), (9.0, 1, 3)] == one.ends


def test_two_workers_train_at_the_same_time() -> None:
    """The second trial begins at once, and its evaluations fall between those of the first."""
    two = simulation(TWO, "none", 2)
    assert [(1.0, 2.5), (2.0, 2.4), (2.0, 2.3), (3.0, 2.2), (6.0, 2.1)] == two.run()
    assert [(3.0, 0, 3), (6.0, 1, 3)] == two.ends


def test_more_workers_than_curves_end_with_the_longest() -> None:
    """A thousand workers need as long as the slowest configuration."""
    table = table_of(*[(2.5, 2.4, 2.2)] * 30)
    many = simulation(table, "none", 1000)
    many.run()
    assert table.curves[-1].seconds[-1] == max(at for at, _, _ in many.ends)
    assert 30 == len(many.ends)


def test_a_search_ends_when_it_is_told_to() -> None:
    """Nothing after `until` counts, and nothing is looked for below `enough`."""
    assert [(1.0, 2.5), (2.0, 2.4)] == simulation(TWO, "none", 1).run(until=2.5)
    assert [(1.0, 2.5), (2.0, 2.4)] == simulation(TWO, "none", 1).run(enough=2.4)


def test_asha_stops_what_the_pruner_says() -> None:
    """The first trial has no rivals; at the rungs of a ninth and a third, the worse ones end."""
    good, fair, bad = ((start,) * 9 for start in (2.0, 2.1, 2.2))
    asha = simulation(table_of(good, bad, fair, good), "asha", 1)
    asha.run()
    assert [(0, 9), (1, 1), (2, 1), (3, 9)] == [(trial, count) for _, trial, count in asha.ends]
    assert [9.0, 11.0, 14.0, 50.0] == [at for at, _, _ in asha.ends]


def test_a_trial_is_not_its_own_rival() -> None:
    """A pruner hears of the others' losses only; under `median`, five others must have been."""
    worse = [(2.0 + k / 10,) * 2 for k in range(7)]
    median = simulation(table_of(*worse), "median", 1)
    median.run()
    assert [2, 2, 2, 2, 2, 1, 1] == [count for _, _, count in median.ends]


def test_a_trial_that_diverged_ends_with_its_last_evaluation() -> None:
    """Its curve is shorter; its worker goes on with the next."""
    table = table_of((2.5, 2.4, 2.2), (2.5,), (2.3, 2.2, 2.1))
    one = simulation(table, "none", 1)
    one.run()
    assert [(3.0, 0, 3), (5.0, 1, 1), (14.0, 2, 3)] == one.ends


@pytest.mark.parametrize("kind", ["random", "qmc", "tpe"])
def test_every_configuration_is_tried_once(kind: str) -> None:
    """Whatever the sampler asks for, a recorded configuration stands for it, once."""
    table = table_of(*[(2.5 - k / 100, 2.4, 2.2) for k in range(12)])
    chosen, tried = chooser(kind, table, 1), []
    for ordinal in range(12):
        tried.append(chosen.next(ordinal))
        chosen.report(ordinal, 1, 2.5)
        chosen.end(ordinal, 2.4, complete=ordinal % 2 == 0)
    assert list(range(12)) == sorted(tried)  # type: ignore[type-var]
    assert chosen.next(12) is None


def test_a_thinned_table_keeps_evenly_spaced_evaluations() -> None:
    """Three of nine evaluations are the third, the sixth and the ninth, at their times."""
    thin = table_of((9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)).thinned(3)
    assert ((3.0, 6.0, 9.0), (7.0, 4.0, 1.0)) == (thin.curves[0].seconds, thin.curves[0].losses)
    assert 3 == thin.spec.budget.evaluations
    with pytest.raises(ValueError, match="2 does not divide 3"):
        thin.thinned(2)


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    """What is read is what was written."""
    TWO.save(tmp_path / "curves.json")
    assert TWO == curves.load(tmp_path / "curves.json")
