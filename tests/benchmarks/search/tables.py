"""Tables of full learning curves: what `record` writes and `replay` searches.

One file a corpus, `tables/NAME.json`: the facts of the recording, then one line for each curve. The
words themselves are in no table.
"""

import json
import math
import os
import random
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from makemore_core.config import TrialConfig
from search.algorithms.costs import relative_cost
from search.algorithms.samplers import _value_at as value_at
from search.spec.search_space import Value

DIRECTORY = Path(__file__).with_name("tables")

SPACE_VERSION = 2
"""Of the product's defaults; a table keeps its space when later defaults differ."""
RATE = "relative_learning_rate"
"""The learning rate at a batch as large as the network is wide."""
SPACE: Mapping[str, BaseDistribution] = {
    "embedding_size": IntDistribution(8, 128, log=True),
    "hidden_width": IntDistribution(64, 2048, log=True),
    "block_size": IntDistribution(2, 12),
    "batch_size": CategoricalDistribution((32, 64, 128, 256, 512, 1024)),
    RATE: FloatDistribution(1e-3, 0.1, log=True),
    "schedule": CategoricalDistribution(("step", "linear", "cosine")),
    "weight_decay": FloatDistribution(0.01, 1.0, log=True),
    "decay_growth": FloatDistribution(1.0, 2.5),
    "dropout": FloatDistribution(0.0, 0.5),
    "smoothing": FloatDistribution(0.0, 1.0),
}
"""The default space as a sampler sees it."""
FIXED: Mapping[str, Value] = {"optimizer": "adamw", "step_factor": 0.02, "warmup": 0.02}
"""The default space's other values."""
EVALUATIONS = 20
EXAMPLES_SCALE = 1250
"""A full trial's training examples per (characters of the train split, ends included)^(2/3)."""


@dataclass(frozen=True)
class Facts:
    """What a table was recorded on, where and when."""

    corpus: str
    words: int
    symbols: int
    """Characters of the alphabet, the end of a word included."""
    sha256: str
    """Of the file of words."""
    train_examples: int
    """Characters of the train split, the ends of words included."""
    examples: int
    """Training examples of a full trial."""
    evaluations: int
    """Evenly spaced dev evaluations of a full trial."""
    space_version: int
    split_seed: int
    seed: int
    """The training seed of curve i derives from this, i and "training"."""
    commit: str
    date: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Curve:
    """One configuration, trained to its end."""

    index: int
    """Decides the configuration: `drawn(index)`, the same on every corpus."""
    searched: Mapping[str, Value]
    seconds: float
    """Processor seconds of the training thread, evaluations included, until the last evaluation;
    these are evenly spaced in time."""
    losses: tuple[float, ...]
    """Dev losses in nats per character; fewer than planned where the trial diverged."""


@dataclass(frozen=True)
class Table:
    """Curves of random configurations of the default space on one corpus."""

    facts: Facts
    curves: tuple[Curve, ...]
    given_factor: float | None = None
    """Of its virtual time, where it is another table's."""

    @cached_property
    def best(self) -> float:
        """The lowest dev loss of all."""
        return min(loss for curve in self.curves for loss in curve.losses)

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """The virtual seconds of each configuration's full trial: the analytic cost times `factor`.

        A recording on a busy machine is noisy, and what a trial would have taken that diverged is
        not recorded.
        """
        return tuple(self.factor * cost for cost in self._costs)

    @cached_property
    def factor(self) -> float:
        """The median of recorded seconds over costs, or the one that is given."""
        return self.given_factor or statistics.median(
            curve.seconds / cost
            for curve, cost in zip(self.curves, self._costs, strict=True)
            if len(curve.losses) == self.facts.evaluations
        )

    @cached_property
    def _costs(self) -> tuple[float, ...]:
        return tuple(
            relative_cost(asdict(config_of(self.facts, curve.searched)), self.facts.symbols)
            for curve in self.curves
        )

    def with_curves(self, curves: Iterable[Curve]) -> "Table":
        """Returns the table with more curves, in the order of their indices."""
        merged = {curve.index: curve for curve in (*self.curves, *curves)}
        return Table(self.facts, tuple(merged[index] for index in sorted(merged)))

    def save(self, path: Path) -> None:
        """Writes it whole or not at all: the facts, then one line for each curve."""
        head = json.dumps({"facts": asdict(self.facts), "columns": list(SPACE)}, indent=1)
        lines = ",\n".join(
            json.dumps(_as_row(curve), separators=(",", ":")) for curve in self.curves
        )
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(f'{head[:-2]},\n "curves": [\n{lines}\n]}}\n', encoding="utf-8")
        partial.replace(path)


def _as_row(curve: Curve) -> list[Any]:
    return [curve.index, list(curve.searched.values()), curve.seconds, list(curve.losses)]


def third_of(path: Path) -> Path:
    """Returns where the table of the same configurations lies in trials a third as long."""
    return path.with_name(f"{path.stem}-third.json")


def load(path: Path) -> Table:
    """Returns a recorded table."""
    document = json.loads(path.read_text(encoding="utf-8"))
    curves = [
        Curve(index, dict(zip(document["columns"], values, strict=True)), seconds, tuple(losses))
        for index, values, seconds, losses in document["curves"]
    ]
    return Table(Facts(**document["facts"]), tuple(curves))


def drawn(index: int) -> dict[str, Value]:
    """Returns a configuration drawn at random: one uniform number for each hyperparameter, in the
    order of SPACE, from a generator of the index; fractions have four digits."""
    generator = random.Random(f"default-space-{index}")
    values = {name: value_at(among, generator.random()) for name, among in SPACE.items()}
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in values.items()
    }


def examples_of_a_trial(train_examples: int) -> int:
    """Returns the training examples of a full trial, on a train split of so many."""
    return round(EXAMPLES_SCALE * train_examples ** (2 / 3))


def config_of(facts: Facts, searched: Mapping[str, Value]) -> TrialConfig:
    """Returns what is trained; the learning rate goes with the square root of batch over width."""
    values: dict[str, Any] = dict(searched)
    rate = values.pop(RATE) * math.sqrt(values["batch_size"] / values["hidden_width"])
    return TrialConfig(
        **values, learning_rate=rate, **FIXED,  # type: ignore[arg-type]
        examples=facts.examples, evaluations=facts.evaluations,
    )  # fmt: skip
