"""The hyperparameters of one training run: frozen, validated, with units."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from makemore_core.errors import ConfigError

Schedule = Literal["constant", "step", "linear", "cosine", "inverse"]
Optimizer = Literal["adamw", "sgd"]
Targets = Literal["expected", "sampled"]
Initialisation = Literal["scaled", "lecture"]


@dataclass(frozen=True)
class Range:
    """A closed interval of numbers; with `above`, its lower bound is excluded."""

    low: float
    high: float
    above: bool = False

    def contains(self, value: float) -> bool:
        """Whether the value lies in the interval; NaN does not."""
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        return f"{'above' if self.above else 'from'} {self.low:g} to {self.high:g}"


RANGES: dict[str, Range] = {
    "embedding_size": Range(1, 4096),
    "hidden_width": Range(0, 65536),
    "block_size": Range(1, 64),
    "batch_size": Range(1, 1_048_576),
    "learning_rate": Range(0, 1e6, above=True),
    "step_at": Range(0, 1),
    "step_factor": Range(0, 1),
    "warmup": Range(0, 1),
    "weight_decay": Range(0, 1e6),
    "decay_growth": Range(1, 4),
    "dropout": Range(0, 0.95),
    "smoothing": Range(0, 1),
    "examples": Range(1, 10**13),
    "evaluations": Range(1, 100_000),
    "patience": Range(1, 100_000),
}


@dataclass(frozen=True)
class TrialConfig:
    """One configuration of the network of Bengio et al. 2003 and of its training.

    The defaults of the architecture are the lecture's. Raises ConfigError when a value is of the
    wrong type or out of its range; `value_errors` lists them all.
    """

    embedding_size: int = 10
    """Features of each character's vector (paper: m)."""
    hidden_width: int = 200
    """Units of the tanh layer (paper: h). 0: none, only direct connections (its MLP3)."""
    block_size: int = 3
    """Characters of context (paper: n - 1)."""
    batch_size: int = 32
    """Examples per update."""
    learning_rate: float = 0.1
    """The peak of the schedule."""
    schedule: Schedule = "step"
    """How the learning rate falls over the trial."""
    step_at: float = 0.5
    """The fraction of the trial after which a step schedule falls."""
    step_factor: float = 0.1
    """step: the factor of the fall; linear, cosine, inverse: the last fraction of the peak."""
    warmup: float = 0.0
    """Fraction of the trial over which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """Decay of weights and features, not of biases, per unit of learning rate."""
    decay_growth: float = 1.0
    """Factor by which the decay of the first layer grows with each character further back."""
    dropout: float = 0.0
    """Probability that a hidden unit is zeroed for an example."""
    smoothing: float = 0.0
    """Fraction of the targets that is a Kneser-Ney n-gram's distribution; see `batches.py`."""
    optimizer: Optimizer = "sgd"
    """Plain SGD as in the lecture, or AdamW with decoupled decay."""
    targets: Targets = "expected"
    """`expected`: the distribution of each context's next character; `sampled`: one of them."""
    initialisation: Initialisation = "scaled"
    """`scaled` by fan-in, or the `lecture`'s unscaled normal."""
    direct: bool = False
    """The paper's optional direct connections from features to output (its W)."""
    examples: int = 1_500_000
    """Training examples that a full run sees."""
    evaluations: int = 20
    """Evenly spaced dev evaluations in a full run."""
    patience: int | None = None
    """Evaluations without improvement before it stops; None: never."""

    def __post_init__(self) -> None:
        errors = value_errors(asdict(self))
        if errors:
            raise ConfigError("; ".join(f"{key}: {problem}" for key, problem in errors))

    @property
    def steps(self) -> int:
        """Updates in a full run."""
        return max(1, round(self.examples / self.batch_size))


FIELDS = tuple(f.name for f in fields(TrialConfig))
HYPERPARAMETERS = FIELDS[: FIELDS.index("examples")]
"""The fields that a study may search."""
CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(kind)
    for name, kind in get_type_hints(TrialConfig).items()
    if isinstance((get_args(kind) or (None,))[0], str)
}
INTEGERS = ("embedding_size", "hidden_width", "block_size", "batch_size", "examples", "evaluations")


def value_error(name: str, value: Any) -> str | None:
    """The mistake in one value, or None."""
    if name in CHOICES:
        return (
            None if value in CHOICES[name] else f"{value!r} is none of {', '.join(CHOICES[name])}"
        )
    if name == "direct":
        return None if isinstance(value, bool) else f"{value!r} is neither true nor false"
    if name == "patience" and value is None:
        return None
    whole = name in INTEGERS or name == "patience"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return f"{value!r} is not a {'whole ' if whole else ''}number"
    return None if RANGES[name].contains(value) else f"{value!r} is not {RANGES[name]}"


def value_errors(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every mistake in the values of a configuration, as (key, problem)."""
    errors = [(name, problem) for name in values if (problem := value_error(name, values[name]))]
    if not errors and values.get("schedule") == "inverse" and values.get("step_factor") == 0:
        errors.append(("step_factor", "an inverse schedule never reaches 0; give a share above it"))
    if not errors and values.get("hidden_width") == 0 and not values.get("direct", False):
        errors.append(("hidden_width", NEEDS_DIRECT))
    return errors


NEEDS_DIRECT = "without hidden units, only direct connections remain; give direct = true"

LECTURE = TrialConfig(initialisation="lecture", targets="sampled", examples=200_000 * 32)
"""The lecture's last run: 10 features, 200 units, block 3, 200,000 steps of 32, 0.1 then 0.01."""
