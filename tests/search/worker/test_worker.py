"""A worker's life, in this process: what it trains, records and keeps; how it is interrupted."""

import random
from typing import Any

import pytest
from optuna.trial import TrialState
from workspace import InterruptedAfter, Workspace, some_words

from makemore_core.config import TrialConfig
from makemore_core.data.splits import split
from search.algorithms.forecast import chance_of_lowest
from search.algorithms.pruners import Pruner, resource_at
from search.errors import Interrupted
from search.spec import search_space
from search.study import study
from search.trials import results, status
from search.trials.leases import NoClaim
from search.worker import snapshots


def test_a_study_ends_with_exactly_its_budget(bed: Workspace) -> None:
    """Complete and pruned trials together are `trials`; nothing is left running or waiting."""
    stored = bed.create()
    assert NoClaim.BUDGET_MET is bed.work(stored)
    view = status.status(bed.storage, stored)
    assert "done" == view.state
    assert 12 == view.trials["complete"] + view.trials["pruned"] == view.budget["finished"]
    assert 0 == view.trials["running"] + view.trials["waiting"] + view.trials["failed"]
    assert NoClaim.BUDGET_MET is bed.work(stored)
    assert 12 == len(bed.trials(stored))


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [
        ("tpe", "asha"),
        ("qmc", "hyperband"),
        ("gp", "median"),
        ("random", "predictive"),
    ],
)
def test_an_interrupted_study_is_bit_for_bit_the_same(
    sampler: str, pruner: str, bed: Workspace
) -> None:
    """Interrupted in trials and between them, and gone on with: the finished trials, their
    configurations, their ends and their losses are those of a study that never was."""
    sections: dict[str, Any] = {"sampler": {"kind": sampler}, "pruner": {"kind": pruner}}
    sections["budget"] = {"trials": 14, "examples": 3_000, "evaluations": 9}
    plain = bed.create(study={"name": "plain"}, **sections)
    bed.work(plain)
    broken = bed.create(study={"name": "broken"}, **sections)
    rng = random.Random(f"{sampler} {pruner}")
    for _ in range(4):
        with pytest.raises(Interrupted):
            bed.work(broken, InterruptedAfter(rng.randint(2, 12)))
    bed.work(broken)
    assert bed.outcomes(plain) == bed.outcomes(broken)
    assert 14 == len(bed.outcomes(plain))


def test_the_same_study_twice_is_bit_for_bit_the_same(bed: Workspace) -> None:
    """One worker and one seed: the same trials, wherever the study is run."""
    first = bed.create(study={"name": "first"})
    bed.work(first)
    second = bed.create(study={"name": "second"})
    bed.work(second)
    assert bed.outcomes(first) == bed.outcomes(second)
    third = bed.create(study={"name": "third", "seed": 2})
    bed.work(third)
    assert bed.outcomes(first) != bed.outcomes(third)


def test_an_interrupted_trial_is_failed_and_tried_again(bed: Workspace) -> None:
    """The attempt is `failed`, `interrupted`; the next one says whose retry it is."""
    stored = bed.create(pruner={"kind": "none"}, budget={"trials": 1})
    with pytest.raises(Interrupted):
        bed.work(stored, InterruptedAfter(4))
    assert [("failed", "interrupted")] == [(t.state, t.reason) for t in bed.trials(stored)]
    assert 1 == status.status(bed.storage, stored).trials["waiting"]
    bed.work(stored)
    lost, retry = bed.trials(stored)
    assert ("complete", lost.number) == (retry.state, retry.retry_of)
    assert lost.config == retry.config


