"""Estimates what a study costs before it is created, from steps measured on this machine."""

import statistics
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from makemore_core.config import TrialConfig
from makemore_core.data.corpus import Corpus
from makemore_core.data.dataset import Dataset
from makemore_core.training.trainer import train
from makemore_core.training.warm_up import warm_up
from search.algorithms.coordinates import Coordinates
from search.algorithms.costs import relative_cost
from search.algorithms.forecast import MIN_COMPLETE
from search.spec import search_space
from search.spec.auto_learning_rate import resolve_auto
from search.spec.study_spec import StudySpec
from search.study.expected_costs import ExpectedCosts, expected_share
from search.study.memory import MemoryNeed, ensure_corpus_fits
from search.study.opening import with_opening

PROBES = 8
"""Configurations that are drawn from the space and trained for some steps."""
PROBE_STEPS = 20
SAFE_LEARNING_RATE = 0.01
"""The learning rate of probes: a step takes as long at any rate, and a probe must not diverge."""


@dataclass(frozen=True)
class Preview:
    """The cost of a study as its file defines it."""

    study: str
    space: dict[str, Any]
    trials: int
    estimated_seconds: float
    seconds_of_full_trial: float
    share_trained: float
    """Expected fraction of the cost of full trials that is spent before they are pruned."""
    seconds_of_all_trials: float
    """Time of all trials without a timeout."""
    ends_by: str
    """What is expected to end the study: trials or timeout."""
    expected_trials: int
    """Trials finished at that end."""
    timeout: float | None
    target: float | None
    """The dev loss that may end the study sooner, at a time that cannot be estimated."""
    memory: MemoryNeed | None = None

    def as_document(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return asdict(self) | {"memory": self.memory and self.memory.as_document()}


def of_file(spec: StudySpec, words: Corpus, workers: int, threads: int) -> Preview:
    """Returns what a study would cost that began now.

    Raises:
        BadInput: what it needs does not fit into the memory.
    """
    need = ensure_corpus_fits(spec, words, workers)
    spec = resolve_auto(spec.resolved_for(words), words)
    spec = spec if spec.opening else with_opening(spec, words, None)
    return preview(spec, Dataset.from_corpus(words, spec.study.split_seed), workers, threads, need)


def preview(
    spec: StudySpec, data: Dataset, workers: int, threads: int, memory: MemoryNeed | None = None
) -> Preview:
    """Times a few steps of configurations drawn from the space, which tells how fast this machine
    is, and sums the analytic costs of the trials to come."""
    warm_up()
    trials, timeout = spec.budget.trials, spec.budget.timeout
    costs = ExpectedCosts(spec, len(data.vocabulary))
    full = _seconds_per_cost(spec, data, threads) * costs.total(0, trials) / trials
    fraction = expected_fraction(spec, costs)
    all_trials = full * fraction * trials / min(workers, trials)
    seconds = all_trials if timeout is None else min(all_trials, timeout)
    return Preview(
        study=spec.study.name,
        space={name: kind.to_document() for name, kind in spec.space.items()},
        trials=trials,
        estimated_seconds=seconds,
        seconds_of_full_trial=full,
        share_trained=fraction,
        seconds_of_all_trials=all_trials,
        ends_by="trials" if seconds == all_trials else "timeout",
        expected_trials=trials if seconds == all_trials else int(trials * seconds / all_trials),
        timeout=timeout,
        target=spec.budget.target,
        memory=memory,
    )


def expected_fraction(spec: StudySpec, costs: ExpectedCosts) -> float:
    """Expected fraction of the cost of full trials that is spent.

    Assumes that `predictive` stops no trial before it has learned from some, nor what opens the
    study, which was good elsewhere.
    """
    share = expected_share(spec)
    if spec.pruner.kind != "predictive":
        return share
    whole = len(spec.enqueue) + max(MIN_COMPLETE, len(spec.opening))
    total = costs.total(0, spec.budget.trials)
    full = costs.total(0, min(whole, spec.budget.trials)) / total
    return full + (1.0 - full) * share


def _draws(spec: StudySpec, count: int) -> list[TrialConfig]:
    """Draws configurations at random from the space."""
    coordinates = Coordinates(search_space.distributions(spec.space))
    budget = {"examples": spec.budget.examples, "evaluations": spec.budget.evaluations}
    return [
        search_space.configuration(spec.space, coordinates.values(point), {}, **budget)
        for point in coordinates.sample(np.random.default_rng(0), count)
    ]


def _seconds_per_cost(spec: StudySpec, data: Dataset, threads: int) -> float:
    """The seconds that a unit of the analytic cost takes here: the median of probes."""
    symbols = len(data.vocabulary)
    return statistics.median(
        _seconds_of_full_trial(config, data, threads) / relative_cost(asdict(config), symbols)
        for config in _draws(spec, PROBES)
    )


def _seconds_of_full_trial(config: TrialConfig, data: Dataset, threads: int) -> float:
    """Extrapolates a full trial's training time from two short runs, whose difference is free of
    start-up time."""
    data.contexts(config.block_size)
    short, longer = (
        train(
            replace(
                config,
                examples=steps * config.batch_size,
                evaluations=1,
                schedule="constant",
                learning_rate=min(config.learning_rate, SAFE_LEARNING_RATE),
            ),
            data,
            0,
            threads=threads,
        ).train_seconds
        for steps in (PROBE_STEPS, 3 * PROBE_STEPS)
    )
    per_step = max(longer - short, longer / 3) / (2 * PROBE_STEPS)  # whatever held up the first
    return float(per_step * config.steps)
