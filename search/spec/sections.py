"""The sections of a study file, each validated by itself.

`trials` and the kinds of sampler and pruner have their defaults in `defaults.py`, by version.
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from makemore_core.config import RANGES
from makemore_core.data.corpus_format import CorpusFormat


def parse_duration(raw: Any) -> Any:
    """Parses "90s", "2m", "1h30m" or a number as seconds.

    >>> parse_duration("1h30m")
    5400.0
    """
    if not isinstance(raw, str):
        return raw
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", raw.strip())
    if not parts or not any(parts.groups()):
        raise ValueError(f"{raw!r} is not a duration such as 90s, 2m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def parse_memory(raw: Any) -> Any:
    """Parses "2GB", "500MB" or a number as bytes.

    >>> parse_memory("2GB")
    2000000000
    """
    if not isinstance(raw, str):
        return raw
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kB|MB|GB|KiB|MiB|GiB)", raw.strip())
    if not parts:
        raise ValueError(f"{raw!r} is not a size such as 500MB or 2GB")
    unit = {"k": 1, "K": 1, "M": 2, "G": 3}[parts[2][0]]
    return int(float(parts[1]) * (1024 if "i" in parts[2] else 1000) ** unit)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]


Bytes = Annotated[int, BeforeValidator(parse_memory), Field(gt=0)]


Seed = Annotated[int, Field(ge=0, lt=2**63)]


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f]+$")]


Column = Annotated[int, Field(ge=1, le=10_000)]


Separator = Annotated[str, Field(min_length=1, max_length=20)]


LAYOUT_FIELDS = ("study.column", "study.separator", "study.count", "study.drop_unusable")
"""Where the words are in the corpus file; the stored words define a study, not their place."""


class StudySection(_Section):
    """What is searched on: a name, words, and seeds."""

    name: Name
    """The study's name in the storage."""
    corpus: str = "first-names"
    """A built-in corpus, or the path of a text file with one word per line."""
    seed: Seed = 1
    """The seed of the search; every other seed but that of the split follows from it."""
    split_seed: Seed = 42
    """The seed of the split of the words into 80% train, 10% dev and 10% test."""
    dedupe: bool = False
    """Whether repeated words are dropped before the split."""
    column: Column | None = None
    """In a table: the column of the words, counted from 1."""
    separator: Separator | None = None
    """In a table: what stands between columns, or `tab`, `blanks` or `none`; by default found."""
    count: Column | None = None
    """In a table: the column that says how often each word occurs."""
    drop_unusable: bool = False
    """Whether lines that cannot be words are left out and counted, instead of refused."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Workers that serve all studies take one of a higher priority first."""
    max_workers: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The most workers that train at the same time; left out: as many as there are."""

    @property
    def layout(self) -> CorpusFormat:
        """The layout of the corpus file."""
        return CorpusFormat(self.column, self.separator, self.count, self.drop_unusable)


UNRESOLVED = 0
"""The examples of a full trial before the corpus is known that they follow from."""


class BudgetSection(_Section):
    """How long the study and each of its trials are."""

    trials: Annotated[int, Field(ge=1, le=1_000_000)]
    """Finished trials (complete or pruned): exactly this many."""
    timeout: Duration | None = None
    """Working time of the study over all resumes, such as "90s", "2m" or "1h30m"."""
    target: float | None = None
    """The study ends once a dev loss is at or below it."""
    examples: Annotated[int, Field(ge=1, le=int(RANGES["examples"].high))] = UNRESOLVED
    """Training examples that a full trial sees; by default 1,250 N^(2/3) for a train split of N
    characters, ends included."""
    epochs: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """In place of `examples`: how often a full trial sees the train split."""
    evaluations: Annotated[int, Field(ge=1, le=int(RANGES["evaluations"].high))] = 20
    """Evenly spaced dev evaluations of a full trial: its curve, and the pruner's rungs."""


class SamplerSection(_Section):
    """How configurations are chosen."""

    kind: Literal["tpe", "bayes", "random", "qmc", "gp"]
    """Optuna's TPE, our own Bayesian optimization, random search, a scrambled Sobol sequence, or
    Optuna's Gaussian process."""


class PrunerSection(_Section):
    """Which trials are stopped early."""

    kind: Literal["asha", "hyperband", "median", "predictive", "none"]
    """Successive halving, Hyperband, the median rule, a prediction of each trial's end, or none."""
    reduction_factor: Annotated[int, Field(ge=2, le=100)] = 3
    """`asha`, `hyperband`: one trial in this many passes each rung."""
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """`predictive`: a trial is stopped once it is less probable than this to end as the best."""
    audit: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the trials to be pruned that run to their end, to measure what pruning costs."""


class EarlyStoppingSection(_Section):
    """When a trial ends by itself."""

    patience: Annotated[int, Field(ge=1, le=int(RANGES["patience"].high))] | None = None
    """Evaluations without improvement; never before a `step` schedule has fallen."""


class LimitsSection(_Section):
    """What one trial may use; a trial over a limit is pruned."""

    seconds: Duration | None = None
    """Training time of a trial."""
    memory: Bytes | None = None
    """Memory of a trial, such as "500MB" or "2GB"."""


class ConfirmSection(_Section):
    """What `confirm` names as the winner."""

    ensemble: Annotated[int, Field(ge=0, le=100)] = 0
    """Above 0: an ensemble of up to this many models is the winner."""


def _check_webhook(raw: Any) -> Any:
    """Raises ValueError without the address, which may hold a secret."""
    if raw is None:
        return None
    if not isinstance(raw, str):
        raise ValueError("is not text")
    try:
        parts = urlsplit(raw)
        port_is_valid = parts.port != 0
    except ValueError:
        port_is_valid = False
    is_plain = raw.isascii() and raw.isprintable() and " " not in raw and len(raw) <= 2000
    if not (port_is_valid and is_plain and parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError("is not an address such as https://HOST/PATH")
    return raw


Event = Literal["done", "improved", "trouble"]


class NotifySection(_Section):
    """Whom the service tells what became of the study, by an HTTP request."""

    url: Annotated[str | None, BeforeValidator(_check_webhook), Field(repr=False)] = None
    """The address of a webhook; whoever reads the file or the database knows it."""
    on: Annotated[list[Event], Field(min_length=1)] = ["done", "improved", "trouble"]
    """`done`: the budget is met; `improved`: a dev loss reached the target; `trouble`: its workers
    gave up."""
    target: float | None = None
    """The dev loss of `improved`; by default the target under [budget]."""


class FileSections(_Section):
    """All sections of a study file; `search_space` checks `search` and `enqueue`."""

    study: StudySection
    budget: BudgetSection
    sampler: SamplerSection
    pruner: PrunerSection
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    limits: LimitsSection = LimitsSection()
    confirm: ConfirmSection = ConfirmSection()
    notify: NotifySection = NotifySection()
    search: dict[str, Any] = {}
    enqueue: list[dict[str, Any]] = []
