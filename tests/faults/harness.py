"""Runs the real program on a tiny study, does something to it, and checks what it promises.

A study samples at random, so that each configuration is a function of its ordinal alone, whatever
was lost before it; so every curve can be compared, bit for bit, with that of a study that nothing
ever disturbed.
"""

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import tomli_w
from workspace import some_words, wait_until

from makemore_core.config import HYPERPARAMETERS, INTEGERS, TrialConfig

HERE = Path(__file__).parent
CALM = {
    "search.worker.snapshots.INTERVAL_SECONDS": 0.1,
    "search.worker.snapshots.MAX_TIME_FRACTION": 1.0,
    "search.worker.running_attempt.HEARTBEAT_SECONDS": 0.3,
    "search.worker.running_attempt.REPORT_SECONDS": 0.03,
}
"""Snapshots and reports come often enough for a trial of half a second to have some."""
SHORT_LEASE = {
    "search.storage.tables.LEASE_SECONDS": 6.0,
    "search.launch.supervisor.RECOVERY_SECONDS": 0.3,
}

FAILED = {"killed", "interrupted", "error"}
PRUNED = {"pruner", "diverged", "out of memory", "over its time limit", "over its memory limit"}
SET_ASIDE, LEASE_RAN_OUT = "killed workers", "lease ran out"

Fault = dict[str, Any]


def fault(phase: str, at: int | None = 1, action: str = "die", **more: Any) -> Fault:
    """What happens when a phase is reached for the n-th time; see `hooks/sitecustomize.py`."""
    return {"phase": phase, "at": at, "action": action, **more}


def document(corpus: Path, trials: int, examples: int, **more: Any) -> dict[str, Any]:
    """A study of small trials over a corpus, as its file has it."""
    return {
        "study": {"name": "faults", "corpus": str(corpus), "seed": 3},
        "budget": {"trials": trials, "examples": examples, "evaluations": 10},
        "search": {
            "embedding_size": [4, 8],
            "hidden_width": {"low": 32, "high": 64},
            "block_size": 3,
            "batch_size": 32,
            "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
            "schedule": ["constant", "linear"],
            "optimizer": "adamw",
        },
        "sampler": {"kind": "random"},
        "pruner": {"kind": "none"},
    } | more


@dataclass
class Ended:
    """How one invocation of the program ended."""

    status: int
    out: str
    err: str

    def expect(self, status: int) -> "Ended":
        assert self.status == status, (self.status, self.out, self.err)
        assert "Traceback" not in self.err, self.err
        return self

    def refused(self, status: int, *words: str) -> None:
        """G: a refusal is one line that names the cause."""
        self.expect(status)
        assert 1 == self.err.count("\n"), self.err
        assert all(word in self.err for word in words), self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class NotHere(Exception):
    """What a fault needs is not to be had here: the right to mount a disk, or to make a network."""


