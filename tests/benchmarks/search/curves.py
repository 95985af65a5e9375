"""A table of full learning curves: what `record` writes and `replay` reads."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.spec.search_space import Value
from search.spec.study_file import StudySpec, from_document

RECORDED = Path(__file__).with_name("curves.json")


@dataclass(frozen=True)
class Curve:
    """One configuration, trained to its end."""

    searched: Mapping[str, Value]
    seconds: tuple[float, ...]
    """Of computing, from the trial's begin to each evaluation."""
    losses: tuple[float, ...]
    """Dev losses; fewer than planned where the trial diverged."""


@dataclass(frozen=True)
class Table:
    """Curves of one study's space and budget."""

    spec: StudySpec
    curves: tuple[Curve, ...]
    about: Mapping[str, Any]
    """Where and when they were recorded."""

    @property
    def best(self) -> float:
        """The lowest dev loss of all."""
        return min(loss for curve in self.curves for loss in curve.losses)

    def thinned(self, evaluations: int) -> "Table":
        """The same trials with fewer evaluations, as if the others had not been made.

        Raises:
            ValueError: they are not evenly spaced among the recorded ones.
        """
        step, rest = divmod(self.spec.budget.evaluations, evaluations)
        if rest:
            raise ValueError(f"{evaluations} does not divide {self.spec.budget.evaluations}")
        curves = [
            Curve(curve.searched, curve.seconds[step - 1 :: step], curve.losses[step - 1 :: step])
            for curve in self.curves
        ]
        spec = self.spec.with_values("budget", evaluations=evaluations)
        return Table(spec, tuple(curves), self.about)

    def save(self, path: Path) -> None:
        """One line for each curve."""
        head = json.dumps({"about": self.about, "study": self.spec.as_document()})
        lines = ",\n".join(json.dumps(dataclasses.asdict(curve)) for curve in self.curves)
        path.write_text(f'{head[:-1]},\n"curves": [\n{lines}\n]}}\n', encoding="utf-8")


def load(path: Path = RECORDED) -> Table:
    """The recorded table."""
    document = json.loads(path.read_text(encoding="utf-8"))
    curves = [
        Curve(each["searched"], tuple(each["seconds"]), tuple(each["losses"]))
        for each in document["curves"]
    ]
    return Table(from_document(document["study"], path), tuple(curves), document["about"])
