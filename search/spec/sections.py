"""The sections of a study file, each validated by itself."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from makemore_core.config import RANGES
from makemore_core.data.corpus_format import CorpusFormat


def parse_duration(raw: Any) -> Any:
    """Seconds out of "90s", "2m", "1h30m" or a number.

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
    """Bytes out of "2GB", "500MB" or a number.

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


READING = ("study.column", "study.separator", "study.count", "study.drop_unusable")
"""How the words are found in the corpus file: the study keeps the words, which count."""


class StudySection(_Section):
    name: Name
    corpus: str = "first-names"
    seed: Seed = 1
    split_seed: Seed = 42
    dedupe: bool = False
    column: Column | None = None
    separator: Separator | None = None
    count: Column | None = None
    drop_unusable: bool = False

    @property
    def layout(self) -> CorpusFormat:
        """Where the words of the corpus file are."""
        return CorpusFormat(self.column, self.separator, self.count, self.drop_unusable)


class BudgetSection(_Section):
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 40
    timeout: Duration | None = None
    target: float | None = None
    examples: Annotated[int, Field(ge=1, le=int(RANGES["examples"].high))] = 1_500_000
    epochs: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """In place of `examples`: how often a full trial sees the train split; see `of_corpus`."""
    evaluations: Annotated[int, Field(ge=1, le=int(RANGES["evaluations"].high))] = 20


class SamplerSection(_Section):
    kind: Literal["tpe", "random", "qmc", "gp"] = "tpe"


class PrunerSection(_Section):
    kind: Literal["asha", "hyperband", "median", "none"] = "asha"
    reduction_factor: Annotated[int, Field(ge=2, le=100)] = 3
    audit: Annotated[float, Field(ge=0, le=1)] = 0.0


class EarlyStoppingSection(_Section):
    patience: Annotated[int, Field(ge=1, le=int(RANGES["patience"].high))] | None = None


class LimitsSection(_Section):
    seconds: Duration | None = None
    memory: Bytes | None = None


class ConfirmSection(_Section):
    ensemble: Annotated[int, Field(ge=0, le=100)] = 0


class FileSections(_Section):
    """All sections of a file; `search` and `enqueue` are checked by the search space."""

    study: StudySection
    budget: BudgetSection = BudgetSection()
    sampler: SamplerSection = SamplerSection()
    pruner: PrunerSection = PrunerSection()
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    limits: LimitsSection = LimitsSection()
    confirm: ConfirmSection = ConfirmSection()
    search: dict[str, Any] = {}
    enqueue: list[dict[str, Any]] = []
