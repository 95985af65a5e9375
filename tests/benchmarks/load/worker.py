"""One worker of one side: `python -m tests.benchmarks.load.worker SIDE URL SAMPLER SECONDS`.

Says `ready`, waits for a line, works for so many seconds, and prints what each step took.
"""

import contextlib
import functools
import json
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

import optuna

from search.algorithms import forecast, samplers
from search.errors import Interrupted
from search.spec import search_space
from search.storage.database import open_storage
from search.storage.optuna_reader import BulkReadStorage
from search.study import study
from search.trials import attempts, claims, retention
from search.worker import outcomes, trial_runner
from search.worker.job import Job
from search.worker.loop import Worker
from tests.benchmarks.load.stored import LOSS, REPORTS, evaluation, result


class Stopwatch:
    """Seconds within chosen functions, by part; what one calls for its own part counts once."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = defaultdict(float)
        self._open: set[str] = set()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """From now on counts the time within a function."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if part in self._open:
                return function(*args, **kwargs)
            self._open.add(part)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._open.remove(part)
                self._spent[part] += time.perf_counter() - started

        setattr(owner, name, call)

    def take(self, part: str) -> float:
        """Seconds since it was last asked for this part."""
        return self._spent.pop(part, 0.0)


class Account:
    """What the trials of one worker took, step by step."""

    def __init__(self) -> None:
        self.trials = self.failed = 0
        self.storage: dict[str, list[float]] = defaultdict(list)
        self.sampler: dict[str, list[float]] = defaultdict(list)

    def begin(self, seconds: float) -> None:
        """Says that it is ready, and waits for the others."""
        print("ready", flush=True)
        sys.stdin.readline()
        self._began = time.perf_counter()
        self.until = self._began + seconds

    def tell(self) -> None:
        took = time.perf_counter() - self._began
        print(
            json.dumps(
                {
                    "trials": self.trials,
                    "failed": self.failed,
                    "seconds": took,
                    "storage": self.storage,
                    "sampler": self.sampler,
                }
            )
        )


def ours(url: str, _sampler: str, seconds: float) -> Account:
    """The real worker, with a trainer that does nothing, and no model to keep."""
    watch, account = Stopwatch(), Account()
    watch.watch(claims, "claim", "ask")
    watch.watch(attempts, "record_trial", "ask")
    watch.watch(samplers, "ask", "sampling")
    watch.watch(BulkReadStorage, "get_all_trials", "reading")
    watch.watch(forecast, "chance_of_lowest", "deciding")
    watch.watch(attempts, "finish_attempt", "tell")
    watch.watch(retention, "delete_unneeded", "tell")
    watch.watch(retention, "is_worth_keeping", "tell")

    def train(config: Any, *_: Any, on_evaluation: Any, **__: Any) -> Any:
        read = watch.take("reading")
        account.storage["ask"].append(watch.take("ask") + read)
        account.sampler["ask"].append(watch.take("sampling") - read)
        for index in range(1, REPORTS + 1):
            started = time.perf_counter()
            try:
                on_evaluation(evaluation(config, index))
            finally:  # where a pruner stops it, too
                if decided := watch.take("deciding"):
                    account.sampler["decide"].append(decided)
                account.storage["report"].append(time.perf_counter() - started - decided)
        return result()

    def keep_nothing(*_: Any) -> None:
        """There is no model."""

    def time_is_up() -> bool:
        """Asked before each claim: so one trial more is done."""
        if told := watch.take("tell"):
            account.storage["tell"].append(told)
            account.trials += 1
        return time.perf_counter() > account.until

    trial_runner.train = train
    outcomes._save_checkpoint = keep_nothing
    storage = open_storage(url)
    stored = study.find(storage, "load")
    assert stored is not None
    with tempfile.TemporaryDirectory() as directory:
        worker = Worker(storage, Job(url, directory, stored.uid, 1, "cpu"), time_is_up)
        account.begin(seconds)
        with contextlib.suppress(Interrupted):
            worker.work_on(stored)
    return account


def optunas(url: str, sampler: str, seconds: float) -> Account:
    """Optuna as its documentation has it: ask, report and should_prune, tell."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ours = open_storage(url)
    stored = study.find(ours, "load")
    assert stored is not None
    searched = search_space.distributions(stored.spec.space)
    ours.close()
    kinds = {"random": optuna.samplers.RandomSampler}
    loaded = optuna.load_study(
        study_name="load",
        storage=url,
        sampler=kinds.get(sampler, optuna.samplers.TPESampler)(),
        pruner=optuna.pruners.MedianPruner(),
    )
    watch, account = Stopwatch(), Account()
    for name in dir(loaded._storage):
        if name.startswith(("get_", "set_", "create_")):
            watch.watch(loaded._storage, name, "storage")
    account.begin(seconds)
    while time.perf_counter() < account.until:
        try:
            _one_trial(loaded, searched, watch, account)
            account.trials += 1
        except Exception:  # noqa: BLE001  what would end a user's worker is counted
            account.failed += 1
    return account


def _one_trial(
    loaded: optuna.Study, searched: dict[str, Any], watch: Stopwatch, account: Account
) -> None:
    started = time.perf_counter()
    trial = loaded.ask(fixed_distributions=searched)
    stored = watch.take("storage")
    account.storage["ask"].append(stored)
    account.sampler["ask"].append(time.perf_counter() - started - stored)
    for index in range(1, REPORTS + 1):
        trial.report(LOSS, index)
        trial.should_prune()
        account.storage["report"].append(watch.take("storage"))
    loaded.tell(trial, LOSS)
    account.storage["tell"].append(watch.take("storage"))


def main() -> None:
    side, url, sampler, seconds = sys.argv[1:]
    {"ours": ours, "optuna": optunas}[side](url, sampler, float(seconds)).tell()


if __name__ == "__main__":
    main()
