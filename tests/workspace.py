"""What the tests of the search stand on: a small corpus, a small study, and the real program."""

import contextlib
import functools
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from optuna.storages import RDBStorage
from sqlalchemy import select

from search import cli
from search.paths import DataDir
from search.spec import study_file
from search.storage import tables
from search.storage.database import Storage, create_storage, open_storage
from search.study import create as creation
from search.study import study
from search.study.study import StoredStudy
from search.trials import leases, results
from search.trials.results import TrialView
from search.worker import process as worker
from search.worker.job import Job

TINY: dict[str, dict[str, Any]] = {
    "study": {"name": "tiny"},
    "budget": {"trials": 12, "examples": 4_000, "evaluations": 9},
    "search": {
        "embedding_size": {"low": 2, "high": 8},
        "hidden_width": [16, 32],
        "block_size": [2, 3],
        "batch_size": [32, 64],
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "schedule": ["constant", "step", "linear", "cosine", "inverse"],
        "step_factor": 0.1,
        "weight_decay": 0.0,
        "decay_growth": 1.0,
        "dropout": 0.0,
        "smoothing": 0.0,
        "optimizer": ["adamw", "sgd"],
    },
    "sampler": {"kind": "tpe"},
    "pruner": {"kind": "asha"},
}
"""A study whose trials take a few hundredths of a second."""


def some_words(
    count: int = 200, seed: int = 0, letters: str = "aeilmnorst", longest: int = 8
) -> list[str]:
    """Words out of a few letters, always the same for a seed; every letter stands in the first."""
    rng = random.Random(seed)
    drawn = ["".join(rng.choices(letters, k=rng.randint(2, longest))) for _ in range(count - 1)]
    return [letters, *drawn]


def tiny(**sections: Any) -> dict[str, Any]:
    """The document of a tiny study, with some values of its sections replaced; epochs replace its
    examples."""
    document: dict[str, Any] = {name: dict(values) for name, values in TINY.items()}
    for name, values in sections.items():
        if not isinstance(values, Mapping):
            document[name] = values
            continue
        document[name] = {**document.get(name, {}), **values}
        if name == "budget" and "epochs" in values and "examples" not in values:
            del document["budget"]["examples"]
    return document


@dataclass(frozen=True)
class Answer:
    """What one invocation of the program said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The whole of standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on standard error, where there must be exactly one."""
        assert 1 == self.err.count("\n"), self.err
        assert self.err.endswith("\n"), self.err
        assert "Traceback" not in self.err
        return self.err.rstrip("\n")