@dataclass
class FaultRun:
    """A data directory, a database, and the program to use them."""

    root: Path
    url: str
    trials: int = 5
    examples: int = 100_000
    more: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    server: Any = None  # the PostgreSQL server, where there is one
    before: Sequence[str] = ()  # the command that runs the program elsewhere
    host: str = "runs"  # the data directory; what stands for another host has another one

    def __post_init__(self) -> None:
        self.faults_dir.joinpath("hits").mkdir(parents=True, exist_ok=True)
        self.faults_dir.joinpath("fired").mkdir(exist_ok=True)
        self.write_study()
        self.plan()

    @property
    def faults_dir(self) -> Path:
        return self.root / "faults"

    @property
    def data_dir(self) -> Path:
        return self.root / self.host

    @property
    def study_file(self) -> Path:
        return self.root / "study.toml"

    @property
    def database(self) -> Path:
        return Path(str(sa.make_url(self.url).database))

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def write_study(self, **more: Any) -> None:
        self.more |= more
        content = document(_corpus(), self.trials, self.examples, **self.more)
        self.study_file.write_text(tomli_w.dumps(content))

    def plan(self, *faults: Fault, watch: Sequence[str] = (), **more: Any) -> None:
        """What happens in the processes that are started from now on."""
        plan = {"constants": CALM | self.constants, "faults": faults, "watch": watch, **more}
        (self.faults_dir / "plan.json").write_text(json.dumps(plan))

    # The program

    def start(self, *arguments: Any, **options: Any) -> "subprocess.Popen[str]":
        """The program in a process of its own, with the faults that are planned."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(HERE / "hooks"), os.environ.get("PYTHONPATH", "")]),
            "FAULTS": str(self.faults_dir),
            "FAULTS_URL": self.url,
            "FAULTS_DRIVER": "sqlite" if self.is_sqlite else "psycopg",
            "FAULTS_CHECKPOINTS": str(self.data_dir / "checkpoints"),
        }
        command = [*self.before, sys.executable, "-m", "search", *map(str, arguments)]
        return subprocess.Popen(
            [*command, "--data-dir", str(self.data_dir), "--storage", self.url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE.parents[1],
            env=environment,
            **options,
        )

    def run(self, *arguments: Any, workers: int = 2) -> "subprocess.Popen[str]":
        """`run` of the study."""
        return self.start(
            "run", self.study_file, "--workers", workers, "--quiet", "--json", *arguments
        )

    def call(self, *arguments: Any, timeout: float = 60) -> Ended:
        return ended(self.start(*arguments), timeout)

    def finish(self, process: "subprocess.Popen[str] | None" = None, timeout: float = 120) -> Ended:
        """Waits for a run, or makes one, and expects it to have met its budget."""
        found = ended(process or self.run(), timeout).expect(0)
        assert found.json["budget"] == {"trials": self.trials, "finished": self.trials}, found.json
        return found

    def log(self) -> str:
        """Everything that the workers logged."""
        return "".join(path.read_text() for path in sorted(self.data_dir.glob("logs/*")))

    # What happened

    def hits(self, phase: str, role: str = "worker") -> int:
        path = self.faults_dir / "hits" / f"{role} {phase}"
        return path.stat().st_size if path.exists() else 0

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.faults_dir / "events"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []  # the last is on its way
        return [event for line in lines if (event := json.loads(line))["event"] == kind]

    def struck(self) -> list[str]:
        """The phases in which a fault struck."""
        return [event["phase"] for event in self.events("fault")]

    def note_kill(self) -> None:
        """A kill from without, for the table."""
        self.note_struck("a random moment")

    def note_struck(self, phase: str) -> None:
        """A fault that struck elsewhere than in this place's own processes."""
        with (self.faults_dir / "events").open("a") as file:
            file.write(json.dumps({"event": "fault", "phase": phase, "action": "die"}) + "\n")

    def query(self, sql: str, **values: Any) -> list[Any]:
        """What the database says, past the program."""
        with self.connect() as connection:
            return list(connection.execute(sa.text(sql), values).all())

    def execute(self, sql: str, **values: Any) -> None:
        with self.connect() as connection:
            connection.execute(sa.text(sql), values)
            connection.commit()

    @contextlib.contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection

    def try_query(self, sql: str) -> list[Any]:
        """As `query`; nothing while the tables are being made, or the database is gone."""
        if self.is_sqlite and not self.database.exists():
            return []
        try:
            return self.query(sql)
        except sa.exc.DatabaseError:
            return []

    def live_workers(self) -> list[int]:
        """The process ids of the workers that are registered and have not left."""
        rows = self.try_query("SELECT pid FROM makemore_workers WHERE ended_at IS NULL")
        return [row.pid for row in rows if is_alive(row.pid)]

    def wait_for_workers(self, count: int = 1) -> list[int]:
        def there() -> list[int] | None:
            found = self.live_workers()
            return found if len(found) >= count else None

        return wait_until(there, timeout=120)

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for that many events of a kind."""

        def there() -> list[dict[str, Any]] | None:
            found = self.events(event)
            return found if len(found) >= count else None

        return wait_until(there, timeout=120)

    def wait_until_paused(self) -> None:
        wait_until(lambda: (self.faults_dir / "paused").exists(), timeout=120)

    def go_on(self) -> None:
        (self.faults_dir / "go on").touch()

    def tree(self) -> dict[str, bytes]:
        """Every file of the data directory, with its content."""
        files = [path for path in sorted(self.data_dir.rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.data_dir)): path.read_bytes() for path in files}


def ended(process: "subprocess.Popen[str]", timeout: float = 120) -> Ended:
    """Waits for a process, and for what it said."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it hung for {timeout} s: {out} {err}") from None
    return Ended(process.returncode, out, err)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """Of a process of the program: what started it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def started_by(pid: int) -> list[int]:
    """The children of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if parent_of(int(path.name)) == pid:
                found.append(int(path.name))
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# The invariants


def check(place: FaultRun, *, done: bool = True) -> None:
    """Invariants A to F of a study that nobody works on."""
    check_database(place)
    check_numbers(place, done)
    check_stored_losses(place)
    check_attempts(place)
    check_curves(place)
    check_resumption(place)
    check_openings(place)


