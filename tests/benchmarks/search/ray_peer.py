"""Ray Tune's ASHA over our trainer: `python -m tests.benchmarks.search.ray_peer RACE-AS-JSON`.

Needs the extra `bench`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from makemore_core.errors import Diverged
from search.algorithms.pruners import Pruner
from search.seeds import derive_seed
from search.spec.search_space import distributions
from search.spec.sections import PrunerSection
from search.spec.study_spec import StudySpec
from tests.benchmarks.search.events import Recorder
from tests.benchmarks.search.peers import train_reporting
from tests.benchmarks.search.workload import Race, config_of, data_of, spec_of

OBJECT_STORE_BYTES = 100_000_000
"""Reports are all that passes through it."""


def domain(among: BaseDistribution) -> Any:
    """A dimension as Ray Tune names it; its upper bounds of whole numbers are excluded."""
    from ray import tune

    if isinstance(among, CategoricalDistribution):
        return tune.choice(list(among.choices))
    if isinstance(among, IntDistribution):
        draw = tune.lograndint if among.log else tune.randint
        return draw(among.low, among.high + 1)
    assert isinstance(among, FloatDistribution)
    draw = tune.loguniform if among.log else tune.uniform
    return draw(among.low, among.high)


def trial(searched: dict[str, Any], race: Race) -> None:
    """One trial, in a process that Ray keeps for the next."""
    from ray import tune

    spec = spec_of(race.study)
    recorder = Recorder(race.place, spec.budget.evaluations)
    name = tune.get_context().get_trial_id()

    def report(index: int, dev_loss: float) -> None:
        recorder.note(name, index, dev_loss)
        tune.report({"dev_loss": dev_loss})

    torch.set_num_threads(1)
    try:
        train_reporting(
            config_of(spec, searched),
            data_of(spec),
            derive_seed(race.seed, 0, name),
            report,
        )
    except Diverged:
        tune.report({"dev_loss": float("inf")})


def search(race: Race, spec: StudySpec) -> None:
    """Tunes until the time is over."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    rule = PrunerSection(kind="asha")
    scheduler = ASHAScheduler(
        max_t=spec.budget.evaluations,
        grace_period=Pruner(rule, spec.budget).rungs(0)[0],
        reduction_factor=rule.reduction_factor,
    )
    settings = tune.TuneConfig(
        metric="dev_loss",
        mode="min",
        search_alg=BasicVariantGenerator(max_concurrent=race.workers, random_state=race.seed),
        scheduler=scheduler,
        num_samples=-1,
        reuse_actors=True,
        time_budget_s=race.seconds,
    )
    tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, race=race), {"cpu": 1}),
        param_space={name: domain(each) for name, each in distributions(spec.space).items()},
        tune_config=settings,
        run_config=tune.RunConfig(storage_path=str(race.place), verbose=0),
    ).fit()


def main() -> None:
    given = json.loads(sys.argv[1])
    race = Race(**given | {"study": Path(given["study"]), "place": Path(given["place"])})
    # Nothing is to be reported to Ray's makers, nor written beside what the bench itself notes.
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }
    import ray

    ray.init(
        num_cpus=race.workers,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    try:
        search(race, spec_of(race.study))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
