"""Who searches side by side, with which commands, and what tuning each of them got."""

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
    options = {"--workers": race.workers, "--seed": race.seed, "--data-dir": race.place}
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
    "lecture": Contender(
        "plain Optuna over the lecture's loop, as in Optuna's PyTorch example: TPESampler() and "
        "MedianPruner(), a report at each evaluation, workers on one SQLite file made beforehand. "
        "The study's embedding, hidden, block and batch sizes, examples and evaluations; learning "
        "rate 0.01 to 1, log, as plain SGD needs it, a tenth of it from the middle on; scaled "
        "initialisation; our evaluation. The loop knows no other schedule, AdamW, decay or dropout",
        lambda race: peer_commands("lecture", race),
        prepare=peers.create_study,
    ),
    "optuna": Contender(
        "Optuna's defaults over our trainer: TPESampler() and MedianPruner(), a report at each "
        "evaluation, workers on one SQLite file made beforehand; the study's whole space",
        lambda race: peer_commands("optuna", race),
        prepare=peers.create_study,
    ),
    "ray": Contender(
        "Ray Tune's ASHA over our trainer: random search, the study's whole space; max_t, "
        "grace_period and reduction_factor as our rungs have them; max_concurrent = workers, one "
        "CPU each; reuse_actors, so that a trial need not import torch; no loggers, no dashboard",
        ray_commands,
    ),
    "ours": Contender(
        "`makemore-search run` with the study file as it is, its enqueued configurations left out",
        our_commands,
        our_events,
    ),
}
