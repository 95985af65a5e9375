"""What a trial's rows cost: written by `optuna_writer`, and by the steps of Optuna's own storage.

    python tests/benchmarks/optuna_rows.py [--stored 2000] [--trials 40] [--storage URL]

Both take their steps in this program's own transactions, alternately, in one run. A trial has eight
parameters, twenty single reports, five reports in one transaction, and six user attributes at its
end. Prints the medians of each step: milliseconds, those of this process alone, and statements.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from search.storage import optuna_writer
from search.storage.database import Storage, create_storage

SPACE: dict[str, BaseDistribution] = {f"x{n}": FloatDistribution(0.0, 1.0) for n in range(8)}
ENDING = {
    "reason": "budget",
    "seconds": 1.5,
    "examples": 9,
    "parameters": 8,
    "dev_loss_unseen": 2.0,
}


class Rows:
    """As the program writes them."""

    def __init__(self, storage: Storage, study_id: int) -> None:
        self.storage, self.study_id = storage, study_id

    def insert(self, connection: Connection, params: dict[str, float]) -> int:
        return optuna_writer.insert_trial(connection, self.study_id, params, SPACE).trial_id

    def report(self, connection: Connection, trial_id: int, losses: dict[int, float]) -> None:
        optuna_writer.upsert_reports(self.storage, connection, trial_id, losses)

    def finish(self, connection: Connection, trial_id: int) -> None:
        state = TrialState.COMPLETE
        optuna_writer.finish_trial(self.storage, connection, trial_id, state, 2.0, ENDING)


class Steps(Rows):
    """The steps of Optuna's storage that take a session and do not commit."""

    def __init__(self, storage: Storage, study_id: int) -> None:
        super().__init__(storage, study_id)
        inner: Any = storage.optuna
        self.rdb: RDBStorage = inner._backend

    def insert(self, connection: Connection, params: dict[str, float]) -> int:
        trial: FrozenTrial = create_trial(
            state=TrialState.RUNNING, params=params, distributions=SPACE
        )
        with Session(bind=connection) as session:
            models.StudyModel.find_or_raise_by_id(self.study_id, session, for_update=True)
            row = self.rdb._get_prepared_new_trial(self.study_id, trial, session)
            session.flush()
            return int(row.trial_id)

    def report(self, connection: Connection, trial_id: int, losses: dict[int, float]) -> None:
        with Session(bind=connection) as session:
            for step, loss in losses.items():
                self.rdb._set_trial_intermediate_value_without_commit(session, trial_id, step, loss)
            session.flush()

    def finish(self, connection: Connection, trial_id: int) -> None:
        with Session(bind=connection) as session:
            row = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            self.rdb._set_trial_value_without_commit(session, row, 0, 2.0)
            for name, value in ENDING.items():
                self.rdb._set_trial_attr_without_commit(
                    session, models.TrialUserAttributeModel, trial_id, name, value
                )
            row.state = TrialState.COMPLETE
            session.flush()


class Meter:
    """The milliseconds and statements of each step."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.statements: Counter[str] = Counter()
        self._now = 0
        event.listen(storage.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self._now += 1

    @contextmanager
    def step(self, name: str) -> Iterator[Connection]:
        self._now = 0
        began = time.perf_counter(), time.process_time()
        with self.storage.write() as connection:
            if not connection.in_transaction():
                connection.begin()  # a session that begins it would take it back at its end
            yield connection
        ended = time.perf_counter(), time.process_time()
        self.times[name].append((ended[0] - began[0], ended[1] - began[1]))
        self.statements[name] = self._now


def run_trial(meter: Meter, writer: Rows, kind: str) -> None:
    """The whole life of a trial."""
    params = {name: random.random() for name in SPACE}
    with meter.step(f"{kind}: insert") as connection:
        trial_id = writer.insert(connection, params)
    for step in range(20):
        with meter.step(f"{kind}: one report") as connection:
            writer.report(connection, trial_id, {step: 2.5})
    with meter.step(f"{kind}: five reports") as connection:
        writer.report(connection, trial_id, {20 + step: 2.5 for step in range(5)})
    with meter.step(f"{kind}: finish") as connection:
        writer.finish(connection, trial_id)


def measure(url: str, stored: int, trials: int) -> dict[str, dict[str, float]]:
    """Medians of both, alternately, over a study with so many trials."""
    storage = create_storage(url)
    study = optuna.create_study(study_name="x", storage=storage.optuna)
    writers = {"rows": Rows(storage, study._study_id), "Optuna": Steps(storage, study._study_id)}
    with storage.write() as connection:
        for _ in range(stored):
            trial_id = writers["rows"].insert(connection, dict.fromkeys(SPACE, 0.5))
            writers["rows"].report(connection, trial_id, dict.fromkeys(range(10), 2.5))
            writers["rows"].finish(connection, trial_id)
    meter = Meter(storage)
    for _ in range(trials):
        for kind, writer in writers.items():
            run_trial(meter, writer, kind)
    storage.close()
    return {name: _medians(meter, name) for name in sorted(meter.times)}


def _medians(meter: Meter, name: str) -> dict[str, float]:
    wall, own = map(statistics.median, zip(*meter.times[name], strict=True))
    return {
        "ms": round(1000 * wall, 2),
        "own_ms": round(1000 * own, 2),
        "statements": meter.statements[name],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=2_000)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--storage", help="the URL of an empty database; a SQLite file by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        url = options.storage or f"sqlite:///{Path(directory)}/studies.db"
        for name, medians in measure(url, options.stored, options.trials).items():
            print(name, json.dumps(medians))


if __name__ == "__main__":
    main()
