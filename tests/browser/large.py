"""A study of many trials that nobody trained: fills a storage as thousands of trials would.

python tests/browser/large.py DATA_DIR [TRIALS [REPORTS]]
"""

import json
import math
import random
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from sqlalchemy import Connection, MetaData, Table, insert

from makemore_core.data import corpus
from search.paths import DataDir
from search.spec import search_space, study_spec
from search.storage import tables
from search.storage.database import Storage, create_storage
from search.study import create
from search.study.study import StoredStudy

START = 1_790_000_000.0
SECONDS_EACH = 2.0
BATCH = 2_000


def fill(data_dir: DataDir, trials: int = 10_000, reports: int = 10) -> StoredStudy:
    """Creates the study `large` and writes its trials; four of five are pruned."""
    spec = study_spec.from_document(
        {"study": {"name": "large"}, "budget": {"trials": trials, "evaluations": reports}}, "large"
    )
    storage = create_storage(data_dir.default_storage)
    words = corpus.load(spec.study.corpus, data_dir.root)
    stored = create.create_or_resume(storage, spec, words, data_dir)
    fill_study(storage, stored, trials, reports)
    storage.close()
    return stored


def fill_study(
    storage: Storage, stored: StoredStudy, trials: int, reports: int, taken: int = 0
) -> None:
    """Writes the trials of a study that has none; `taken` ids belong to other studies' trials."""
    for first in range(0, trials, BATCH):
        with storage.write() as connection:
            rows = Rows(storage, stored, reports, taken)
            for number in range(first, min(trials, first + BATCH)):
                rows.add(number)
            rows.write(connection)


class Rows:
    """What one batch of trials leaves in each table."""

    def __init__(self, storage: Storage, stored: StoredStudy, reports: int, taken: int) -> None:
        self._stored, self._reports, self._taken = stored, reports, taken
        self._worker = f"{taken:032x}"
        self._reflected = MetaData()
        self._reflected.reflect(storage.engine)
        self._distributions = search_space.distributions(stored.spec.space)
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, number: int) -> None:
        """One trial: a random configuration, a curve that falls, pruned or complete."""
        rng = random.Random(number)
        sampler = RandomSampler(seed=number)
        values = {
            name: sampler.sample_independent(None, None, name, distribution)  # type: ignore[arg-type]
            for name, distribution in self._distributions.items()
        }
        budget = self._stored.spec.budget
        config = search_space.configuration(
            self._stored.spec.space,
            values,
            {},
            examples=budget.examples,
            evaluations=self._reports,
        )
        miss = (math.log10(config.learning_rate) + 2) ** 2 / 20
        floor = 2.0 + miss + 0.3 / values["block_size"] + rng.gauss(0, 0.01)
        complete = number % 5 == 0
        curve = [
            [budget.examples * k // self._reports, floor + 0.5 / k, 0.2 * k, floor + 0.4 / k]
            for k in range(1, self._reports + 1)
        ]
        self._optuna(number, values, curve, complete)
        self._ours(number, asdict(config), curve, complete)

    def _optuna(
        self, number: int, values: dict[str, Any], curve: list[list[float]], complete: bool
    ) -> None:
        trial = {"trial_id": self._taken + number + 1}
        times = [datetime.fromtimestamp(t, UTC).replace(tzinfo=None) for t in _times(number)]
        self._put(
            "trials",
            **trial,
            number=number,
            study_id=self._stored.optuna_id,
            state="COMPLETE" if complete else "PRUNED",
            datetime_start=times[0],
            datetime_complete=times[1],
        )
        self._put("trial_values", **trial, objective=0, value=curve[-1][1], value_type="FINITE")
        for name, value in values.items():
            self._put(
                "trial_params",
                **trial,
                param_name=name,
                param_value=self._distributions[name].to_internal_repr(value),
                distribution_json=distribution_to_json(self._distributions[name]),
            )
        for examples, loss, *_ in curve:
            self._put(
                "trial_intermediate_values",
                **trial,
                step=examples,
                intermediate_value=loss,
                intermediate_value_type="FINITE",
            )

    def _ours(
        self, number: int, config: dict[str, Any], curve: list[list[float]], complete: bool
    ) -> None:
        started, ended = _times(number)
        uid = self._stored.uid
        if number == 0:
            self._put(
                "makemore_workers",
                id=self._worker,
                study_uid=uid,
                host="elsewhere",
                pid=1,
                started_at=started,
                seen_at=started + 1e5,
                ended_at=started + 1e5,
            )
        self._put(
            "makemore_slots",
            study_uid=uid,
            ordinal=number,
            state="finished",
            attempt_id=self._taken + number + 1,
            losses=0,
            snapshots=[],
        )
        self._put(
            "makemore_attempts",
            id=self._taken + number + 1,
            study_uid=uid,
            ordinal=number,
            worker_id=self._worker,
            trial=number,
            training_seed=number,
            threads=1,
            device="cpu",
            versions={"torch": "2.13.0"},
            config=config,
            started_at=started,
            ended_at=ended,
            outcome="complete" if complete else "pruned",
            reason=None if complete else "pruner",
            dev_loss=curve[-1][1],
            dev_loss_unseen=curve[-1][1] + 0.01,
            train_loss=curve[-1][3],
            seconds=curve[-1][2],
            examples=curve[-1][0],
            parameters=10_000,
            curve=curve,
            audited=False,
        )

    def _put(self, table: str, **values: Any) -> None:
        self._rows.setdefault(table, []).append(values)

    def write(self, connection: Connection) -> None:
        """Writes everything; our own tables by their definitions, Optuna's as they are found."""
        order = ["trials", "makemore_workers"]
        for name in [*order, *(each for each in self._rows if each not in order)]:
            known = tables.metadata.tables.get(name)
            table: Table = known if known is not None else self._reflected.tables[name]
            if rows := self._rows.get(name):
                connection.execute(insert(table), rows)


def _times(number: int) -> tuple[float, float]:
    return START + number * SECONDS_EACH, START + (number + 1) * SECONDS_EACH


def main() -> None:
    root, *counts = sys.argv[1:]
    stored = fill(DataDir(Path(root)), *map(int, counts))
    print(json.dumps({"study": stored.name, "uid": stored.uid}))


if __name__ == "__main__":
    main()
