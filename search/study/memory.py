"""Estimates the memory of a study, and refuses a corpus that fits into no trial."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from makemore_core.config import TrialConfig
from makemore_core.data.corpus import Corpus
from makemore_core.data.splits import split
from makemore_core.training import memory
from search.errors import BadInput
from search.spec.search_space import Choices, Dimension, FixedValue, RangeDimension, Value
from search.spec.study_spec import StudySpec
from search.system.machine import process_memory_limit, usable_memory

INCREASING = (
    "embedding_size", "hidden_width", "block_size", "batch_size", "smoothing", "direct",
)  # fmt: skip
"""Hyperparameters that take more memory the larger they are."""


@dataclass(frozen=True)
class MemoryNeed:
    """Estimates in bytes for one worker, and what is available to all of them."""

    program: int
    corpus: int  # upper bound, with contexts for every block size of the space
    least_corpus: int  # lower bound, which every trial needs
    smoothing: int  # the part of `least_corpus` due to smoothing
    largest_network: int  # at the largest corner of the space
    workers: int
    available: int | None  # None: unknown
    limit: int | None  # of a single process; None: none

    @property
    def worker(self) -> int:
        """Upper bound for one worker."""
        return self.program + self.corpus + self.largest_network

    @property
    def all_workers(self) -> int:
        """Upper bound for all workers, each of which holds the words."""
        return self.workers * self.worker

    def as_document(self) -> dict[str, Any]:
        """Returns the estimate as JSON."""
        totals = {"worker": self.worker, "all_workers": self.all_workers}
        return {
            f"{name}_bytes" if name != "workers" else name: value
            for name, value in (asdict(self) | totals).items()
        }

    @property
    def is_short(self) -> bool:
        """Whether the largest networks may run out of memory."""
        pairs = (self.available, self.all_workers), (self.limit, self.worker)
        return any(available is not None and available < needed for available, needed in pairs)


def memory_need(spec: StudySpec, corpus: Corpus, workers: int) -> MemoryNeed:
    """Estimates a study's need and reads what this machine has available."""
    words = split(corpus, spec.study.split_seed)
    used, symbols = [*words.train, *words.dev], len(corpus.vocabulary)
    words_bytes = memory.words_bytes(corpus.words)
    largest_values = {name: _extreme(spec, name, max) for name in INCREASING}
    blocks = range(_extreme(spec, "block_size", min), largest_values["block_size"] + 1)
    smoothing = 0
    if _extreme(spec, "smoothing", min):
        smoothing = memory.smoothing_bytes(used, symbols, blocks[0])
    corpus_bytes = words_bytes + memory.contexts_bytes(used, symbols, blocks[-1])
    corpus_bytes += memory.other_blocks_bytes(used, len(blocks), blocks[-1])
    if largest_values["smoothing"]:
        corpus_bytes += memory.smoothing_bytes(used, symbols, blocks[-1])
    optimizer = _extreme(spec, "optimizer", min)  # adamw, which holds more, by its name
    largest = TrialConfig(**largest_values, optimizer=optimizer)
    return MemoryNeed(
        program=memory.PROGRAM_BYTES,
        corpus=corpus_bytes,
        least_corpus=words_bytes + memory.contexts_bytes(used, symbols, blocks[0]) + smoothing,
        smoothing=smoothing,
        largest_network=memory.network_bytes(largest, used, symbols),
        workers=workers,
        available=usable_memory(),
        limit=process_memory_limit(),
    )


def ensure_corpus_fits(spec: StudySpec, corpus: Corpus, workers: int) -> MemoryNeed:
    """Returns a study's need, unless its words alone leave no trial enough memory.

    Networks that are too large are not refused: their trials end `out of memory`, others run. On a
    machine with hardly enough memory for the program the corpus may take half of it.

    Raises:
        BadInput: the words alone take more memory than is available.
    """
    need = memory_need(spec, corpus, workers)
    corpus_bytes = need.least_corpus
    fitting = workers
    for available, sharing in ((need.available, workers), (need.limit, 1)):
        if available is not None:
            left = max(available - sharing * need.program, available // 2)
            fits = sharing * corpus_bytes <= left
            fitting = min(fitting, workers if fits else left // corpus_bytes)
    if fitting == workers:
        return need
    bounds = [bound for bound in (need.available, need.limit) if bound]
    remedies = [f"fewer workers (--workers {fitting})"] if fitting and workers > 1 else []
    remedies += ["smoothing = 0 in [search]"] if need.smoothing > corpus_bytes // 2 else []
    raise BadInput(
        f"study {spec.study.name}: the words of {corpus.name} take about "
        f"{format_bytes(corpus_bytes)} in each of {workers} worker{'s' * (workers > 1)}, whatever "
        f"the network, and {format_bytes(min(bounds, default=0))} are available; what helps: "
        f"{', '.join([*remedies, 'a machine with more memory, or fewer words'])}"
    )


def format_bytes(number: int) -> str:
    """Formats bytes as text, in two digits.

    >>> format_bytes(1_234_567_890), format_bytes(56_789_000)
    ('1.2 GB', '57 MB')
    """
    if number >= 10**9:
        return f"{number / 1e9:.{0 if number >= 10**10 else 1}f} GB"
    return f"{max(1, math.ceil(number / 1e6))} MB"


def _extreme(spec: StudySpec, name: str, extreme: Any) -> Any:
    """Returns the smallest or largest value of a hyperparameter, enqueued values included."""
    enqueued = [values[name] for values in spec.enqueue if name in values]
    return extreme([*_bounds(spec.space[name]), *enqueued])


def _bounds(dimension: Dimension) -> tuple[Value, ...]:
    match dimension:
        case FixedValue(value):
            return (value,)
        case Choices(values):
            return values
        case RangeDimension():
            return (dimension.low, dimension.high)
    raise LookupError("a learning rate takes no memory")
