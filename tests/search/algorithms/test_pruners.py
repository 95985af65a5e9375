"""Pruning rules: when a trial is compared, with what, and when it ends."""

import contextlib
import itertools
import random
from collections.abc import Sequence

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from workspace import InterruptedAfter, Workspace

from search.algorithms.pruners import Pruner, lowest_so_far, resource_at
from search.errors import Interrupted
from search.spec.sections import BudgetSection, PrunerSection
from search.storage import tables
from search.study.study import StoredStudy
from search.trials.reported_losses import ReportedLosses

LOSSES = st.floats(0.5, 10.0)
RIVALS = st.lists(LOSSES, max_size=40)
EVALUATIONS = 9
CURVES = st.lists(
    st.integers(64, 256).map(lambda n: n / 64), min_size=EVALUATIONS, max_size=EVALUATIONS
)
"""Learning curves that rise and fall; of few digits, so that there are ties and exact medians."""


def pruner(kind: str, evaluations: int = 27, factor: int = 3) -> Pruner:
    section = PrunerSection(kind=kind, reduction_factor=factor)  # type: ignore[arg-type]
    return Pruner(section, BudgetSection(trials=1, examples=27_000, evaluations=evaluations))


def should_prune(
    kind: str, evaluation: int, losses: Sequence[float], others: Sequence[float]
) -> bool:
    return pruner(kind).should_prune(0, evaluation, losses, lambda _resource: others)


@given(st.integers(1, 27), LOSSES, RIVALS)
def test_without_a_pruner_nothing_is_stopped(
    evaluation: int, loss: float, others: list[float]
) -> None:
    """`none` lets every trial run to its end."""
    assert not should_prune("none", evaluation, [loss], others)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(others=RIVALS, evaluation=st.integers(1, 27))
def test_the_best_so_far_is_never_stopped(kind: str, others: list[float], evaluation: int) -> None:
    """A trial that is better than all others at the same number of examples goes on."""
    assert not should_prune(kind, evaluation, [min([10.0, *others])], others)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(others=RIVALS, loss=LOSSES)
def test_a_trial_at_its_end_is_never_stopped(kind: str, others: list[float], loss: float) -> None:
    """After its last evaluation a trial is complete, however bad it is."""
    assert not should_prune(kind, 27, [loss], others)


@given(others=RIVALS, loss=LOSSES, evaluation=st.integers(1, 26))
def test_asha_compares_at_its_rungs_only(others: list[float], loss: float, evaluation: int) -> None:
    """Between the rungs (a third, a ninth, ... of the evaluations) every trial goes on."""
    assume(evaluation not in (1, 3, 9))
    assert (1, 3, 9) == pruner("asha").rungs(0)
    assert not should_prune("asha", evaluation, [loss], others)


@given(others=RIVALS, loss=LOSSES)
def test_asha_promotes_one_in_three(others: list[float], loss: float) -> None:
    """At a rung a trial goes on if it is among the best third of those seen there."""
    ranked_before = sum(rival < loss for rival in others)
    expected = ranked_before >= max(1, (len(others) + 1) // 3)
    assert expected == should_prune("asha", 3, [10.0, 10.0, loss], others)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(
    others=RIVALS, one=LOSSES, other=LOSSES, evaluation=st.integers(1, 26), ordinal=st.integers(0)
)
def test_a_worse_trial_is_not_treated_better(
    kind: str, others: list[float], one: float, other: float, evaluation: int, ordinal: int
) -> None:
    """If a trial is stopped, one with a higher loss in its place would be, too."""
    low, high = sorted((one, other))
    rule = pruner(kind)
    if rule.should_prune(ordinal, evaluation, [low], lambda _: others):
        assert rule.should_prune(ordinal, evaluation, [high], lambda _: others)


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


@given(st.lists(CURVES, max_size=9), CURVES)
def test_median_is_optunas_over_complete_trials(
    others: list[list[float]], own: list[float]
) -> None:
    """Where all others are complete, it decides at every evaluation as Optuna's MedianPruner does
    with its defaults, on the lowest losses so far."""
    rule = pruner("median", EVALUATIONS)
    curves = [lowest_so_far(reports(rule, losses)) for losses in others]
    study = optuna.create_study(storage=InMemoryStorage(), pruner=optuna.pruners.MedianPruner())
    study.add_trials([create_trial(value=1.0, intermediate_values=curve) for curve in curves])
    for evaluation in range(1, EVALUATIONS):
        lowest = lowest_so_far(reports(rule, own[:evaluation]))
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=lowest)
        expected = study.pruner.prune(study, trial)
        decided = rule.should_prune(
            0, evaluation, own[:evaluation], lambda resource: [curve[resource] for curve in curves]
        )
        assert expected == decided


