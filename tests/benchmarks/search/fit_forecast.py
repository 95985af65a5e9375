"""Fits what `search.algorithms.forecast` believes before a study's first trials.

It pools the recorded curves of the design corpora and writes `search/algorithms/forecast.json`:
for each evaluation the coefficients of a ridge regression of the ends, and its residuals.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

from search.algorithms import curve_features, forecast
from search.algorithms.curve_features import ConfigurationFeatures
from tests.benchmarks.search import tables, word_lists
from tests.benchmarks.search.tables import SPACE, Table

Floats = NDArray[np.float64]

OUTPUT = Path(forecast.__file__).with_name("forecast.json")
RIDGE = 3.0
"""Pseudo-observations of each corpus that say that a trial ends at the level that it has."""
STUDIES, SIZE = 8, 16
"""Each corpus is seen as so many studies of so many random trials: losses are measured from the
lowest of a study."""
EXTRA_RANGES = {"batch_size": (32.0, 1024.0, True)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", type=Path, default=tables.DIRECTORY, help="a directory")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)


def main(given: argparse.Namespace) -> None:
    names = word_lists.of_use("design")
    document = fitted([tables.load(given.tables / f"{name}.json") for name in names])
    given.output.write_text(as_text(document), encoding="utf-8")
    print(f"{given.output}: {len(document['features'])} features, from {', '.join(names)}")


def fitted(recorded: Sequence[Table]) -> dict[str, Any]:
    """Returns the content of `forecast.json`."""
    ranges = _ranges()
    configurations = ConfigurationFeatures(SPACE, ranges)
    columns: list[Floats] = []
    noise: list[float] = []
    names: list[str] = []
    for evaluation in range(1, tables.EVALUATIONS + 1):
        rows, ends = [], []
        for table in recorded:
            for features, end in _studies(table, configurations, evaluation, names):
                rows.append(features)
                ends.append(end)
        coefficients, residual = _ridge(np.vstack(rows), np.concatenate(ends), names, len(recorded))
        columns.append(coefficients)
        noise.append(residual)
    return {
        "ranges": ranges,
        "features": names,
        "coefficients": [[round(float(each), 4) for each in row] for row in columns],
        "noise": [round(each, 4) for each in noise],
    }


def _ranges() -> dict[str, tuple[float, float, bool]]:
    found = {
        name: (float(each.low), float(each.high), each.log)
        for name, each in SPACE.items()
        if isinstance(each, IntDistribution | FloatDistribution)
    }
    return found | EXTRA_RANGES


def _studies(
    table: Table, configurations: ConfigurationFeatures, evaluation: int, names: list[str]
) -> list[tuple[Floats, Floats]]:
    """Features and ends of a table's complete curves, as random studies would measure them; sets
    `names` to those of the features."""
    curves = [each for each in table.curves if len(each.losses) == tables.EVALUATIONS]
    losses = np.array([each.losses for each in curves])
    of_configurations = configurations.of([each.searched for each in curves])
    random = np.random.default_rng(0)
    found = []
    for _ in range(STUDIES):
        lowest = losses[random.choice(len(curves), SIZE, replace=False)].min()
        scaled = np.arcsinh((losses - lowest) / forecast.LOSS_SCALE)
        of_curves = curve_features.of_curves(scaled[:, :evaluation])
        names[:], features = curve_features.joined(
            configurations.names, of_configurations, of_curves
        )
        found.append((features, scaled.min(axis=1)))
    return found


def _ridge(
    features: Floats, ends: Floats, names: Sequence[str], corpora: int
) -> tuple[Floats, float]:
    """Coefficients of a ridge regression towards "it ends at its level", and the residuals' root
    mean square."""
    start = np.array([float(name == curve_features.LEVEL) for name in names])
    free = np.array([name in (curve_features.INTERCEPT, curve_features.LEVEL) for name in names])
    penalty = np.diag(np.where(free, 1e-3, RIDGE * STUDIES * corpora / 2))
    change = np.linalg.solve(
        features.T @ features + penalty, features.T @ (ends - features @ start)
    )
    coefficients = start + change
    return coefficients, float(np.sqrt(np.mean(np.square(ends - features @ coefficients))))


def as_text(document: Mapping[str, Any]) -> str:
    """A JSON text with one line for each evaluation."""
    rows = ",\n  ".join(json.dumps(row) for row in document["coefficients"])
    head = {key: document[key] for key in ("ranges", "features", "noise")}
    return f'{json.dumps(head, indent=1)[:-2]},\n "coefficients": [\n  {rows}\n ]\n}}\n'
