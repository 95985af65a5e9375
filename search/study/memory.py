"""What memory a study needs, told beforehand; what no trial of it could have is refused."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from makemore_core.config import TrialConfig
from makemore_core.data.corpus import Corpus
from makemore_core.data.splits import split
from makemore_core.training import memory
from search.errors import BadInput
from search.machine import process_memory_limit, usable_memory
from search.spec.search_space import Choices, Dimension, FixedValue, RangeDimension, Value
from search.spec.study_file import StudySpec

GROWING = (
    "embedding_size", "hidden_width", "block_size", "batch_size", "smoothing", "direct",
)  # fmt: skip
"""Hyperparameters that take more memory the larger they are."""


@dataclass(frozen=True)
class MemoryNeed:
    """Estimates in bytes, for each worker, and what there is for all of them."""

    program: int
    corpus: int  # at most, with all block sizes that are searched
    least_corpus: int  # what every trial needs of it, whatever its configuration
    smoothing: int  # how much of that no trial would need without smoothing
    largest_network: int  # at the largest corner of the space
    workers: int
    available: int | None  # None: nobody can tell
    limit: int | None  # of a single process

    @property
    def worker(self) -> int:
        """At most, for each worker."""
        return self.program + self.corpus + self.largest_network

    @property
    def all_workers(self) -> int:
        """At most, for all of them; the words are each worker's own."""
        return self.workers * self.worker

    def as_document(self) -> dict[str, Any]:
        """As it stands in JSON."""
        totals = {"worker": self.worker, "all_workers": self.all_workers}
        return {
            f"{name}_bytes" if name != "workers" else name: value
            for name, value in (asdict(self) | totals).items()
        }

    @property
    def is_short(self) -> bool:
        """Whether the largest networks may find no memory."""
        room = (self.available, self.all_workers), (self.limit, self.worker)
        return any(has is not None and has < wants for has, wants in room)


def memory_need(spec: StudySpec, corpus: Corpus, workers: int) -> MemoryNeed:
    """Estimates a study's need; looks at what can be had."""
    words = split(corpus, spec.study.split_seed)
    seen, symbols = [*words.train, *words.dev], len(corpus.vocabulary)
    own = memory.words_bytes(corpus.words)
    most = {name: _extreme(spec, name, max) for name in GROWING}
    blocks = range(_extreme(spec, "block_size", min), most["block_size"] + 1)
    smoothing = 0
    if _extreme(spec, "smoothing", min):
        smoothing = memory.smoothing_bytes(seen, symbols, blocks[0])
    corpus_bytes = own + memory.contexts_bytes(seen, symbols, blocks[-1])
    corpus_bytes += memory.other_blocks_bytes(seen, len(blocks), blocks[-1])
    if most["smoothing"]:
        corpus_bytes += memory.smoothing_bytes(seen, symbols, blocks[-1])
    optimizer = _extreme(spec, "optimizer", min)  # adamw, which holds more, by its name
    largest = TrialConfig(**most, optimizer=optimizer)
    return MemoryNeed(
        program=memory.PROGRAM_BYTES,
        corpus=corpus_bytes,
        least_corpus=own + memory.contexts_bytes(seen, symbols, blocks[0]) + smoothing,
        smoothing=smoothing,
        largest_network=memory.network_bytes(largest, seen, symbols),
        workers=workers,
        available=usable_memory(),
        limit=process_memory_limit(),
    )


def ensure_corpus_fits(spec: StudySpec, corpus: Corpus, workers: int) -> MemoryNeed:
    """A study's need, if its corpus leaves every trial a chance.

    The largest networks of the space are no reason: their trials end `out of memory`, and others
    do not. Nor is a machine that has hardly room for the program: then the corpus gets half of it.

    Raises:
        BadInput: the words alone take more than can be had.
    """
    need = memory_need(spec, corpus, workers)
    each = need.least_corpus
    fitting = workers
    for room, sharing in ((need.available, workers), (need.limit, 1)):
        if room is not None:
            left = max(room - sharing * need.program, room // 2)
            fitting = min(fitting, workers if sharing * each <= left else left // each)
    if fitting == workers:
        return need
    room = need.available if need.limit is None else min(need.limit, need.available or need.limit)
    remedies = [f"fewer workers (--workers {fitting})"] if fitting and workers > 1 else []
    remedies += ["smoothing = 0 in [search]"] if need.smoothing > each // 2 else []
    raise BadInput(
        f"study {spec.study.name}: the words of {corpus.name} take about {format_bytes(each)} in "
        f"each of {workers} worker{'s' * (workers > 1)}, whatever the network, and "
        f"{format_bytes(room or 0)} can be had; what helps: "
        f"{', '.join([*remedies, 'a machine with more memory, or fewer words'])}"
    )


def format_bytes(number: int) -> str:
    """As people say it, in two digits.

    >>> format_bytes(1_234_567_890), format_bytes(56_789_000)
    ('1.2 GB', '57 MB')
    """
    if number >= 10**9:
        return f"{number / 1e9:.{0 if number >= 10**10 else 1}f} GB"
    return f"{max(1, math.ceil(number / 1e6))} MB"


def _extreme(spec: StudySpec, name: str, extreme: Any) -> Any:
    """The smallest or largest value of a hyperparameter, the enqueued ones included."""
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
    raise LookupError("a learning rate has no part in this")
