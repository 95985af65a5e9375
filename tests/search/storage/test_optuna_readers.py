"""What Optuna's own readers show of a study is what ours shows, in whatever time zone."""

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi
from sqlalchemy import select
from workspace import Workspace
from wsgi import Client

from search.spec import search_space
from search.storage import tables
from search.study.study import resolve
from search.trials import results
from search.trials.results import TrialView

SECONDS_OF_A_ZONE = 900.0
"""Less than the offset of any time zone that is not UTC; a trial's two records of a moment are
written within one transaction."""

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Shown:
    """The study `tiny` as Optuna opens its database, beside what the program's own views say."""

    storage: RDBStorage
    study: optuna.Study
    views: dict[int, TrialView]
    moments: dict[int, tuple[float, float]]
    searched: set[str]

    @property
    def complete(self) -> dict[int, float | None]:
        return {n: view.dev_loss for n, view in self.views.items() if view.state == "complete"}


@pytest.fixture
def shown(zone: str, bed: Workspace) -> Iterator[Shown]:
    """A study of ten trials, made and read in a time zone."""
    stored = bed.create(budget={"trials": 10})
    bed.work(stored)
    a = tables.attempts
    with bed.storage.read() as connection:
        rows = connection.execute(select(a.c.trial, a.c.started_at, a.c.ended_at)).all()
    with bed.optuna_storage() as storage:
        yield Shown(
            storage,
            optuna.load_study(study_name=stored.name, storage=storage),
            {view.number: view for view in results.trials(bed.storage, stored)},
            {row.trial: (row.started_at, row.ended_at) for row in rows},
            set(search_space.distributions(resolve(bed.storage, "tiny").spec.space)),
        )


def in_zones(test: Any) -> Any:
    """The test, in UTC and in New York."""
    zones = ["UTC", "America/New_York"]
    return pytest.mark.parametrize("zone", zones, indirect=True)(test)


def expect_times(shown: Shown, number: int, start: datetime, complete: datetime) -> None:
    """A trial's times, in this machine's zone, are the moments that its attempt has."""
    began, ended = shown.moments[number]
    assert began - 1.0 <= start.timestamp() <= complete.timestamp() <= ended + 1.0
    assert abs(complete.timestamp() - ended) < SECONDS_OF_A_ZONE
    assert abs(start.timestamp() - began) < SECONDS_OF_A_ZONE


@in_zones
def test_load_study(shown: Shown, zone: str) -> None:
    """Every trial: its number, state, value, parameters, reason and times; and the best of them."""
    assert [*shown.views] == [trial.number for trial in shown.study.trials]
    for trial in shown.study.trials:
        view = shown.views[trial.number]
        assert view.state == STATES[trial.state.name]
        assert view.dev_loss == trial.value
        assert {name: view.config[name] for name in shown.searched} == trial.params
        assert view.reason == trial.user_attrs.get("reason")
        assert trial.datetime_start is not None and trial.datetime_complete is not None
        expect_times(shown, trial.number, trial.datetime_start, trial.datetime_complete)
    best = min(shown.complete, key=lambda n: (shown.complete[n], n))
    assert (best, shown.complete[best]) == (
        shown.study.best_trial.number,
        shown.study.best_value,
    )


@in_zones
def test_trials_dataframe(shown: Shown, zone: str) -> None:
    """The same as a table of pandas; CI has pandas."""
    if importlib.util.find_spec("pandas") is None and not os.environ.get("CI"):
        pytest.skip("pandas is not installed")
    frame = shown.study.trials_dataframe()
    assert [*shown.views] == frame["number"].tolist()
    for row in frame.to_dict("records"):
        view = shown.views[row["number"]]
        assert view.state == STATES[row["state"]]
        assert view.dev_loss == row["value"]
        assert {name: view.config[name] for name in shown.searched} == {
            name: row[f"params_{name}"] for name in shown.searched
        }
        times = row["datetime_start"], row["datetime_complete"]
        expect_times(shown, row["number"], *(time.to_pydatetime() for time in times))


@in_zones
def test_visualization(shown: Shown, zone: str) -> None:
    """The history of losses, the learning curves and the timeline."""
    history = optuna.visualization.plot_optimization_history(shown.study).data[0]
    assert shown.complete == dict(zip(history.x, history.y, strict=True))
    curves = optuna.visualization.plot_intermediate_values(shown.study).data
    reported = [trial for trial in shown.study.trials if trial.intermediate_values]
    assert [trial.number for trial in reported] == [
        int(curve.name.removeprefix("Trial")) for curve in curves
    ]
    timeline = optuna.visualization.plot_timeline(shown.study).data
    bars = {
        number: datetime.fromisoformat(str(start))
        for bar in timeline
        for number, start in zip(bar.y, bar.base, strict=True)
    }
    assert shown.views.keys() == bars.keys()
    for number, start in bars.items():
        assert abs(start.timestamp() - shown.moments[number][0]) < SECONDS_OF_A_ZONE


@in_zones
def test_importance(shown: Shown, zone: str) -> None:
    """Every searched hyperparameter that varies has a share; they sum to one."""
    importances = optuna.importance.get_param_importances(
        shown.study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    assert importances.keys() <= shown.searched
    assert 1.0 == pytest.approx(sum(importances.values()))


@in_zones
def test_plain_dashboard(shown: Shown, zone: str) -> None:
    """optuna-dashboard over the same database, without any part of ours."""
    client = Client(wsgi(shown.storage))
    trials = client.get(f"/api/studies/{shown.study._study_id}").json["trials"]
    assert [*shown.views] == [trial["number"] for trial in trials]
    for trial in trials:
        view = shown.views[trial["number"]]
        assert view.state == STATES[trial["state"].upper()]
        assert [] == trial.get("values", []) or [view.dev_loss] == trial["values"]
        params = {each["name"]: each["param_external_value"] for each in trial["params"]}
        assert {name: str(view.config[name]) for name in shown.searched} == params
        times = trial["datetime_start"], trial["datetime_complete"]
        expect_times(shown, trial["number"], *map(datetime.fromisoformat, times))
