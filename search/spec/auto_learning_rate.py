"""`learning_rate = "auto"`: a decade about what the range test suggests for the study's own space.

The test (`makemore_core/lecture/lr_range.py`) runs once, when the study is created, on the study's
training split, with its seed, in the middle of its space: the middle of each range (of its exponent
where the range is logarithmic), the median of numeric choices, the first of other choices. The
range is half a decade to each side of the suggestion, in two digits; an enqueued learning rate
widens it. It is stored with the study like any other range, so that a resumed study runs no test.
"""

import math
from typing import Any

from makemore_core.config import TrialConfig
from makemore_core.data.corpus import Corpus
from search.spec.search_space import (
    AutoRange,
    Choices,
    Dimension,
    FixedValue,
    RangeDimension,
    Value,
)
from search.spec.study_spec import StudySpec

HALF_DECADE = math.sqrt(10)
"""The range reaches from the suggestion divided by this to the suggestion times this."""

KEY = "learning_rate"


def resolve_auto(spec: StudySpec, corpus: Corpus) -> StudySpec:
    """Returns the study with a plain range where its file says "auto".

    Raises:
        Diverged: the middle of the space cannot be trained at any learning rate.
    """
    if not isinstance(spec.space[KEY], AutoRange):
        return spec
    from makemore_core.data.dataset import Dataset  # torch, which a launcher does without
    from makemore_core.lecture.lr_range import lr_range

    data = Dataset.from_corpus(corpus, spec.study.split_seed)
    suggested = lr_range(middle(spec), data, spec.study.seed).suggested
    rates = [float(values[KEY]) for values in spec.enqueue if KEY in values]
    low = min([_rounded(suggested / HALF_DECADE), *rates])
    high = max([_rounded(suggested * HALF_DECADE), *rates])
    return _with_range(spec, RangeDimension(low, high, log=True, integer=False, auto=True))


def adopt_stored_range(spec: StudySpec, stored: StudySpec) -> StudySpec:
    """Returns the study with the range that "auto" gave the stored one when it was created."""
    adopted = stored.space[KEY]
    if (
        isinstance(spec.space[KEY], AutoRange)
        and isinstance(adopted, RangeDimension)
        and adopted.auto
    ):
        return _with_range(spec, adopted)
    return spec


def middle(spec: StudySpec) -> TrialConfig:
    """Returns the configuration in the middle of a study's space."""
    values: dict[str, Any] = {
        name: _middle(kind) for name, kind in spec.space.items() if not isinstance(kind, AutoRange)
    }
    return TrialConfig(**values)


def _middle(kind: Dimension) -> Value:
    if isinstance(kind, FixedValue):
        return kind.value
    if isinstance(kind, Choices):
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in kind.values)
        return sorted(kind.values)[len(kind.values) // 2] if numbers else kind.values[0]
    assert isinstance(kind, RangeDimension)
    mean = math.sqrt(kind.low * kind.high) if kind.log else (kind.low + kind.high) / 2
    return round(mean) if kind.integer else mean


def _with_range(spec: StudySpec, dimension: RangeDimension) -> StudySpec:
    return spec.with_values("search", **{KEY: dimension.to_document()})


def _rounded(rate: float) -> float:
    """Rounds to two significant digits."""
    return float(f"{rate:.2g}")
