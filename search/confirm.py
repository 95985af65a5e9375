"""Retrains the best configurations on fresh seeds: the dev loss that chose a winner flatters it.

A search reports the lowest of many noisy losses, so its best is too good by an amount that nobody
knows until the same configuration is trained again. Each (trial, seed) is recorded as soon as it is
done; a confirmation that was interrupted goes on where it stopped.
"""

import heapq
import multiprocessing
import signal
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from makemore_core.corpus import Corpus
from search import results, tables
from search.errors import NotFound, SearchError, StudyClosed
from search.paths import DataDir
from search.samplers import derive_seed
from search.shelf import insist
from search.storage import Storage, patient
from search.study import StoredStudy, shelf_of

START_SECONDS = 3.0
"""Until a fresh process has imported torch and built its data."""
TIE_NATS = 1e-4
"""Means closer than this are a tie, which goes to the configuration that trains faster."""


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
class Cost:
    """What a confirmation is about to cost."""

    trainings: int
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A configuration with its confirmed dev loss: over seeds, in nats per predicted character."""

    trial: int
    config: dict[str, Any]
    searched_dev_loss: float
    dev_loss_mean: float
    dev_loss_sd: float | None  # None: a single seed has no spread
    dev_loss_unseen_mean: float | None
    seconds_mean: float
    seeds: int


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


def plan(storage: Storage, study: StoredStudy, top: int, seeds: int) -> list[Job]:
    """What is still to be trained.

    Raises:
        StudyClosed: the test split has been opened, so the winner is settled.
        NotFound: the study has no complete trial.
    """
    if study.closed:
        raise settled(study)
    done = {each.key for each in trained(storage, study)}
    best = results.best_trials(storage, study, top)
    if not best:
        raise NotFound(f"study {study.name}: no complete trial to confirm; `run` it first")
    return [
        Job(
            trial=each.trial,
            seed_index=index,
            seed=derive_seed(study.spec.study.seed, each.trial, f"confirm/{index}"),
            config=dict(each.config),
            expected_seconds=results.recorded_attempt(storage, study, each.trial).seconds,
        )
        for each in best
        for index in range(seeds)
        if (each.trial, index) not in done
    ]


def settled(study: StoredStudy) -> StudyClosed:
    """The error of whoever would still change a winner that the test split was opened for."""
    return StudyClosed(
        f"study {study.name}: its test split has been opened, so its winner is settled; "
        "confirm before `test`"
    )


def cost(jobs: Sequence[Job], workers: int) -> Cost:
    """The time that so many workers will need, from the searched trials' own training times."""
    ends = [START_SECONDS] * max(1, min(workers, len(jobs)))
    for job in jobs:
        heapq.heappush(ends, heapq.heappop(ends) + job.expected_seconds)
    return Cost(len(jobs), max(ends) if jobs else 0.0)


def train_all(
    storage: Storage,
    study: StoredStudy,
    data_dir: DataDir,
    corpus: Corpus,
    jobs: Sequence[Job],
    workers: int,
    threads: int,
    tell: Callable[[Job, Trained], None],
) -> None:
    """Trains every job on local processes and records each as it is done.

    Raises:
        SearchError: a process died; what was done is recorded.
    """
    context = multiprocessing.get_context("spawn")
    split_seed, shelf = study.spec.study.split_seed, shelf_of(study, data_dir)
    with ProcessPoolExecutor(
        min(workers, max(1, len(jobs))), context, _prepare, (corpus, split_seed, threads)
    ) as pool:
        futures = {
            pool.submit(_train, job, data_dir.confirmed(study.uid, *job.key)): job for job in jobs
        }
        try:
            for future in _as_they_end(futures):
                done = future.result()
                path = data_dir.confirmed(study.uid, *done.key)
                insist(partial(shelf.put, path))
                _record(storage, study, done)
                tell(futures[future], done)
        except BrokenProcessPool:
            raise SearchError(
                f"study {study.name}: a confirming process died; what was done is kept, the same "
                "command goes on"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def candidates(storage: Storage, study: StoredStudy) -> list[Candidate]:
    """Every confirmed configuration, the lowest mean first; a tie goes to the cheaper one."""
    by_trial: dict[int, list[Trained]] = {}
    for each in trained(storage, study):
        by_trial.setdefault(each.trial, []).append(each)
    found = [
        _candidate(storage, study, trial, models) for trial, models in sorted(by_trial.items())
    ]
    return sorted(found, key=lambda c: (round(c.dev_loss_mean / TIE_NATS), c.seconds_mean))


def optimism(storage: Storage, study: StoredStudy, confirmed: Sequence[Candidate]) -> float | None:
    """Searched minus confirmed dev loss of the search's best trial: below zero, it flattered."""
    best = results.require_best(storage, study)
    return next(
        (c.searched_dev_loss - c.dev_loss_mean for c in confirmed if c.trial == best.trial), None
    )


@patient
def trained(storage: Storage, study: StoredStudy) -> list[Trained]:
    """Every confirmed model of a study."""
    c = tables.confirmations
    with storage.read() as connection:
        rows = connection.execute(
            select(
                c.c.trial,
                c.c.seed_index,
                c.c.seed,
                c.c.dev_loss,
                c.c.dev_loss_unseen,
                c.c.seconds,
                c.c.checkpoint_sha256,
            )
            .where(c.c.study_uid == study.uid)
            .order_by(c.c.trial, c.c.seed_index)
        ).all()
    return [Trained(*row) for row in rows]


def _candidate(
    storage: Storage, study: StoredStudy, trial: int, models: Sequence[Trained]
) -> Candidate:
    attempt = results.recorded_attempt(storage, study, trial)
    losses = [each.dev_loss for each in models]
    unseen = [each.dev_loss_unseen for each in models if each.dev_loss_unseen is not None]
    return Candidate(
        trial=trial,
        config=dict(attempt.config),
        searched_dev_loss=attempt.dev_loss,
        dev_loss_mean=statistics.mean(losses),
        dev_loss_sd=statistics.stdev(losses) if len(losses) > 1 else None,
        dev_loss_unseen_mean=statistics.mean(unseen) if unseen else None,
        seconds_mean=statistics.mean(each.seconds for each in models),
        seeds=len(models),
    )


@patient
def _record(storage: Storage, study: StoredStudy, done: Trained) -> None:
    with storage.write() as connection:
        connection.execute(tables.confirmations.insert().values(study_uid=study.uid, **vars(done)))


def _as_they_end(futures: dict[Future[Trained], Job]) -> Iterator[Future[Trained]]:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from done


_bench: dict[str, Any] = {}
"""Of a pool's process: what `_prepare` made for `_train`."""


def _prepare(corpus: Corpus, split_seed: int, threads: int) -> None:
    """Runs once in each process of the pool. Ctrl-C is the launcher's to handle."""
    from makemore_core.contexts import Data
    from makemore_core.warm_up import warm_up

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    _bench.update(data=Data.of(corpus, split_seed), threads=threads)


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