def check_database(place: FaultRun) -> None:
    """A: the database is whole, and its foreign keys hold."""
    if place.is_sqlite:
        assert [("ok",)] == place.query("PRAGMA integrity_check")
        assert [] == place.query("PRAGMA foreign_key_check")
    for child in ("workers", "attempts", "slots"):
        orphans = place.query(
            f"SELECT COUNT(*) FROM makemore_{child} WHERE study_uid NOT IN "
            "(SELECT uid FROM makemore_studies)"
        )
        assert [(0,)] == orphans, child


def check_numbers(place: FaultRun, done: bool) -> None:
    """B: trials are numbered without a gap, the budget holds, and nothing is under way."""
    trials = place.query("SELECT number, state FROM trials ORDER BY number")
    assert [trial.number for trial in trials] == list(range(len(trials)))
    states = Counter(trial.state for trial in trials)
    finished = states["COMPLETE"] + states["PRUNED"]
    assert 0 == states["RUNNING"], states
    assert finished == place.trials if done else finished <= place.trials, states
    slots = Counter(row.state for row in place.query("SELECT state FROM makemore_slots"))
    assert 0 == slots["claimed"], slots
    assert slots["finished"] == finished, (slots, states)
    assert [] == place.query("SELECT id FROM makemore_attempts WHERE ended_at IS NULL")
    if done:
        assert 0 == slots["waiting"], slots


def check_stored_losses(place: FaultRun) -> None:
    """C: every dev loss that the trainer was told is stored, is, bit for bit."""
    stored = {
        (row.trial_id, row.step): row.intermediate_value
        for row in place.query("SELECT * FROM trial_intermediate_values")
    }
    for event in place.events("stored"):
        found = stored[event["trial_id"], event["resource"]]
        assert found == float.fromhex(event["dev_loss"]), event


def attempts(place: FaultRun) -> list[Any]:
    return place.query(
        "SELECT a.*, t.trial_id, t.state, w.end_cause FROM makemore_attempts a "
        "LEFT JOIN trials t ON t.number = a.trial "
        "LEFT JOIN makemore_workers w ON w.id = a.worker_id ORDER BY a.id"
    )


def check_attempts(place: FaultRun) -> None:
    """D: each attempt has its outcome and its reason, and a slot's attempts follow one another."""
    by_slot: dict[int, list[Any]] = {}
    for attempt in attempts(place):
        by_slot.setdefault(attempt.ordinal, []).append(attempt)
        reasons = {
            "complete": {None, "patience"},
            "pruned": PRUNED | {SET_ASIDE, LEASE_RAN_OUT},
            "failed": FAILED,
        }[attempt.outcome]
        assert attempt.reason in reasons, attempt
        if attempt.trial is not None:
            states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
            assert attempt.state == states[attempt.outcome], attempt
    numbers = [a.trial for tried in by_slot.values() for a in tried if a.trial is not None]
    assert len(numbers) == len(set(numbers)), "two attempts became one trial"
    assert len(numbers) == place.query("SELECT COUNT(*) FROM trials")[0][0], "a trial of nobody's"
    for tried in by_slot.values():
        _check_slot(tried)


def _check_slot(tried: list[Any]) -> None:
    finished = [a for a in tried if a.outcome != "failed"]
    failed = [a for a in tried if a.outcome == "failed"]
    killed = [a for a in failed if a.reason == "killed"]
    counted = [a for a in killed if a.end_cause == "killed"]
    counted += [a for a in failed if a.reason == "error"]
    expired = [a for a in killed if a.end_cause == "expired"]
    assert len(finished) <= 1, tried
    assert len(counted) <= 2, tried
    assert len(expired) <= 4, tried
    if finished:
        assert len(counted) <= 1, tried
        reason = finished[0].reason
        assert reason != SET_ASIDE or len(counted) == 1, "set aside after one death"
        assert reason != LEASE_RAN_OUT or len(expired) == 3, "set aside after less than four"
    assert 1 == len({a.training_seed for a in tried}), tried
    assert len({json.dumps(_json(a.config)) for a in tried if a.config is not None}) <= 1, tried
    retries = [a.retry_of for a in tried if a.retry_of is not None]
    assert len(set(retries)) == len(retries), "one trial was tried again twice"
    assert set(retries) <= {a.trial for a in tried}, tried


