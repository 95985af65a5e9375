"""Faults from within: Python runs this in every process that has this directory on PYTHONPATH.

`FAULTS` names a directory with a `plan.json`:

    constants   {"search.storage.tables.LEASE_SECONDS": 3.0, ...}: set after the module is loaded
    watch       phases to count; those of the faults are counted anyway
    refused     {"link": 1, ...}: functions of `os` that fail, and by which error
    limits_pages  whether a file `full` beside the plan lets no SQLite database grow
    sets_clocks   whether a file `clock` beside the plan says how many seconds the clocks are ahead
    faults      [{"phase", "at", "action", "role", "ordinal"}]: what to do when a phase is reached

A phase is a moment in the life of an attempt, just before or just after one function of the
program. Every time one is reached it is counted, over all processes, in `hits/PHASE`. A fault
strikes at the n-th time (`at`; null: every time; `from`: ever after) within a process of its
`role`, once, and only for one slot if it has an `ordinal`. What the trainer was told is stored is
noted in `events`.
"""

import fcntl
import functools
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from pathlib import Path

true_clock = time.time
PLACE = os.environ.get("FAULTS")
ROLE = "worker" if "search.launch.fork_server" in sys.orig_argv else "launcher"

BEFORE = {
    "claiming": "search.trials.claims:claim",
    "asking": "search.algorithms.samplers:ask",
    "creating": "search.trials.attempts:record_trial",
    "training": "makemore_core.training.kernel_step:KernelStep.run",
    "reporting": "search.trials.attempts:record_reports",
    "telling": "search.trials.attempts:finish_attempt",
    "recovering": "search.trials.recovery:recover",
    "statement": "sqlalchemy.engine.default:DefaultDialect.do_execute",
    "commit": "sqlalchemy.engine.default:DefaultDialect.do_commit",
    "opening": "search.evaluation.final_test:_record_opening",
    "recording the test": "search.evaluation.final_test:_record",
}
AFTER = {
    "claimed": "search.trials.claims:claim",
    "trial added": "search.storage.optuna_writer:insert_trial",
    "created": "search.trials.attempts:record_trial",
    "reported": "search.trials.attempts:record_reports",
    "checkpointed": "makemore_core.model.checkpoint:_write",
    "snapshot recorded": "search.trials.attempts:record_snapshots",
    "told": "search.storage.optuna_writer:finish_trial",
    "slot settled": "search.trials.attempts:_release_slot",
    "settled": "search.trials.attempts:finish_attempt",
    "committed": "sqlalchemy.engine.default:DefaultDialect.do_commit",
    "opened": "search.evaluation.final_test:_record_opening",
    "test recorded": "search.evaluation.final_test:_record",
}


