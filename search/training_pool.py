"""Local processes that train known configurations: no sampler, no pruner, nothing to resume."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from makemore_core.corpus import Corpus
from search.errors import SearchError


@dataclass(frozen=True)
class Job:
    """One configuration to be trained on one fresh seed."""

    trial: int
    seed_index: int
    seed: int
    config: dict[str, Any]
    expected_seconds: float

    @property
    def key(self) -> tuple[int, int]:
        return self.trial, self.seed_index


@dataclass(frozen=True)
class Trained:
    """A confirmed model, as recorded."""

    trial: int
    seed_index: int
    seed: int
    dev_loss: float
    dev_loss_unseen: float | None
    seconds: float
    checkpoint_sha256: str

    @property
    def key(self) -> tuple[int, int]:
        return self.trial, self.seed_index


class TrainingPool:
    """So many processes, started at once; they end with the `with` block, whatever ends it."""

    def __init__(self, corpus: Corpus, split_seed: int, processes: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        given = (corpus, split_seed, threads)
        self.processes = processes
        self._pool = ProcessPoolExecutor(processes, context, _prepare, given)
        self._started = time.monotonic()
        self._answers = [self._pool.submit(_answer) for _ in range(processes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()

    def ready(self) -> float:
        """Waits until the processes can train; returns the seconds since they were started."""
        wait(self._answers)
        return time.monotonic() - self._started

    def train(
        self, jobs: Sequence[Job], path_of: Callable[[Job], Path]
    ) -> Iterator[tuple[Job, Trained]]:
        """Trains every job and writes its checkpoint; yields each as it is done.

        Raises:
            SearchError: a process died.
        """
        try:
            futures = {self._pool.submit(_train, job, path_of(job)): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise SearchError(
                "a training process died; what was done is kept, and the same command goes on"
            ) from None


_bench: dict[str, Any] = {}
"""Of a pool's process: what `_prepare` made for `_train`."""


def _prepare(corpus: Corpus, split_seed: int, threads: int) -> None:
    """Runs once in each process of the pool. Ctrl-C is the launcher's to handle."""
    from makemore_core.contexts import Data
    from makemore_core.warm_up import warm_up

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    _bench.update(data=Data.of(corpus, split_seed), threads=threads)


def _answer() -> None:
    """Returns as soon as a process of the pool is prepared."""


def _train(job: Job, path: Path) -> Trained:
    """Runs in a process of the pool."""
    from makemore_core import checkpoint
    from makemore_core.config import TrialConfig
    from makemore_core.trainer import train

    result = train(TrialConfig(**job.config), _bench["data"], job.seed, threads=_bench["threads"])
    about = {"trial": job.trial, "seed": job.seed, "dev_loss": result.dev_loss}
    sha256 = checkpoint.save(path, result.model, about)
    return Trained(
        trial=job.trial,
        seed_index=job.seed_index,
        seed=job.seed,
        dev_loss=result.dev_loss,
        dev_loss_unseen=result.dev_loss_unseen,
        seconds=result.train_seconds,
        checkpoint_sha256=sha256,
    )
