"""What the search costs beside the training: overhead, contention, and studies of 10,000 trials.

    python tests/benchmarks/search_overhead.py overhead [--trials 200] [--seconds 1] [--storage URL]
    python tests/benchmarks/search_overhead.py contention [--workers 8]
    python tests/benchmarks/search_overhead.py large [--trials 10000]

Each runs the real program in processes of its own and prints one JSON document.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

STUDY = """
[study]
name = "{name}"
corpus = "first-names"
[budget]
trials = {trials}
examples = {examples}
evaluations = 20
[search]
embedding_size = {{ low = 4, high = 16 }}
hidden_width = {{ low = 96, high = 128 }}
block_size = {{ low = 3, high = 5 }}
batch_size = [64, 128]
learning_rate = {{ low = 1e-3, high = 1e-1, log = true }}
schedule = ["constant", "linear", "cosine"]
weight_decay = {{ low = 0.0, high = 0.2 }}
dropout = 0.0
optimizer = ["adamw", "sgd"]
[sampler]
kind = "tpe"
[pruner]
kind = "none"
"""


class Workplace:
    """A data directory of its own, and the program."""

    def __init__(self, root: Path, url: str | None = None) -> None:
        self.root, self.url = root, url or f"sqlite:///{root}/runs/studies.db"

    def study(self, name: str, trials: int, examples: int) -> Path:
        path = self.root / f"{name}.toml"
        path.write_text(STUDY.format(name=name, trials=trials, examples=examples))
        return path

    def start(self, *arguments: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "search", *map(str, arguments), "--data-dir"]
        return subprocess.Popen(
            [*command, str(self.root / "runs"), "--storage", self.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: Any) -> tuple[float, str]:
        """Seconds and standard output of one invocation."""
        started = time.perf_counter()
        process = self.start(*arguments)
        out, err = process.communicate()
        if process.returncode:
            raise SystemExit(err)
        return time.perf_counter() - started, out

    def query(self, sql: str) -> list[Any]:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return list(connection.execute(sa.text(sql)).all())

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.root / "runs" / "logs").glob("*"))


def run(place: Workplace, trials: int, examples: int, workers: int) -> dict[str, Any]:
    """One study; wall time from the first ask to the last tell, and what was training in it."""
    path = place.study("overhead", trials, examples)
    place.call("run", path, "--workers", workers, "--quiet", "--json")
    ((first, last, training, count),) = place.query(
        "SELECT MIN(started_at), MAX(ended_at), SUM(seconds), COUNT(*) FROM makemore_attempts"
    )
    return {
        "trials": count,
        "workers": workers,
        "seconds_a_trial": training / count,
        "wall_seconds": last - first,
        "training_seconds_a_worker": training / workers,
        "overhead": (last - first) * workers / training - 1,
        "locked": place.log().count("database is locked"),
        "failed": place.query("SELECT COUNT(*) FROM trials WHERE state = 'FAIL'")[0][0],
    }


def overhead(place: Workplace, given: argparse.Namespace) -> dict[str, Any]:
    """Trials of so many seconds, by a first run that measures how many examples that takes."""
    probe = Workplace(place.root / "probe")
    probe.root.mkdir()
    measured = run(probe, 8, 400_000, given.workers)
    examples = int(400_000 * given.seconds / measured["seconds_a_trial"])
    return run(place, given.trials, examples, given.workers)


def contention(place: Workplace, given: argparse.Namespace) -> dict[str, Any]:
    """Trials that are over at once, so that the database is all that the workers do."""
    return run(place, given.trials, 20_000, given.workers)


def large(place: Workplace, given: argparse.Namespace) -> dict[str, Any]:
    """A study of so many trials: how long `status` and `best` take beyond start-up, and a join."""
    path = place.study("large", 20, 20_000)
    place.call("run", path, "--workers", 2, "--quiet", "--json")
    small = {verb: _fastest(place, verb) for verb in ("status", "best")}
    _multiply(place, given.trials)
    many = {verb: _fastest(place, verb) for verb in ("status", "best")}
    place.call("submit", path, "--trials", given.trials + 1)
    started = time.perf_counter()
    worker = place.start("worker", "large")
    running = "SELECT COUNT(*) FROM trials"
    while place.query(running)[0][0] <= given.trials:
        if worker.poll() is not None:
            raise SystemExit(worker.communicate()[1])
        time.sleep(0.02)
    joined = time.perf_counter() - started
    worker.communicate()
    return {
        "trials": given.trials,
        "megabytes": (place.root / "runs" / "studies.db").stat().st_size / 1e6,
        "start_up_seconds": small,
        "seconds_beyond_start_up": {verb: many[verb] - small[verb] for verb in many},
        "worker_joined_after": joined,
    }


def _fastest(place: Workplace, verb: str) -> float:
    return min(place.call(verb, "large", "--json")[0] for _ in range(3))


def _multiply(place: Workplace, trials: int) -> None:
    """Copies the trials of a finished study until there are so many (SQLite only)."""
    engine = sa.create_engine(place.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        count = connection.execute(sa.text("SELECT COUNT(*) FROM trials")).scalar_one()
        for shift in range(count, trials, count):
            rest = min(count, trials - shift)
            for table, key in (("trials", "trial_id"), ("makemore_attempts", "id")):
                _copy(connection, table, {key: shift, _number(table): shift}, rest)
            _copy(connection, "makemore_slots", {"ordinal": shift, "attempt_id": shift}, rest)
            for table in (
                "trial_params",
                "trial_values",
                "trial_intermediate_values",
                "trial_system_attributes",
            ):
                own = {"trial_params": "param_id", "trial_values": "trial_value_id"}
                own |= {
                    "trial_intermediate_values": "trial_intermediate_value_id",
                    "trial_system_attributes": "trial_system_attribute_id",
                }
                _copy(connection, table, {own[table]: None, "trial_id": shift}, rest)
        connection.execute(sa.text("UPDATE makemore_attempts SET ordinal = id - 1"))


def _number(table: str) -> str:
    return "number" if table == "trials" else "trial"


def _copy(connection: sa.Connection, table: str, shifts: dict[str, int | None], rest: int) -> None:
    """Copies the rows of the first trials, some columns shifted, some numbered anew."""
    columns = [column["name"] for column in sa.inspect(connection).get_columns(table)]
    kept = [name for name in columns if shifts.get(name, 0) is not None]
    values = [f"{name} + {shifts[name]}" if name in shifts else name for name in kept]
    first = {"trials": "trial_id", "makemore_attempts": "id", "makemore_slots": "attempt_id"}
    by = first.get(table, "trial_id")
    connection.execute(
        sa.text(
            f"INSERT INTO {table} ({', '.join(kept)}) SELECT {', '.join(values)} FROM {table} "
            f"WHERE {by} <= {rest}"
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overhead", "contention", "large"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--storage")
    given = parser.parse_args()
    usual = {"overhead": (200, 2), "contention": (200, 8), "large": (10_000, 2)}[given.what]
    given.trials, given.workers = given.trials or usual[0], given.workers or usual[1]
    measure = {"overhead": overhead, "contention": contention, "large": large}[given.what]
    with tempfile.TemporaryDirectory() as root:
        print(json.dumps(measure(Workplace(Path(root), given.storage), given), indent=1))


if __name__ == "__main__":
    main()