class Plan:
    """What is to happen in this process."""

    def __init__(self, place):
        self.place = Path(place)
        plan = json.loads((self.place / "plan.json").read_text())
        self.constants = plan.get("constants", {})
        self.faults = [f for f in plan.get("faults", ()) if f.get("role", "worker") == ROLE]
        self.watched = {fault["phase"] for fault in self.faults} | set(plan.get("watch", ()))
        self.limits_pages = plan.get("limits_pages", False)
        self.sets_clocks = plan.get("sets_clocks", False)
        self.ordinal = None
        for name, number in plan.get("refused", {}).items():
            setattr(os, name, refused(number))
        if self.sets_clocks:
            time.time = lambda: true_clock() + self.seconds_ahead()

    def seconds_ahead(self):
        """By how much the clocks are set, read anew at each look at one."""
        try:
            return float((self.place / "clock").read_text())
        except FileNotFoundError:
            return 0.0

    def reach(self, phase, seen=None):
        """Counts a phase, and does what is planned for it."""
        if phase not in self.watched:
            return
        if phase == "training" and self.ordinal is None:
            return  # the kernels are being warmed up
        count = self.count(f"hits/{ROLE} {phase}")
        for index, fault in enumerate(self.faults):
            due = count >= fault["from"] if "from" in fault else fault.get("at") in (None, count)
            if fault["phase"] != phase or not due:
                continue
            if fault.get("ordinal") not in (None, self.ordinal):
                continue
            if fault.get("times") and self.count(f"fired/{index}") > fault["times"]:
                continue
            self.note("fault", phase=phase, action=fault["action"])
            ACTIONS[fault["action"]](self, fault, seen)

    def count(self, name):
        """How often this has been called with a name, over all processes."""
        with (self.place / name).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b".")
            file.flush()
            return file.tell()

    def note(self, event, **values):
        """Appends one event, whole, to what the harness reads afterwards."""
        values |= {"event": event, "pid": os.getpid(), "at": true_clock()}
        line = json.dumps(values).encode() + b"\n"
        file = os.open(f"{self.place}/events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line)
        os.close(file)


def refused(number):
    """What a file system says that lacks something."""

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return refuse


def die(plan, fault, seen):
    os.kill(os.getpid(), signal.SIGKILL)


def tear(plan, fault, file):
    """Dies with half of a file written."""
    os.ftruncate(file, os.fstat(file).st_size // 2)
    die(plan, fault, file)


def pause(plan, fault, seen):
    """Says that it is here, and waits until it may go on."""
    (plan.place / "paused").touch()
    while not (plan.place / "go on").exists():
        time.sleep(0.02)


def oversleep(plan, fault, seen):
    """Does nothing until its lease has expired: no worker renews one in the middle of a step."""
    import sqlalchemy as sa

    database = sa.create_engine(os.environ["FAULTS_URL"], poolclass=sa.NullPool)
    newest = "SELECT ended_at FROM makemore_workers WHERE pid = :pid ORDER BY started_at DESC"
    ended_at = None
    while ended_at is None:
        time.sleep(0.1)
        with database.connect() as connection:
            ended_at = connection.scalar(sa.text(newest), {"pid": os.getpid()})


def fail(plan, fault, seen):
    raise fault_of_the_database("the connection was lost (a fault)")


def fault_of_the_database(words):
    import sqlite3

    if os.environ.get("FAULTS_DRIVER") == "psycopg":
        import psycopg

        return psycopg.OperationalError(words)
    return sqlite3.OperationalError(words)


def spoil(how):
    """Damages the newest snapshot, then dies."""

    def act(plan, fault, seen):
        snapshots = seen[0][2]
        name = f"*/*-step-{snapshots[0]['step']}.safetensors"
        (newest,) = Path(os.environ["FAULTS_CHECKPOINTS"]).glob(name)
        newest.write_bytes(how(plan, bytearray(newest.read_bytes())))
        die(plan, fault, seen)

    return act


def cut(plan, content):
    return content[: len(content) // 2]


def flip(plan, content):
    content[len(content) // 2] ^= 0x10
    return content


def pickled(plan, content):
    import pickle

    class Bomb:
        def __reduce__(self):
            return open, (str(plan.place / "a pickle ran"), "w")

    return pickle.dumps(Bomb())


ACTIONS = {
    "die": die,
    "tear and die": tear,
    "pause": pause,
    "oversleep": oversleep,
    "fail": fail,
    "cut and die": spoil(cut),
    "flip and die": spoil(flip),
    "pickle and die": spoil(pickled),
}


def wrapped(plan, function, before, after):
    @functools.wraps(function)
    def call(*args, **kwargs):
        for phase in before:
            plan.reach(phase, (args, kwargs))
        result = function(*args, **kwargs)
        for phase in after:
            plan.reach(phase, (args, kwargs))
        return result

    return call


def wrap(plan, module):
    """Wraps this module's functions that begin or end a phase, and those that are watched.

    A name that the module does not have ends the process: the program was renamed, and this was
    not.
    """
    targets = {}
    for table, side in ((BEFORE, 0), (AFTER, 1)):
        for phase, target in table.items():
            targets.setdefault(target, ([], []))[side].append(phase)
    for target, (before, after) in targets.items():
        change(module, target, lambda call, b=before, a=after: wrapped(plan, call, b, a))
    for target, watch in WATCHES.items():
        change(module, target, functools.partial(watch, plan))


def change(module, target, to):
    """Replaces what a target, `module:path`, names, if it is of this module."""
    name, _, path = target.partition(":")
    if name == module.__name__:
        *owners, attribute = path.split(".")
        owner = functools.reduce(getattr, owners, module)
        setattr(owner, attribute, to(vars(owner)[attribute]))


def watch_report(plan, record_reports):
    """Notes each dev loss that the trainer was told is stored."""

    @functools.wraps(record_reports)
    def watched(storage, study, trial_id, losses):
        record_reports(storage, study, trial_id, losses)
        note_losses(plan, trial_id, losses)

    return watched


def watch_finish(plan, finish_attempt):
    """As `watch_report`, for those that are stored with the outcome."""

    @functools.wraps(finish_attempt)
    def watched(storage, study, attempt_id, trial_id, losses, **values):
        finish_attempt(storage, study, attempt_id, trial_id, losses, **values)
        if values["outcome"] != "failed":  # a worker that was given up on ends nothing any more
            note_losses(plan, trial_id, losses)

    return watched


def note_losses(plan, trial_id, losses):
    for resource, dev_loss in losses.items():
        plan.note("stored", trial_id=trial_id, resource=resource, dev_loss=dev_loss.hex())


def watch_recorded_snapshots(plan, record_snapshots):
    """Notes each snapshot that stands in the database."""

    @functools.wraps(record_snapshots)
    def watched(storage, attempt_id, entries):
        record_snapshots(storage, attempt_id, entries)
        plan.note("snapshot", attempt=attempt_id, step=entries[0]["step"])

    return watched


def watch_attempt(plan, run_attempt):
    """Remembers which slot is being tried."""

    @functools.wraps(run_attempt)
    def watched(context, claim):
        plan.ordinal = claim.ordinal
        return run_attempt(context, claim)

    return watched


def watch_resume(plan, newest):
    """Notes from which snapshot each attempt continues."""

    @functools.wraps(newest)
    def watched(snapshots):
        snapshot = newest(snapshots)
        step = snapshot.state["step"] if snapshot else 0
        plan.note("resume", attempt=snapshots._claim.attempt_id, step=step)
        return snapshot

    return watched


def watch_evaluation(plan, evaluate):
    """Notes each evaluation on the test split."""

    @functools.wraps(evaluate)
    def watched(*args):
        result = evaluate(*args)
        plan.note("test evaluated", test_loss=result["test_loss"].hex())
        return result

    return watched


class WatchedOs:
    """`os`, for the checkpoint module alone: a checkpoint is on its way when it is synced."""

    def __init__(self, plan):
        self._plan = plan

    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, file):
        if not Path(f"/proc/self/fd/{file}").is_dir():
            self._plan.reach("checkpointing", file)
        os.fsync(file)


def watch_syncs(plan, _os):
    return WatchedOs(plan)


def limit_pages(plan, connect):
    """`PRAGMA max_page_count` on every connection while the file `full` is there."""
    if not plan.limits_pages:
        return connect
    import sqlite3

    class Connection(sqlite3.Connection):
        def cursor(self, *args):
            limit(self, plan.place)
            return super().cursor(*args)

    def limit(connection, place):
        full = (place / "full").exists()
        if full != getattr(connection, "is_full", False):
            connection.is_full = full
            raw = sqlite3.Connection.cursor(connection)
            pages = raw.execute("PRAGMA page_count").fetchone()[0]
            raw.execute(f"PRAGMA max_page_count = {pages if full else 10**9}")
            raw.close()

    sqlite3.dbapi2.connect = functools.partial(connect, factory=Connection)
    return sqlite3.dbapi2.connect


def set_database_clock(plan, initialize):
    """The database's clock is set together with those of the processes."""
    if not plan.sets_clocks:
        return initialize

    @functools.wraps(initialize)
    def ahead(storage, *args):
        from sqlalchemy import event

        from search.storage import clock

        def put(connection, _, sql, values, *__):
            real = clock.SQL[connection.dialect.name]
            return sql.replace(real, f"({real} + {plan.seconds_ahead()!r})"), values

        initialize(storage, *args)
        event.listen(storage.engine, "before_cursor_execute", put, retval=True)

    return ahead


WATCHES = {
    "search.storage.database:Storage.__init__": set_database_clock,
    "search.trials.attempts:record_reports": watch_report,
    "search.trials.attempts:finish_attempt": watch_finish,
    "search.trials.attempts:record_snapshots": watch_recorded_snapshots,
    "search.worker.trial_runner:run_attempt": watch_attempt,
    "search.worker.snapshots:Snapshots.newest": watch_resume,
    "search.evaluation.final_test:_evaluate": watch_evaluation,
    "makemore_core.model.checkpoint:os": watch_syncs,
    "sqlite3:connect": limit_pages,
}


class Finder(importlib.abc.MetaPathFinder):
    """Finds modules as ever, and has them changed once they are loaded."""

    def __init__(self, plan):
        self.plan = plan
        targets = (*BEFORE.values(), *AFTER.values(), *WATCHES)
        self.names = {target.partition(":")[0] for target in targets}
        self.names |= {constant.rpartition(".")[0] for constant in plan.constants}

    def find_spec(self, name, path, target=None):
        if name not in self.names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                for constant, value in self.plan.constants.items():
                    owner, _, attribute = constant.rpartition(".")
                    if owner == name:
                        assert hasattr(module, attribute), constant
                        setattr(module, attribute, value)
                wrap(self.plan, module)

            spec.loader.exec_module = exec_module
        return spec


if PLACE:
    sys.meta_path.insert(0, Finder(Plan(PLACE)))
