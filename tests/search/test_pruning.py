"""Pruning rules: when a trial is compared, with what, and when it ends."""

import contextlib
import itertools
from collections.abc import Sequence

import pytest
from bed import Bed, InterruptedAfter
from hypothesis import assume, given
from hypothesis import strategies as st

from search.errors import Interrupted
from search.pruning import Pruner, resource_at
from search.rivals import Rivals
from search.study_file import BudgetSection, PrunerSection

LOSSES = st.floats(0.5, 10.0)
RIVALS = st.lists(LOSSES, max_size=40)


def pruner(kind: str, evaluations: int = 27, factor: int = 3) -> Pruner:
    section = PrunerSection(kind=kind, reduction_factor=factor)  # type: ignore[arg-type]
    return Pruner(section, BudgetSection(examples=27_000, evaluations=evaluations))


def stops(kind: str, evaluation: int, losses: Sequence[float], rivals: Sequence[float]) -> bool:
    return pruner(kind).stops(0, evaluation, losses, lambda _resource: rivals)


@given(st.integers(1, 27), LOSSES, RIVALS)
def test_without_a_pruner_nothing_is_stopped(
    evaluation: int, loss: float, rivals: list[float]
) -> None:
    """`none` lets every trial run to its end."""
    assert not stops("none", evaluation, [loss], rivals)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(rivals=RIVALS, evaluation=st.integers(1, 27))
def test_the_best_so_far_is_never_stopped(kind: str, rivals: list[float], evaluation: int) -> None:
    """A trial that is better than all others at the same number of examples goes on."""
    assert not stops(kind, evaluation, [min([10.0, *rivals])], rivals)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(rivals=RIVALS, loss=LOSSES)
def test_a_trial_at_its_end_is_never_stopped(kind: str, rivals: list[float], loss: float) -> None:
    """After its last evaluation a trial is complete, however bad it is."""
    assert not stops(kind, 27, [loss], rivals)


@given(rivals=RIVALS, loss=LOSSES, evaluation=st.integers(1, 26))
def test_asha_compares_at_its_rungs_only(rivals: list[float], loss: float, evaluation: int) -> None:
    """Between the rungs (a third, a ninth, ... of the evaluations) every trial goes on."""
    assume(evaluation not in (1, 3, 9))
    assert (1, 3, 9) == pruner("asha").rungs(0)
    assert not stops("asha", evaluation, [loss], rivals)


