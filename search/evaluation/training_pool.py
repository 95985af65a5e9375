"""Local processes that train known configurations: no sampler, no pruner, nothing to resume."""

import contextlib
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from makemore_core.data.corpus import Corpus
from search.errors import StopTraining
from search.system.child_process import ChildProcess
from search.trials.confirmations import ConfirmedModel

CALIBRATION_SECONDS = 1.0
"""The least training of each configuration by which its time is estimated."""
DIED = "a training process died; finished trainings are stored; run the same command again"


@dataclass(frozen=True)
class Retraining:
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
        """The seconds that the searched trial's loop took."""
        return self.searched_seconds[-1]


@dataclass(frozen=True)
class Calibration:
    """How fast this machine trains a configuration now, compared with the searched trial."""

    factor: float  # seconds of a training, over those of the searched one
    overhead: float  # seconds of a training beside its loop: its start, the loss on train
    evaluation: float  # seconds for the losses of all dev words

    def seconds(self, job: Retraining) -> float:
        """The seconds that a job is expected to take."""
        return self.factor * job.expected_seconds + self.overhead


class TrainingPool:
    """A pool of training processes, which end with the `with` block."""

    def __init__(self, corpus: Corpus, split_seed: int, processes: int, threads: int) -> None:
        self.processes = processes
        self._members = [ChildProcess(threads, DIED) for _ in range(processes)]
        self._prepared = False
        for number, member in enumerate(self._members):
            member.ask(_prepare, corpus, split_seed, threads, number > 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for member in self._members:
            member.close()

    def calibrate(self, jobs: Sequence[Retraining]) -> dict[int, Calibration]:
        """Trains the beginning of each configuration, by trial, in all processes at once.

        One alone would be faster, and so would two that are alike; each process begins with
        another one. The words are prepared for every block size meanwhile.

        Raises:
            SearchError: a process died.
        """
        self._wait_until_prepared()
        each_trial = list({job.trial: job for job in jobs}.values())
        for number, member in enumerate(self._members):
            first = number % len(each_trial)
            member.ask(_calibrate, [*each_trial[first:], *each_trial[:first]])
        answers = [member.answer() for member in self._members]
        return {
            job.trial: Calibration(
                *(
                    statistics.mean(values)
                    for values in zip(*(astuple(each[job.trial]) for each in answers), strict=True)
                )
            )
            for job in each_trial
        }

    def train(
        self, jobs: Sequence[Retraining], path_of: Callable[[Retraining], Path]
    ) -> Iterator[tuple[Retraining, ConfirmedModel]]:
        """Trains every job and writes its checkpoint; yields each job when it is done.

        Raises:
            SearchError: a process died.
        """
        self._wait_until_prepared()
        waiting, idle = deque(jobs), list(self._members)
        busy: dict[Any, tuple[ChildProcess, Retraining]] = {}
        while waiting or busy:
            while waiting and idle:
                member, job = idle.pop(), waiting.popleft()
                member.ask(_train, job, path_of(job))
                busy[member.connection] = member, job
            for connection in wait(list(busy)):
                member, job = busy.pop(connection)
                done = member.answer()
                idle.append(member)
                yield job, done

    def _wait_until_prepared(self) -> None:
        if not self._prepared:
            for member in self._members:
                member.answer()
            self._prepared = True


@dataclass(frozen=True)
class _ProcessState:
    """What every call in a process of the pool needs."""

    data: Any  # a Dataset; its module, which loads torch, is imported in the pool's processes alone
    threads: int
    launcher_pid: int


_state: _ProcessState | None = None
"""The state of this process of the pool, once `_prepare` has been called."""


def _prepared_state() -> _ProcessState:
    assert _state is not None, "_prepare comes first"
    return _state


def _prepare(corpus: Corpus, split_seed: int, threads: int, is_silent: bool) -> None:
    """Prepares a process of the pool; all but one keep quiet about the compiled kernels."""
    import logging

    from makemore_core.data.dataset import Dataset
    from makemore_core.training.warm_up import warm_up

    if is_silent:
        logging.getLogger("makemore_core").setLevel(logging.ERROR)
    warm_up()
    global _state
    _state = _ProcessState(Dataset.from_corpus(corpus, split_seed), threads, os.getppid())


def _calibrate(jobs: Sequence[Retraining]) -> dict[int, Calibration]:
    """Calibrates in a process of the pool, by trial."""
    return {job.trial: _calibration(job) for job in jobs}


def _calibration(job: Retraining) -> Calibration:
    from makemore_core.config import TrialConfig
    from makemore_core.training.evaluate import word_losses
    from makemore_core.training.trainer import Evaluation, train

    seen: list[Evaluation] = []

    def stop(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if evaluation.seconds >= CALIBRATION_SECONDS or len(seen) == len(job.searched_seconds):
            raise StopTraining

    config, state = TrialConfig(**job.config), _prepared_state()
    data, threads = state.data, state.threads
    with contextlib.suppress(StopTraining):
        train(config, data, job.seed, threads=threads, on_evaluation=stop)
    one_step = replace(config, examples=config.batch_size, evaluations=1, schedule="constant")
    started = time.monotonic()
    shortest = train(one_step, data, job.seed, threads=threads)
    trained = time.monotonic()
    word_losses(shortest.model, data.dev_words)
    return Calibration(
        factor=seen[-1].seconds / job.searched_seconds[len(seen) - 1],
        overhead=trained - started - shortest.train_seconds,
        evaluation=time.monotonic() - trained,
    )


def _train(job: Retraining, path: Path) -> ConfirmedModel:
    """Trains a job in a process of the pool."""
    from makemore_core.config import TrialConfig
    from makemore_core.model import checkpoint
    from makemore_core.training.trainer import train
    from search.retry import retry_files

    config, state = TrialConfig(**job.config), _prepared_state()
    data, threads = state.data, state.threads
    result = train(config, data, job.seed, threads=threads, on_evaluation=_leave_if_orphaned)
    about = {"trial": job.trial, "seed": job.seed, "dev_loss": result.dev_loss}
    sha256 = retry_files(lambda: checkpoint.save(path, result.model, about))
    return ConfirmedModel(
        trial=job.trial,
        seed_index=job.seed_index,
        seed=job.seed,
        dev_loss=result.dev_loss,
        dev_loss_unseen=result.dev_loss_unseen,
        seconds=result.train_seconds,
        checkpoint_sha256=sha256,
    )


def _leave_if_orphaned(_evaluation: object) -> None:
    if os.getppid() != _prepared_state().launcher_pid:
        sys.exit("the launcher has ended")
