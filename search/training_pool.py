"""Local processes that train known configurations: no sampler, no pruner, nothing to resume."""

import contextlib
import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from makemore_core.corpus import Corpus
from search.errors import SearchError

REHEARSAL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """One configuration to be trained on one fresh seed."""

    trial: int
    seed_index: int
    seed: int
    config: dict[str, Any]
    searched_seconds: Sequence[float]  # of the searched trial's loop, until each evaluation

    @property
    def key(self) -> tuple[int, int]:
        return self.trial, self.seed_index

    @property
    def expected_seconds(self) -> float:
        """As the searched trial took."""
        return self.searched_seconds[-1]


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


@dataclass(frozen=True)
class Pace:
    """How fast this machine trains now."""

    factor: float  # a training's seconds, over those of the searched one
    overhead: float  # seconds of a training beside its loop: its start, the loss on train

    def seconds(self, job: Job) -> float:
        """What a job will take."""
        return self.factor * job.expected_seconds + self.overhead


class TrainingPool:
    """So many processes; they end with the `with` block, whatever ends it."""

    def __init__(self, corpus: Corpus, split_seed: int, processes: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        given = (corpus, split_seed, threads, context.Barrier(processes))
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

    def rehearse(self, job: Job) -> Pace:
        """Starts the processes and has each train the first second or so of a job, all at once:
        alone each would be faster than beside the others.

        Raises:
            SearchError: a process died.
        """
        with _death_told():
            futures = [self._pool.submit(_rehearse, job) for _ in range(self.processes)]
            found = [future.result() for future in futures]
        return Pace(
            factor=statistics.mean(each.factor for each in found),
            overhead=statistics.mean(each.overhead for each in found),
        )

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


def _prepare(corpus: Corpus, split_seed: int, threads: int, all_prepared: Barrier) -> None:
    """Runs once in each process of the pool, until all are prepared. Ctrl-C is the launcher's to
    handle."""
    from makemore_core.data import Data
    from makemore_core.warm_up import warm_up

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    _bench.update(data=Data.of(corpus, split_seed), threads=threads)
    all_prepared.wait()


class _Enough(Exception):
    """The rehearsal has taken its second."""


def _rehearse(job: Job) -> Pace:
    """Runs in a process of the pool."""
    from makemore_core.config import TrialConfig
    from makemore_core.trainer import Evaluation, train

    seen: list[Evaluation] = []

    def stop(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if evaluation.seconds >= REHEARSAL_SECONDS or len(seen) == len(job.searched_seconds):
            raise _Enough

    config, data, threads = TrialConfig(**job.config), _bench["data"], _bench["threads"]
    with contextlib.suppress(_Enough):
        train(config, data, job.seed, threads=threads, on_evaluation=stop)
    one_step = replace(config, examples=config.batch_size, evaluations=1, schedule="constant")
    started = time.monotonic()
    shortest = train(one_step, data, job.seed, threads=threads)
    return Pace(
        factor=seen[-1].seconds / job.searched_seconds[len(seen) - 1],
        overhead=time.monotonic() - started - shortest.train_seconds,
    )


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