class InterruptedAfter:
    """Stands for a signal: comes at the n-th time that a worker looks for one."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def never() -> bool:
    """No signal comes."""
    return False


class Workspace:
    """A directory of its own, with a corpus and a data directory, and the program to work on it."""

    def __init__(self, root: Path, url: str | None = None) -> None:
        """`url`: of a database that has our tables; without one, the data directory's own."""
        self.root = root
        self.data_dir = DataDir(root / "runs")
        self.url = url or self.data_dir.default_storage
        self._storage: Storage | None = None

    @property
    def has_storage(self) -> bool:
        """Whether there is a database yet."""
        return self.url != self.data_dir.default_storage or self.data_dir.database.exists()

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was created: no file, or no study in a database that was there."""
        if self.url == self.data_dir.default_storage:
            return not self.has_storage
        with self.storage.read() as connection:
            return not connection.execute(select(tables.studies.c.uid)).all()

    @property
    def storage(self) -> Storage:
        """The storage, made when it is first needed: a copy of an empty one."""
        if self._storage is None:
            if not self.has_storage:
                self.data_dir.root.mkdir(parents=True, exist_ok=True)
                self.data_dir.database.write_bytes(_empty_database())
            self._storage = open_storage(self.url)
        return self._storage

    def close(self) -> None:
        if self._storage is not None:
            self._storage.close()
            self._storage = None

    def arguments(self, verb: Any, *arguments: Any) -> list[str]:
        """A command line that says where things are, where it does not say so itself."""
        return [*map(str, (verb, *self.options, *arguments))]

    @property
    def options(self) -> list[str]:
        """Where the studies are, on a command line."""
        is_default = self.url == self.data_dir.default_storage
        storage = [] if is_default else ["--storage", self.url]
        return [*storage, "--data-dir", str(self.data_dir.root)]

    @contextlib.contextmanager
    def optuna_storage(self) -> Iterator[RDBStorage]:
        """The database as Optuna itself opens it; its connections are closed afterwards."""
        opened = RDBStorage(self.url)
        try:
            yield opened
        finally:
            opened.remove_session()
            opened.engine.dispose()

    # Files

    def corpus(self, words: Sequence[str] | None = None, name: str = "words.txt") -> Path:
        """A corpus file; by default 200 words."""
        path = self.root / name
        path.write_text("\n".join(some_words() if words is None else words), encoding="utf-8")
        return path

    def file(self, name: str = "tiny.toml", **sections: Any) -> Path:
        """A study file of a tiny study over the default corpus."""
        document = tiny(**sections)
        if "corpus" not in document["study"]:
            corpus = self.root / "words.txt"
            document["study"]["corpus"] = str(corpus if corpus.exists() else self.corpus())
        path = self.root / name
        path.write_text(tomli_w.dumps(document), encoding="utf-8")
        return path

    # The program, in this process and in others

    def cli(self, *arguments: Any) -> Answer:
        """The program with these arguments and this data directory, in this process."""
        return invoke(*self.arguments(*arguments))

    def json(self, *arguments: Any) -> Any:
        """The JSON answer of a verb that succeeds."""
        answer = self.cli(*arguments, "--json")
        assert 0 == answer.status, answer.err
        return answer.json

    def start(self, *arguments: Any, **options: Any) -> "subprocess.Popen[str]":
        """The program in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "search", *self.arguments(*arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            **options,
        )

    # A worker without a process

    def create(
        self, path: Path | None = None, artifacts: str | None = None, **sections: Any
    ) -> StoredStudy:
        """Creates the study of a file, or goes on with it, as `run` does before its workers."""
        spec = study_file.read(path or self.file(**sections))
        words = study.load_corpus(spec, self.data_dir)
        return creation.create_or_resume(self.storage, spec, words, self.data_dir, artifacts)

    def work(self, stored: StoredStudy, interrupted: Callable[[], bool] = never) -> leases.NoClaim:
        """One worker's whole life in this process."""
        job = Job(self.url, str(self.data_dir.root), stored.uid, 1, "cpu", None)
        return worker.run_job_in(job, interrupted)

    def trials(self, stored: StoredStudy) -> list[TrialView]:
        return results.trials(self.storage, stored)

    def outcomes(self, stored: StoredStudy) -> list[tuple[Any, ...]]:
        """What each finished trial was and found; attempts that were lost are left out."""
        return [
            (trial.state, trial.reason, trial.dev_loss, dict(trial.config))
            for trial in self.trials(stored)
            if trial.state in ("complete", "pruned")
        ]


@functools.cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "studies.db"
        create_storage(f"sqlite:///{path}").close()
        return path.read_bytes()


def invoke(*arguments: Any) -> Answer:
    """The program with exactly these arguments, in this process."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["makemore-search", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main()
    finally:
        sys.argv = before
    return Answer(status, out.getvalue(), err.getvalue())


def ended(process: "subprocess.Popen[str]", timeout: float = 60) -> Answer:
    """What a process said, once it has ended."""
    out, err = process.communicate(timeout=timeout)
    return Answer(process.returncode, out, err)


def wait_until(true: Callable[[], Any], timeout: float = 120, every: float = 0.02) -> Any:
    """Waits for something to become true; returns it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(every)
    raise AssertionError(f"still not so after {timeout} s")


def run_python(source: str, *arguments: Any) -> "subprocess.Popen[str]":
    """A process of its own that runs a few lines of Python."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def tree(root: Path) -> set[str]:
    """Every file and directory below a directory."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}