def test_a_snapshot_of_other_code_is_not_gone_on_from(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial that was interrupted before an update begins anew after it."""
    undisturbed = bed.create(study={"name": "undisturbed"}, budget={"trials": 1})
    bed.work(undisturbed)
    stored = bed.create(budget={"trials": 1})
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(snapshots, "run_environment", lambda: {"code": "another"})
        bed.work(stored, InterruptedAfter(4))
    bed.work(stored)
    assert "is of other code; falling back" in caplog.text
    assert bed.outcomes(undisturbed) == bed.outcomes(stored)


def test_known_configurations_come_first_and_once(bed: Workspace) -> None:
    """Each enqueued configuration is tried once per study, however often it is gone on with; what
    it leaves open is sampled."""
    known = [
        {"embedding_size": 3, "hidden_width": 16, "batch_size": 32, "optimizer": "sgd"},
        {"learning_rate": 0.5, "initialisation": "lecture", "dropout": 0.1},
    ]
    stored = bed.create(enqueue=known, budget={"trials": 5})
    assert 2 == status.status(bed.storage, stored).trials["waiting"]
    for looks in (2, 4, 9):
        with pytest.raises(Interrupted):
            bed.work(stored, InterruptedAfter(looks))
        bed.create(enqueue=known, budget={"trials": 5})
    bed.work(stored)
    configs = [config for *_, config in bed.outcomes(stored)]
    assert 5 == len(configs)
    for index, values in enumerate(known):
        assert values.items() <= configs[index].items()
    assert not any(known[0].items() <= config.items() for config in configs[1:])
    assert {"scaled"} == {config["initialisation"] for config in configs[2:]}
    assert 0 == status.status(bed.storage, stored).trials["waiting"]


def test_fewer_trials_than_known_configurations(bed: Workspace) -> None:
    """The budget counts known configurations as well."""
    stored = bed.create(enqueue=[{"hidden_width": 16}] * 3, budget={"trials": 2})
    bed.work(stored)
    assert 2 == len(bed.trials(stored))


def test_a_diverging_trial_is_pruned_and_the_study_goes_on(bed: Workspace) -> None:
    """A loss that is no number ends its trial with the reason `diverged`; it never wins."""
    wild = {
        "optimizer": "sgd",
        "learning_rate": 1e6,
        "schedule": "constant",
        "initialisation": "lecture",
    }
    stored = bed.create(
        search={"learning_rate": {"low": 1e-3, "high": 1e6, "log": True}, "warmup": 0.0},
        pruner={"kind": "none"},
        enqueue=[wild],
        budget={"trials": 3},
    )
    bed.work(stored)
    first = bed.trials(stored)[0]
    assert ("pruned", "diverged") == (first.state, first.reason)
    assert 3 == len(bed.outcomes(stored))
    best = results.best(bed.storage, stored)
    assert best is None or best.trial != 0


def test_a_trial_over_its_time_limit_is_pruned(bed: Workspace) -> None:
    """`limits.seconds` is an outcome of the configuration: counted, never repeated."""
    stored = bed.create(limits={"seconds": 0.001}, pruner={"kind": "none"}, budget={"trials": 2})
    bed.work(stored)
    assert {("pruned", "over its time limit")} == {(t.state, t.reason) for t in bed.trials(stored)}
    assert 2 == len(bed.trials(stored))


def test_a_trial_over_its_memory_limit_is_pruned(bed: Workspace) -> None:
    """`limits.memory` is, too."""
    stored = bed.create(limits={"memory": "1MB"}, pruner={"kind": "none"}, budget={"trials": 2})
    bed.work(stored)
    assert {("pruned", "over its memory limit")} == {
        (t.state, t.reason) for t in bed.trials(stored)
    }


def test_limits_that_are_kept_change_nothing(bed: Workspace) -> None:
    """Within its limits, a trial is what it is without them."""
    free = bed.create(study={"name": "free"}, budget={"trials": 4})
    bed.work(free)
    limited = bed.create(
        study={"name": "limited"},
        budget={"trials": 4},
        limits={"seconds": 500, "memory": "500GB"},
    )
    bed.work(limited)
    assert bed.outcomes(free) == bed.outcomes(limited)


def test_patience_ends_a_trial_as_complete(bed: Workspace) -> None:
    """A trial that stops improving is complete, with the reason, after fewer examples."""
    stored = bed.create(
        search={"schedule": "constant", "learning_rate": 1e-9, "optimizer": "sgd", "warmup": 0.0},
        pruner={"kind": "none"},
        early_stopping={"patience": 1},
        budget={"trials": 1, "examples": 40_000, "evaluations": 200},
    )
    bed.work(stored)
    (trial,) = bed.trials(stored)
    assert ("complete", "patience") == (trial.state, trial.reason)
    assert trial.examples is not None
    assert trial.examples < 40_000


def test_patience_waits_for_the_step(bed: Workspace) -> None:
    """A step schedule is never given up on before it has stepped."""
    stored = bed.create(
        search={
            "schedule": "step",
            "step_at": 0.9,
            "learning_rate": 1e-9,
            "optimizer": "sgd",
            "warmup": 0.0,
        },
        pruner={"kind": "none"},
        early_stopping={"patience": 1},
        budget={"trials": 1, "examples": 4_000, "evaluations": 20},
    )
    bed.work(stored)
    (trial,) = bed.trials(stored)
    config = TrialConfig(**trial.config)
    assert trial.examples is not None
    assert trial.examples / config.batch_size >= 0.9 * config.steps


def test_a_timeout_ends_the_study_and_leaves_it_open_to_more(bed: Workspace) -> None:
    """When the working time is used up, the running trial is interrupted and the study is done;
    a longer timeout goes on with it."""
    stored = bed.create(
        pruner={"kind": "none"},
        budget={"trials": 500, "timeout": 0.6, "examples": 20_000},
    )
    assert NoClaim.BUDGET_MET is bed.work(stored)
    view = status.status(bed.storage, stored)
    assert "done" == view.state
    assert view.budget["finished"] < 500
    assert 0 == view.trials["running"]
    assert {"interrupted"} >= {t.reason for t in bed.trials(stored) if t.state == "failed"}
    longer = bed.create(
        pruner={"kind": "none"},
        budget={"trials": view.budget["finished"] + 1, "timeout": "1h", "examples": 20_000},
    )
    bed.work(longer)
    assert view.budget["finished"] + 1 == len(bed.outcomes(longer))


def test_a_target_ends_the_study(bed: Workspace) -> None:
    """The first complete trial at or below the target is the last."""
    stored = bed.create(budget={"trials": 12, "target": 99.0})
    bed.work(stored)
    assert 1 == len(bed.trials(stored))
    assert "done" == status.status(bed.storage, stored).state


def test_a_stopped_study_is_left(bed: Workspace) -> None:
    """A worker whose study was stopped leaves; going on with the study lifts the stop."""
    stored = bed.create()
    with pytest.raises(Interrupted):
        bed.work(stored, InterruptedAfter(5))
    study.request_stop(bed.storage, stored)
    assert NoClaim.STOPPED is bed.work(stored)
    assert NoClaim.BUDGET_MET is bed.work(bed.create())


def test_the_ten_best_checkpoints_are_kept(bed: Workspace) -> None:
    """Others go when their trial ends; no temporary file stays."""
    stored = bed.create(pruner={"kind": "none"}, budget={"trials": 14, "examples": 1_000})
    bed.work(stored)
    kept = {path.name for path in bed.data_dir.checkpoints(stored.uid).iterdir()}
    best = sorted(bed.trials(stored), key=lambda trial: (trial.dev_loss, trial.number))[:10]
    assert {f"trial-{trial.number}.safetensors" for trial in best} == kept


def test_the_dev_loss_is_the_best_of_the_curve(finished: Workspace) -> None:
    """A trial's dev loss is the lowest of its evaluations; its recorded state is from there."""
    stored = study.resolve(finished.storage, "tiny")
    for trial in finished.trials(stored):
        row = results.attempt_of_trial(finished.storage, stored, trial.number)
        assert min(loss for _, loss, *_ in row.curve) == trial.dev_loss


def test_the_best_trial_is_complete_and_lowest(finished: Workspace) -> None:
    """Pruned trials never win, however low they got."""
    stored = study.resolve(finished.storage, "tiny")
    best = results.best(finished.storage, stored)
    complete = [t.dev_loss for t in finished.trials(stored) if t.state == "complete"]
    assert best is not None
    assert min(loss for loss in complete if loss is not None) == best.dev_loss


def test_no_word_of_the_test_split_reaches_a_trial(bed: Workspace) -> None:
    """With every test word replaced by another of the same alphabet, every configuration and every
    dev loss of a study is the same, bit for bit: the test split is sealed."""
    words = some_words()
    plain = bed.create(study={"name": "plain"})
    bed.work(plain)
    seen = study.corpus_of(bed.storage, plain, bed.data_dir)
    parts = split(seen, 42)
    order = list(range(len(words)))
    random.Random(42).shuffle(order)
    test_places = order[len(parts.train) + len(parts.dev) :]
    assert parts.test_words == len(test_places) == 20
    replaced, rng = list(words), random.Random(7)
    for place in test_places:
        replaced[place] = "".join(rng.choices("aeilmnorst", k=rng.randint(1, 12)))
    assert set("".join(words)) == set("".join(replaced))
    assert parts.train == split(type(seen)("other", tuple(replaced)), 42).train
    other = bed.create(study={"name": "other", "corpus": str(bed.corpus(replaced, "replaced.txt"))})
    bed.work(other)
    assert plain.fingerprint != other.fingerprint
    assert bed.outcomes(plain) == bed.outcomes(other)


def test_a_character_outside_train_has_a_finite_loss(bed: Workspace) -> None:
    """A letter that only dev and test words hold keeps its initial embedding; its loss is finite
    and the study goes on."""
    words = some_words()
    order = list(range(len(words)))
    random.Random(42).shuffle(order)
    for place in order[160:]:
        words[place] += "xq"
    assert not any("x" in words[place] for place in order[:160])
    stored = bed.create(study={"corpus": str(bed.corpus(words, "rare.txt"))}, budget={"trials": 3})
    bed.work(stored)
    assert 3 == len([t for t in bed.trials(stored) if t.dev_loss is not None and t.dev_loss < 50])


def test_the_predictive_pruner_stops_what_it_predicts_to_lose(bed: Workspace) -> None:
    """With one worker: computed again from what is stored, a trial is stopped at the first look at
    which its chance to be the lowest is below the stated probability, and no other is stopped."""
    stored = bed.create(
        sampler={"kind": "random"},
        pruner={"kind": "predictive", "probability": 0.2},
        budget={"trials": 20},
    )
    bed.work(stored)
    spec = stored.spec
    space, rule = search_space.distributions(spec.space), Pruner(spec.pruner, spec.budget)
    with bed.optuna_storage() as optuna_storage:
        trials = optuna_storage.get_all_trials(stored.optuna_id)
    stopped = {trial.number for trial in bed.trials(stored) if trial.reason == "pruner"}
    assert 3 < len(stopped) < 17
    for trial in trials:
        if trial.number not in stopped and trial.state is not TrialState.COMPLETE:
            continue  # it diverged
        reports = trial.intermediate_values
        steps = {k: resource_at(spec.budget, k) for k in range(1, spec.budget.evaluations + 1)}
        losses = {k: reports[step] for k, step in steps.items() if step in reports}
        looks = [rung for rung in rule.rungs(0) if rung in losses]
        chances = [
            chance_of_lowest(
                trial.params,
                {k: loss for k, loss in losses.items() if k <= look},
                trials[: trial.number],
                space,
                spec.budget,
            )
            for look in looks
        ]
        below = [chance is not None and chance < 0.2 for chance in chances]
        assert [False] * (len(looks) - 1) == below[:-1]
        assert (trial.number in stopped) == below[-1]