def check_curves(place: FaultRun) -> None:
    """D: every curve, of a lost attempt, a retry or a finished trial, is the undisturbed one."""
    reported: dict[int, dict[int, float]] = {}
    for row in place.query("SELECT * FROM trial_intermediate_values"):
        reported.setdefault(row.trial_id, {})[row.step] = row.intermediate_value
    for attempt in attempts(place):
        losses = reported.get(attempt.trial_id, {})
        if not losses:
            continue
        expected = undisturbed(place, attempt.ordinal)
        known = {step: expected[step] for step in losses}
        assert losses == known, (attempt.ordinal, attempt.outcome)
        if attempt.outcome == "complete":
            assert losses == expected, attempt.ordinal
            assert attempt.dev_loss == min(expected.values())
            curve = {int(each[0]): each[1] for each in _json(attempt.curve)}
            assert list(curve.values()) == [expected[step] for step in sorted(expected)]


def check_resumption(place: FaultRun) -> None:
    """E: a retry goes on from the newest snapshot that was recorded and is whole."""
    slot_of = {a.id: a.ordinal for a in attempts(place)}
    recorded: dict[int, int] = {}
    resumed = {event["attempt"]: event["step"] for event in place.events("resume")}
    newest: dict[int, int] = {}
    damaged = {"cut and die", "flip and die", "pickle and die"}
    spoiled = any(event["action"] in damaged for event in place.events("fault"))
    for event in place.events("snapshot"):
        recorded[event["attempt"]] = max(recorded.get(event["attempt"], 0), event["step"])
    for attempt, ordinal in sorted(slot_of.items()):
        if attempt in resumed and not spoiled:
            assert resumed[attempt] >= newest.get(ordinal, 0), (attempt, resumed, newest)
        newest[ordinal] = max(newest.get(ordinal, 0), recorded.get(attempt, 0))


def check_openings(place: FaultRun) -> None:
    """F: one opening at most, and no second evaluation of one that was recorded."""
    openings = place.query("SELECT study_uid, result FROM makemore_openings")
    assert len(openings) <= 1, openings
    losses = {event["test_loss"] for event in place.events("test evaluated")}
    assert len(losses) <= 1, losses


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


# The undisturbed study


def undisturbed(place: FaultRun, ordinal: int) -> dict[int, float]:
    """The dev losses of a configuration whose training nothing disturbs, by resource."""
    return _undisturbed(place.study_file.read_text(), ordinal)


@functools.cache
def _undisturbed(study_file: str, ordinal: int) -> dict[int, float]:
    from makemore_core.data import corpus
    from makemore_core.data.dataset import Dataset
    from makemore_core.training.trainer import train

    document = tomllib.loads(study_file)
    study, budget = document["study"], document["budget"]
    seed = study.get("seed", 1)
    config = TrialConfig(
        **_configuration(document, seed, ordinal),
        examples=budget["examples"],
        evaluations=budget["evaluations"],
        patience=None,
    )
    words = corpus.load(study["corpus"], Path.cwd(), dedupe=study.get("dedupe", False))
    data = Dataset.from_corpus(words, study.get("split_seed", 42))
    result = train(config, data, _seed(seed, ordinal, "train"))
    evaluations = [round(each.step * config.evaluations / config.steps) for each in result.curve]
    return {
        config.examples * evaluation // config.evaluations: each.dev_loss
        for evaluation, each in zip(evaluations, result.curve, strict=True)
    }


def _configuration(document: dict[str, Any], seed: int, ordinal: int) -> dict[str, Any]:
    """What an ask of the random sampler must give, by Optuna's own `Study.ask`; an enqueued value
    stands in place of its draw."""
    import optuna

    from search.spec.defaults import LATEST, VERSIONS

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    entries = {**VERSIONS[LATEST]["search"], **document["search"]}
    enqueued = document.get("enqueue", [])
    values = {n: entry for n, entry in entries.items() if not isinstance(entry, (dict, list))}
    distributions = {
        name: _distribution(name, entries[name]) for name in HYPERPARAMETERS if name not in values
    }
    sampler = optuna.samplers.RandomSampler(seed=_seed(seed, ordinal, "ask"))
    values |= optuna.create_study(sampler=sampler).ask(distributions).params
    return values | (enqueued[ordinal] if ordinal < len(enqueued) else {})


def _distribution(name: str, entry: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(entry, list):
        return CategoricalDistribution(entry)
    kind = IntDistribution if name in INTEGERS else FloatDistribution
    return kind(entry["low"], entry["high"], log=entry.get("log", False))


def _seed(study_seed: int, ordinal: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{study_seed}/{ordinal}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") // 2


@functools.cache
def _shared() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="faults-")  # removed when this process ends


@functools.cache
def _corpus() -> Path:
    """Words for every study of this process."""
    path = Path(_shared().name) / "words.txt"
    path.write_text("\n".join(some_words(1_500, seed=7)))
    return path
