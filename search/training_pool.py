"""Local processes that train known configurations: no sampler, no pruner, nothing to resume."""

import contextlib
import multiprocessing
import signal
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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
    expected_seconds: float  # as the searched trial took
    expected_first_seconds: float  # of these, until its first evaluation

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
    """So many processes; they end with the `with` block, whatever ends it."""

    def __init__(self, corpus: Corpus, split_seed: int, processes: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        given = (corpus, split_seed, threads)
        self.processes = processes
        self._pool = ProcessPoolExecutor(processes, context, _prepare, given)

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

    def pace(self, job: Job) -> float:
        """Starts the processes and has each train a job as far as its first evaluation, all at
        once: how many times as long that takes as it took in the search.

        Raises:
            SearchError: a process died.
        """
        with _death_told():
            rehearsals = [self._pool.submit(_rehearse, job) for _ in range(self.processes)]
            took = statistics.mean(rehearsal.result() for rehearsal in rehearsals)
        return took / job.expected_first_seconds

    def train(
        self, jobs: Sequence[Job], path_of: Callable[[Job], Path]
    ) -> Iterator[tuple[Job, Trained]]:
        """Trains every job and writes its checkpoint; yields each as it is done.

        Raises:
            SearchError: a process died.
        """
        with _death_told():
            futures = {self._pool.submit(_train, job, path_of(job)): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()


@contextlib.contextmanager
def _death_told() -> Iterator[None]:
    try:
        yield
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


class _Enough(Exception):
    """The rehearsal has seen its first evaluation."""


def _rehearse(job: Job) -> float:
    """Runs in a process of the pool; seconds of the training loop until its first evaluation."""
    from makemore_core.config import TrialConfig
    from makemore_core.trainer import Evaluation, train

    seen: list[Evaluation] = []

    def stop(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        raise _Enough

    config = TrialConfig(**job.config)
    with contextlib.suppress(_Enough):
        train(config, _bench["data"], job.seed, threads=_bench["threads"], on_evaluation=stop)
    return seen[0].seconds


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
