"""The configuration of a slot: of its lost attempt, of the study file, or by the sampler."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from makemore_core.config import TrialConfig
from search.algorithms import forecast, samplers
from search.algorithms.samplers import sampler_for
from search.retry import retry_storage
from search.spec import search_space
from search.spec.study_spec import StudySpec
from search.storage import optuna_studies
from search.trials.claims import Claim
from search.worker.context import WorkerContext


@retry_storage
def configuration(context: WorkerContext, claim: Claim) -> tuple[dict[str, Any], TrialConfig]:
    """The searched values, and the complete configuration."""
    spec, lost = context.study.spec, claim.lost_attempt
    if lost is not None and lost.config is not None:
        return search_space.searched_values(spec.space, lost.config), TrialConfig(**lost.config)
    searched, overrides = _known_values(spec, claim.ordinal)
    config = search_space.configuration(
        spec.space,
        {**_sampled_values(context, claim, {*searched, *overrides}), **searched},
        overrides,
        examples=spec.budget.examples,
        evaluations=spec.budget.evaluations,
        patience=spec.early_stopping.patience,
    )
    return search_space.searched_values(spec.space, asdict(config)), config


def _known_values(spec: StudySpec, ordinal: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the study says of a slot's configuration: searched values of its opening, and values of
    its file by their names there."""
    if ordinal < len(spec.enqueue):
        return {}, spec.enqueue[ordinal]
    position = ordinal - len(spec.enqueue)
    return (spec.opening[position] if position < len(spec.opening) else {}), {}


def _sampled_values(context: WorkerContext, claim: Claim, known: set[str]) -> dict[str, Any]:
    """A value for each searched parameter, by the sampler; none if all of them are known."""
    spec = context.study.spec
    names = search_space.distributions(spec.space)
    if known.issuperset(names) or known.issuperset(search_space.searched_names(spec.space)):
        return {}
    fixed = search_space.fixed_values(spec.space) | {"examples": spec.budget.examples}
    forecaster = partial(forecast.predicted_ends, distributions=names, length=spec.budget)
    sampler = sampler_for(
        spec.sampler.kind,
        spec.study.seed,
        claim.ordinal,
        fixed=fixed,
        forecaster=forecaster,
        known=spec.opening,
    )
    name = optuna_studies.name(context.storage, context.study.optuna_id)
    study = optuna.load_study(study_name=name, storage=context.trials, sampler=sampler)
    return samplers.ask(sampler, study, _placeholder_trial(), names)


def _placeholder_trial() -> FrozenTrial:
    """A trial to sample for before it is stored.

    Its number belongs to no trial: TPE excludes the trial of that number from what it learns, and
    after a lost attempt the trial with the slot's ordinal as its number is another one.
    """
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )
