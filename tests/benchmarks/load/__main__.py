"""How many trials a second a storage bears, and how long each step of a trial waits for it.

    python -m tests.benchmarks.load throughput [--workers 1,2,4,8,16,32] [--seconds 15]
    python -m tests.benchmarks.load latency [--stored 0,1000,10000,50000] [--seconds 10]

Our workers and plain Optuna's, side by side: real processes, a trainer that does nothing but report
its 20 dev losses, on SQLite and on a PostgreSQL that is started for it. Both sample with TPE
(`--sampler random` for less) and ask a pruner at each report (ours ASHA, which looks at rungs
alone; Optuna's median), which never stops anything. With `--sampler bayes` our side is the default
study, whose pruner predicts, and stops most. In `latency` a single worker asks while other trials
are stored already: milliseconds by the storage, the sampler, and the pruner's predictions, medians.
Prints a table; `--json FILE` has everything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where pytest finds `servers` by itself

from servers import new_database, start_server

from search.system.processes import thread_limits
from tests.benchmarks.load.stored import SIDES, prepare

STEPS = ("ask", "report", "tell")
START_UP_SECONDS = 600


@contextmanager
def databases(kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each kind, a function that gives the URL of a new database."""
    with tempfile.TemporaryDirectory(prefix="load-") as directory:
        root, numbers = Path(directory), iter(range(10**6))
        server = start_server(root / "server") if "postgresql" in kinds else None
        new = {
            "sqlite": lambda: f"sqlite:///{root}/{next(numbers)}.db",
            "postgresql": lambda: new_database(server),
        }
        yield {kind: new[kind] for kind in kinds}
        if server is not None:
            server.cleanup()


def drive(side: str, url: str, workers: int, seconds: float, sampler: str) -> dict[str, Any]:
    """Runs workers of one side over one database; they begin together, once all are ready."""
    command = [sys.executable, "-m", "tests.benchmarks.load.worker", side, url, sampler]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = os.environ | thread_limits(1)  # as every worker has it: BLAS threads would spin
    started = [subprocess.Popen([*command, str(seconds)], env=env, **pipes) for _ in range(workers)]
    for process in started:
        assert "ready\n" == process.stdout.readline(), "a worker did not start"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=START_UP_SECONDS)[0]) for process in started]
    return {
        "trials_a_second": sum(answer["trials"] / answer["seconds"] for answer in answers),
        "failed": sum(answer["failed"] for answer in answers),
        "storage_ms": {step: _median(answers, "storage", step) for step in STEPS},
        "sampler_ms": _median(answers, "sampler", "ask"),
        "decision_ms": _median(answers, "sampler", "decide"),
    }


def _median(answers: list[dict[str, Any]], part: str, step: str) -> float:
    times = [each for answer in answers for each in answer[part].get(step, ())]
    return 1e3 * median(times) if times else 0.0


def throughput(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Trials a second, by the number of workers."""
    rows = []
    with databases(given.on) as new:
        for kind in given.on:
            for workers in given.workers:
                for side in SIDES:
                    url = new[kind]()
                    prepare(url, 0, given.sampler)
                    found = drive(side, url, workers, given.seconds, given.sampler)
                    rows.append({"on": kind, "workers": workers, "side": side} | found)
                    told(rows[-1])
    return rows


def latency(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Milliseconds a step, by the number of trials that are stored already."""
    rows = []
    with databases(given.on) as new:
        for kind in given.on:
            for stored in given.stored:
                url = new[kind]()
                prepare(url, stored, given.sampler)
                for side in SIDES:
                    found = drive(side, url, 1, given.seconds, given.sampler)
                    rows.append({"on": kind, "stored": stored, "side": side} | found)
                    told(rows[-1])
    return rows


def told(row: dict[str, Any]) -> None:
    """One row, for whoever is waiting."""
    print(json.dumps(row), file=sys.stderr, flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Everything as a table: ours and Optuna's, one row each."""
    by = "workers" if "workers" in rows[0] else "stored"
    lines = [
        f"| database | {by} | side | trials/s | failed | {' | '.join(STEPS)} | sum "
        "| sampler | decision |",
        "|---" * (8 + len(STEPS)) + "|",
    ]
    for row in rows:
        steps = [row["storage_ms"][step] for step in STEPS]
        figures = " | ".join(
            f"{each:.1f}" for each in (*steps, sum(steps), row["sampler_ms"], row["decision_ms"])
        )
        lines.append(
            f"| {row['on']} | {row[by]} | {row['side']} | {row['trials_a_second']:.1f} "
            f"| {row['failed']} | {figures} |"
        )
    return "\n".join(lines)


def _numbers(told: str) -> list[int]:
    return [int(each) for each in told.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load", description=__doc__)
    parser.add_argument("what", choices=["throughput", "latency"])
    parser.add_argument("--on", type=lambda told: told.split(","), default=["sqlite", "postgresql"])
    parser.add_argument("--workers", type=_numbers, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--stored", type=_numbers, default=[0, 1_000, 10_000, 50_000])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--sampler", choices=["tpe", "random", "bayes"], default="tpe")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = {"throughput": throughput, "latency": latency}[given.what](given)
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