def reports(rule: Pruner, losses: Sequence[float]) -> dict[int, float]:
    """What a trial with these losses has reported, by resource."""
    return {resource_at(rule.budget, k): loss for k, loss in enumerate(losses, start=1)}


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(
    curves=st.lists(CURVES, min_size=1, max_size=8), factor=st.integers(2, 4), order=st.randoms()
)
def test_the_lowest_loss_of_a_study_is_never_a_stopped_trials(
    kind: str, curves: list[list[float]], factor: int, order: random.Random
) -> None:
    """However curves rise and fall, and trials take turns: no trial is stopped that has reported
    the lowest loss of all, at whatever evaluation that was."""
    rule = pruner(kind, EVALUATIONS, factor)
    reported: list[dict[int, float]] = [{} for _ in curves]
    going = list(range(len(curves)))
    while going:
        trial = order.choice(going)
        losses = curves[trial][: len(reported[trial]) + 1]
        others = [lowest_so_far(each) for k, each in enumerate(reported) if k != trial]
        stops = rule.should_prune(
            trial, len(losses), losses, lambda at, those=others: [o[at] for o in those if at in o]
        )
        reported[trial] = reports(rule, losses)
        if stops:
            assert min(losses) > min(loss for each in reported for loss in each.values())
        if stops or len(losses) == EVALUATIONS:
            going.remove(trial)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_a_curve_that_rises_is_judged_by_its_lowest(kind: str) -> None:
    """By hand: a trial that had 2.2236 early on and has 2.30 at the rung goes on beside trials that
    stand at 2.2482 and above; one whose lowest is 2.30 does not."""
    others = [2.2482, 2.25, 2.26, 2.27, 2.28, 2.29]
    assert not should_prune(kind, 9, [2.5] * 5 + [2.2236, 2.26, 2.28, 2.30], others)
    assert should_prune(kind, 9, [2.5] * 8 + [2.30], others)


def record_attempt(bed: Workspace, stored: StoredStudy, trial: int) -> None:
    """Makes a trial one of our own: an attempt of ours bears its number."""
    columns = {"worker_id": "w", "training_seed": 1, "threads": 1, "device": "cpu", "versions": {}}
    with bed.storage.write() as connection:
        connection.execute(
            tables.attempts.insert().values(
                study_uid=stored.uid, ordinal=trial, trial=trial, started_at=0.0, **columns
            )
        )


def test_others_count_with_their_lowest_so_far(bed: Workspace) -> None:
    """What the database holds is the true curve; what is compared is its lowest up to each point,
    of running, complete and pruned trials, whether or not they were read before."""
    stored = bed.create()
    optuna_storage = bed.storage.optuna
    kept = ReportedLosses(bed.storage)
    counted = {"COMPLETE": 1, "PRUNED": 2, "FAIL": 2, "RUNNING": 3}
    for number, state in enumerate(map(TrialState.__getitem__, counted)):
        trial_id = optuna_storage.create_new_trial(stored.optuna_id)
        record_attempt(bed, stored, number)
        for resource, loss in ((10, 2.5), (20, 2.0), (30, 3.0)):
            optuna_storage.set_trial_intermediate_value(trial_id, resource, loss)
        if state is not TrialState.RUNNING:
            optuna_storage.set_trial_state_values(trial_id, state, [2.0])
        for others in (kept, ReportedLosses(bed.storage)):
            for resource, loss in ((10, 2.5), (20, 2.0), (30, 2.0), (40, None)):
                expected = [] if loss is None else [loss] * counted[state.name]
                assert expected == others.losses_at(stored, resource, except_trial_id=-1)
    (first, *_) = optuna_storage.get_all_trials(stored.optuna_id)
    assert {10: 2.5, 20: 2.0, 30: 3.0} == first.intermediate_values


@given(st.lists(LOSSES, max_size=4), LOSSES)
def test_median_waits_for_five(others: list[float], loss: float) -> None:
    """Four trials are too few to be a median of."""
    assert not should_prune("median", 10, [loss], others)


@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_resources_are_whole_rising_examples(examples: int, evaluations: int) -> None:
    """What a report is filed under does not depend on the batch size and ends at the budget."""
    assume(examples >= evaluations)
    section = BudgetSection(trials=1, examples=examples, evaluations=evaluations)
    marks = [resource_at(section, k) for k in range(1, evaluations + 1)]
    assert examples == marks[-1]
    assert sorted(set(marks)) == marks


def test_lost_attempts_are_nobodys_rivals(bed: Workspace) -> None:
    """What an interrupted attempt reported does not count: its retry reports the same again."""
    stored = bed.create(pruner={"kind": "none"}, budget={"trials": 2})
    with pytest.raises(Interrupted):
        bed.work(stored, InterruptedAfter(6))
    bed.work(stored)
    first = resource_at(stored.spec.budget, 1)
    assert 2 == len(ReportedLosses(bed.storage).losses_at(stored, first, except_trial_id=-1))
    assert 3 == len(bed.trials(stored))


def test_rivals_are_the_same_however_often_they_were_looked_at(bed: Workspace) -> None:
    """What a worker has read and kept gives the same losses as a first look at the whole study."""
    stored = bed.create(budget={"trials": 8})
    marks = [resource_at(stored.spec.budget, k) for k in range(1, 10)]
    kept = ReportedLosses(bed.storage)
    for looks in (3, 5, 8, 13):
        with contextlib.suppress(Interrupted):
            bed.work(stored, InterruptedAfter(looks))
        for mark in marks:
            fresh = ReportedLosses(bed.storage).losses_at(stored, mark, except_trial_id=1)
            assert sorted(fresh) == sorted(kept.losses_at(stored, mark, except_trial_id=1))


def test_a_share_of_the_pruned_is_audited(bed: Workspace) -> None:
    """With audit = 1 every trial that would have been pruned runs on, and completes."""
    stored = bed.create(pruner={"kind": "asha", "audit": 1.0})
    bed.work(stored)
    assert {"complete"} == {trial.state for trial in bed.trials(stored)}


def test_batch_sizes_are_compared_at_equal_examples(bed: Workspace) -> None:
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
    assert [len(ReportedLosses(bed.storage).losses_at(stored, m, -1)) for m in marks] == [8] * 5
