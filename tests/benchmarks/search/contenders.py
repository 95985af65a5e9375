"""Who searches side by side, with which commands, and what tuning each of them got.

All but those by hand search the default space, trial for trial with the same trainer, length and
evaluations. The opening that our program learned on other corpora is a part of it; no other
contender gets it.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from search.paths import DataDir
from search.seeds import derive_seed
from search.storage import tables
from tests.benchmarks.search import events, peers
from tests.benchmarks.search.events import Event
from tests.benchmarks.search.workload import Race

Command = list[str]

MANY_TRIALS = 1_000_000
"""So many that only time ends a search."""


def nothing(place: Path) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Contender:
    """One way of searching."""

    description: str
    """What it is, and what tuning it got."""
    commands: Callable[[Race], list[Command]]
    """What is started, all at once, when the clock starts."""
    events: Callable[[Path], list[Event]] = events.recorded
    """What it found, out of its directory, after its end."""
    prepare: Callable[[Path], None] = nothing
    """What is done in its directory before the clock starts."""
    by_hand: bool = False
    """Whether it searches the space drawn by hand, in place of the default one."""


def peer_commands(kind: str, race: Race) -> list[Command]:
    """One command for each worker; the seeds differ, or all would begin with the same trials."""
    seeds = [derive_seed(race.seed, worker, "peer") for worker in range(race.workers)]
    start = [sys.executable, "-m", "tests.benchmarks.search.peers", kind]
    where = ["--study", str(race.study), "--place", str(race.place)]
    return [[*start, *where, "--seed", str(seed)] for seed in seeds]


def ray_commands(race: Race) -> list[Command]:
    given = json.dumps(asdict(race), default=str)
    return [[sys.executable, "-m", "tests.benchmarks.search.ray_peer", given]]


def our_commands(race: Race) -> list[Command]:
    options = {
        "--workers": race.workers, "--seed": race.seed, "--data-dir": race.place,
        "--trials": MANY_TRIALS,
    }  # fmt: skip
    given = [str(part) for option in options.items() for part in option]
    return [[sys.executable, "-m", "search", "run", str(race.study), "--quiet", *given]]


def our_events(place: Path) -> list[Event]:
    """What the study's database tells.

    An evaluation's moment is counted back from its trial's end by training seconds alone, which
    dates it late rather than early: what a trial spends on reports lies before its end too.
    """
    a = tables.attempts
    columns = (a.c.id, a.c.outcome, a.c.ended_at, a.c.curve)
    engine = sa.create_engine(DataDir(place).default_storage, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).where(a.c.ended_at.is_not(None))).all()
    return [
        Event(
            row.ended_at - (row.curve[-1][2] - seconds),
            str(row.id),
            dev_loss,
            row.outcome == "complete" and seconds == row.curve[-1][2],
        )
        for row in rows
        for _, dev_loss, seconds, _ in row.curve or ()
    ]


CONTENDERS = {
    "random": Contender(
        "random search over our trainer: Optuna's RandomSampler, one in each worker; no pruning, "
        "and no storage to slow it down",
        lambda race: peer_commands("random", race),
    ),
    "optuna": Contender(
        "Optuna's defaults over our trainer: TPESampler() and MedianPruner(), a report at each "
        "evaluation, workers on one SQLite file made beforehand",
        lambda race: peer_commands("optuna", race),
        prepare=peers.create_study,
    ),
    "ray": Contender(
        "Ray Tune's ASHA over our trainer: random search; max_t, grace_period and reduction_factor "
        "as our ASHA's rungs have them; max_concurrent = workers, one CPU each; reuse_actors, so "
        "that a trial need not import torch; no loggers, no dashboard",
        ray_commands,
    ),
    "ours": Contender(
        "`makemore-search run` of a study file that names the corpus and nothing else",
        our_commands,
        our_events,
    ),
    "by-hand": Contender(
        "the same program with the space and the budget that were drawn by hand for the lecture's "
        "names, and with that file's sampler and pruner",
        our_commands,
        our_events,
        by_hand=True,
    ),
    "by-hand-tpe": Contender(
        "Optuna's defaults, as above, over the space drawn by hand",
        lambda race: peer_commands("optuna", race),
        prepare=peers.create_study,
        by_hand=True,
    ),
}