@given(rivals=RIVALS, loss=LOSSES)
def test_asha_promotes_one_in_three(rivals: list[float], loss: float) -> None:
    """At a rung a trial goes on if it is among the best third of those seen there."""
    ranked_before = sum(rival < loss for rival in rivals)
    expected = ranked_before >= max(1, (len(rivals) + 1) // 3)
    assert expected == stops("asha", 3, [9.0, 9.0, loss], rivals)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(
    rivals=RIVALS, one=LOSSES, other=LOSSES, evaluation=st.integers(1, 26), ordinal=st.integers(0)
)
def test_a_worse_trial_is_not_treated_better(
    kind: str, rivals: list[float], one: float, other: float, evaluation: int, ordinal: int
) -> None:
    """If a trial is stopped, one with a higher loss in its place would be, too."""
    low, high = sorted((one, other))
    rule = pruner(kind)
    if rule.stops(ordinal, evaluation, [low], lambda _: rivals):
        assert rule.stops(ordinal, evaluation, [high], lambda _: rivals)


@given(st.integers(1, 200), st.integers(2, 10), st.integers(0, 1000))
def test_hyperband_brackets_are_asha_begun_later(
    evaluations: int, factor: int, ordinal: int
) -> None:
    """Each bracket leaves out some of the first rungs; the next trial is in the next bracket."""
    asha = pruner("asha", evaluations, factor).rungs(0)
    hyperband = pruner("hyperband", evaluations, factor)
    assert asha[ordinal % (len(asha) + 1) :] == hyperband.rungs(ordinal)


@given(st.integers(1, 1000), st.integers(2, 20))
def test_rungs_rise_and_leave_room_for_the_end(evaluations: int, factor: int) -> None:
    """Rungs are whole evaluations, rising, each at least a factor apart, all before the last."""
    rungs = pruner("asha", evaluations, factor).rungs(0)
    assert all(1 <= rung < evaluations for rung in rungs)
    assert all(low * factor <= high for low, high in itertools.pairwise(rungs))


@given(st.lists(LOSSES, min_size=5, max_size=30), st.lists(LOSSES, min_size=1, max_size=5))
def test_median_compares_the_best_so_far(rivals: list[float], losses: list[float]) -> None:
    """A trial whose best is above the median of five or more others is stopped."""
    expected = min(losses) > sorted(rivals)[len(rivals) // 2]
    assert expected == stops("median", 10, losses, rivals)


@given(st.lists(LOSSES, max_size=4), LOSSES)
def test_median_waits_for_five(rivals: list[float], loss: float) -> None:
    """Four trials are too few to be a median of."""
    assert not stops("median", 10, [loss], rivals)


@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_resources_are_whole_rising_examples(examples: int, evaluations: int) -> None:
    """What a report is filed under does not depend on the batch size and ends at the budget."""
    assume(examples >= evaluations)
    section = BudgetSection(examples=examples, evaluations=evaluations)
    marks = [resource_at(section, k) for k in range(1, evaluations + 1)]
    assert examples == marks[-1]
    assert sorted(set(marks)) == marks


def test_lost_attempts_are_nobodys_rivals(bed: Bed) -> None:
    """What an interrupted attempt reported does not count: its retry reports the same again."""
    stored = bed.create(pruner={"kind": "none"}, budget={"trials": 2})
    with pytest.raises(Interrupted):
        bed.work(stored, InterruptedAfter(6))
    bed.work(stored)
    first = resource_at(stored.spec.budget, 1)
    assert 2 == len(Rivals(bed.storage).losses_at(stored, first, except_trial_id=-1))
    assert 3 == len(bed.trials(stored))


def test_rivals_are_the_same_however_often_they_were_looked_at(bed: Bed) -> None:
    """What a worker has read and kept gives the same losses as a first look at the whole study."""
    stored = bed.create(budget={"trials": 8})
    marks = [resource_at(stored.spec.budget, k) for k in range(1, 10)]
    kept = Rivals(bed.storage)
    for looks in (3, 5, 8, 13):
        with contextlib.suppress(Interrupted):
            bed.work(stored, InterruptedAfter(looks))
        for mark in marks:
            fresh = Rivals(bed.storage).losses_at(stored, mark, except_trial_id=1)
            assert sorted(fresh) == sorted(kept.losses_at(stored, mark, except_trial_id=1))


def test_a_share_of_the_pruned_is_audited(bed: Bed) -> None:
    """With audit = 1 every trial that would have been pruned runs on, and completes."""
    stored = bed.create(pruner={"kind": "asha", "audit": 1.0})
    bed.work(stored)
    assert {"complete"} == {trial.state for trial in bed.trials(stored)}


def test_batch_sizes_are_compared_at_equal_examples(bed: Bed) -> None:
    """Whatever its batch size, a trial reports at the same numbers of examples."""
    stored = bed.create(
        sampler={"kind": "qmc"},
        pruner={"kind": "none"},
        search={"batch_size": [7, 32, 150]},
        budget={"trials": 8, "examples": 3_000, "evaluations": 5},
    )
    bed.work(stored)
    assert {7, 32, 150} == {trial.config["batch_size"] for trial in bed.trials(stored)}
    marks = [resource_at(stored.spec.budget, k) for k in range(1, 6)]
    assert [len(Rivals(bed.storage).losses_at(stored, m, -1)) for m in marks] == [8] * 5
