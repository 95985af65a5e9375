"""Runs contenders in turn on the same machine and cores, each for the same wall time."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import tomli_w

from makemore_core.training.warm_up import warm_up
from search.environment import run_environment
from search.spec import study_file
from tests.benchmarks.search import events, summary
from tests.benchmarks.search.contenders import CONTENDERS, Contender
from tests.benchmarks.search.workload import Race, words_of
from tests.benchmarks.trainer import commit

SHOWN = ("budget", "search", "sampler", "pruner")
"""What the result tells of the study file."""

SECONDS_TO_LEAVE = 30.0
"""How long a contender may take to end after Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, default=Path("studies/names.toml"))
    parser.add_argument("--corpus", help="default: the study's")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="a directory")


def main(given: argparse.Namespace) -> None:
    """Writes what was found after every run, so that an interruption loses one run at most."""
    if missing := [name for name in ("matplotlib", "ray") if find_spec(name) is None]:
        raise SystemExit(f"{' and '.join(missing)} missing: pip install -e '.[bench]'")
    if hasattr(os, "sched_setaffinity"):  # every contender inherits the same cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.workers])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # contenders end either way
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warm_up()  # nobody is to wait for the first compilation on this machine
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        study = fair_study(given.study, given.corpus, Path(root))
        spec = study_file.read(study)
        found = conditions() | {
            "seconds": given.seconds,
            "workers": given.workers,
            "corpus": Path(spec.study.corpus).stem,
            "study": {part: spec.as_document()[part] for part in SHOWN},
            "contenders": {name: CONTENDERS[name].description for name in given.only},
            "runs": [],
        }
        for seed in map(int, given.seeds.split(",")):
            for name in given.only:
                place = Path(root) / f"{name}-{seed}"
                race = Race(study, place, seed, given.workers, given.seconds)
                found["runs"].append({"contender": name, **compete(CONTENDERS[name], race)})
                say(found["runs"][-1])
                summary.write(found, given.output)


def fair_study(source: Path, corpus: str | None, into: Path) -> Path:
    """Writes a study file with the same space, whose search has only its time as a limit.

    Enqueued configurations are left out: a winner is to be found, not handed over. What the
    file leaves to the corpus, such as examples for epochs, is settled.
    """
    document = tomllib.loads(source.read_text(encoding="utf-8"))
    document.pop("enqueue", None)
    document["study"]["name"] = "bench"
    spec = study_file.read(source).with_values("study", corpus=corpus)
    document["study"]["corpus"] = spec.study.corpus
    budget = document.setdefault("budget", {})
    for limit in ("timeout", "target", "epochs"):
        budget.pop(limit, None)
    settled = spec.resolved_for(words_of(spec))
    budget["examples"] = settled.budget.examples
    document["search"] = settled.as_document()["search"]
    budget["trials"] = 1_000_000
    path = into / "bench.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    return path


def conditions() -> dict[str, Any]:
    """Where and when this was measured."""
    return {
        "surroundings": dict(run_environment()),
        "cpus": os.cpu_count(),
        "commit": commit(),
        "started": time.strftime("%Y-%m-%d %H:%M"),
    }


def compete(contender: Contender, race: Race) -> dict[str, Any]:
    """One run: what was found, and when, counted from the command."""
    race.place.mkdir()
    contender.prepare(race.place)
    load = os.getloadavg()[0]
    start = time.time()
    exits = run(contender.commands(race), race.place / "output.log", race.seconds)
    found = contender.events(race.place)
    within = [each for each in found if each.at - start <= race.seconds]
    return {
        "seed": race.seed,
        "load_before": round(load, 2),
        "trials": len({each.trial for each in within}),
        "complete": sum(each.last for each in within),
        "evaluations": len(within),
        "ended_early": exits,
        "best": events.best_so_far(found, start, race.seconds),
        "best_complete": events.best_so_far(found, start, race.seconds, complete_only=True),
    }


def run(commands: list[list[str]], log: Path, seconds: float) -> list[int]:
    """Runs processes side by side until the time is over; returns the statuses of those that ended
    before, whose last words are shown."""
    deadline = time.monotonic() + seconds
    with log.open("w") as output:
        processes = [
            subprocess.Popen(
                each, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            for each in commands
        ]  # fmt: skip
    try:
        while time.monotonic() < deadline and any(each.poll() is None for each in processes):
            time.sleep(0.1)
        early = [each.returncode for each in processes if each.poll() is not None]
    finally:
        end(processes)
    if early:
        print(log.read_text()[-2000:], file=sys.stderr)
    return early


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """As Ctrl-C, so that what runs is recorded; then by force, children included."""
    for each in processes:
        each.send_signal(signal.SIGINT)
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    for each in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.wait(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def say(found: dict[str, Any]) -> None:
    shown = ("contender", "seed", "load_before", "trials", "complete", "evaluations")
    best = min((loss for _, loss in found["best"]), default=float("inf"))
    told = "  ".join(f"{key} {found[key]}" for key in shown)
    print(f"{told}  best {best:.4f}", file=sys.stderr, flush=True)
    if found["ended_early"]:
        print(f"  it ended before its time: status {found['ended_early']}", file=sys.stderr)
