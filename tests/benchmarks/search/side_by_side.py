"""Runs contenders in turn on the same cores, each for the same wall time; goes on where it stopped.

Every run is kept as soon as it has ended, in one file a corpus; the next command does what is
missing. With `--runs 1` it does the next run alone and exits 0, or 3 if none is missing, so that
each can be given a quiet moment of its machine.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import tomli_w

from makemore_core.data.corpus import BUILT_IN
from makemore_core.training.warm_up import warm_up
from search.system.environment import run_environment
from tests.benchmarks.search import events, summary, word_lists
from tests.benchmarks.search.contenders import CONTENDERS, Contender
from tests.benchmarks.search.word_lists import WORD_LISTS
from tests.benchmarks.search.workload import Race
from tests.benchmarks.trainer import commit

BY_HAND = Path(__file__).with_name("names_by_hand.toml")
"""The space that was drawn by hand for the lecture's names."""
LIVE = Path(__file__).with_name("live")
"""Raw results are kept with the program: each takes minutes of a quiet machine."""

SECONDS_TO_LEAVE = 30.0
"""How long a contender may take to end after Ctrl-C."""
NOTHING_MISSING = 3
"""The exit status of `--runs` when every run is there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", default="names", help="built in, a file, or one of `word-lists`"
    )
    parser.add_argument("--by-hand", type=Path, default=BY_HAND, help="the hand-drawn study file")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--runs", type=int, help="do so many of the missing runs")
    parser.add_argument("-o", "--output", type=Path, default=LIVE, help="a directory")


def main(given: argparse.Namespace) -> None:
    """Writes what was found after every run, so that an interruption loses one run at most."""
    if find_spec("ray") is None:
        raise SystemExit("ray is missing: pip install -e '.[bench]'")
    if hasattr(os, "sched_setaffinity"):  # every contender inherits the same cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.workers])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # contenders end either way
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    given.output.mkdir(parents=True, exist_ok=True)
    corpus = corpus_of(given.corpus)
    path = given.output / f"{Path(corpus).stem}.json"
    found = resumed(path, corpus, given.seconds, given.workers)
    left = missing_runs(found, given.only, [int(seed) for seed in given.seeds.split(",")])
    if not left and given.runs is not None:
        raise SystemExit(NOTHING_MISSING)
    warm_up()  # nobody is to wait for the first compilation on this machine
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        for name, seed in left[: given.runs]:
            contender = CONTENDERS[name]
            source = given.by_hand if contender.by_hand else None
            study = fair_study(source, corpus, Path(root) / "study.toml")
            place = Path(root) / f"{name}-{seed}"
            race = Race(study, place, seed, given.workers, given.seconds)
            run = {"contender": name, **conditions(), **compete(contender, race)}
            found["runs"].append(run)
            say(run)
            summary.save(found, path)


def corpus_of(name_or_path: str) -> str:
    """Returns what a study file may name: a built-in corpus, or a file's absolute path."""
    if name_or_path in WORD_LISTS:
        name_or_path = str(word_lists.make(name_or_path, word_lists.DIRECTORY))
    return name_or_path if name_or_path in BUILT_IN else str(Path(name_or_path).absolute())


def resumed(path: Path, corpus: str, seconds: float, workers: int) -> dict[str, Any]:
    """Returns what a file of earlier runs holds, or the beginning of one."""
    given = {"corpus": Path(corpus).stem, "seconds": seconds, "workers": workers}
    if not path.is_file():
        return {**given, "runs": []}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if differing := [key for key, value in given.items() if found[key] != value]:
        raise SystemExit(f"{path}: its runs have other {', '.join(differing)}; name another -o")
    return found


def missing_runs(
    found: Mapping[str, Any], contenders: Sequence[str], seeds: Sequence[int]
) -> list[tuple[str, int]]:
    """Returns (contender, seed) of the runs that are not there, seed by seed."""
    there = {(run["contender"], run["seed"]) for run in found["runs"]}
    return [(name, seed) for seed in seeds for name in contenders if (name, seed) not in there]


def fair_study(source: Path | None, corpus: str, path: Path) -> Path:
    """Writes a study file that names its corpus alone, or is another one's with this corpus.

    Of the other one enqueued configurations and limits are left out: a winner is to be found, not
    handed over, and only time ends a search.
    """
    document = tomllib.loads(source.read_text(encoding="utf-8")) if source else {"study": {}}
    document["study"] |= {"name": "bench", "corpus": corpus}
    document.pop("enqueue", None)
    for limit in ("timeout", "target"):
        document.get("budget", {}).pop(limit, None)
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
