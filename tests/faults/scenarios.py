"""What is done to a study: each scenario takes a place and a seeded generator, and checks."""

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from servers import start_again
from workspace import wait_until

from .harness import (
    HERE,
    LEASE_RAN_OUT,
    SET_ASIDE,
    SHORT_LEASE,
    FaultRun,
    NotHere,
    attempts,
    check,
    ended,
    fault,
    is_alive,
    kill,
    parent_of,
    started_by,
)

WATCHED = ("claiming", "asking", "training", "reporting", "checkpointing", "telling")


@dataclass(frozen=True)
class Scenario:
    """One kind of fault."""

    name: str
    act: Callable[[FaultRun, random.Random], None]
    times: int = 1
    """How often the long suite tries it on each database."""
    on: tuple[str, ...] = ("sqlite", "postgresql")


SCENARIOS: list[Scenario] = []


def scenario(
    name: str, times: int = 1, on: tuple[str, ...] = ("sqlite", "postgresql")
) -> Callable[
    [Callable[[FaultRun, random.Random], None]], Callable[[FaultRun, random.Random], None]
]:
    def add(
        act: Callable[[FaultRun, random.Random], None],
    ) -> Callable[[FaultRun, random.Random], None]:
        SCENARIOS.append(Scenario(name, act, times, on))
        return act

    return add


# Kills


@scenario("kill -9 of a random worker at a random moment (5 a run)", times=10)
def kill_random_workers(place: FaultRun, rng: random.Random) -> None:
    """Whoever is killed, whenever: the budget is met, and every curve is what it would have been.

    Between two kills something has to finish, or the launcher takes the host for a broken one.
    """
    place.trials = 60  # a worker is replaced at once: fewer are done before five are killed
    place.write_study()
    place.plan(watch=WATCHED)
    run = place.run()
    for _ in range(5):
        wait_until(lambda: place.live_workers() or run.poll() is not None, timeout=120)
        time.sleep(rng.uniform(0.0, 1.5))
        workers = place.live_workers()
        if workers:
            kill(rng.choice(workers))
            place.note_kill()
        enough = len(place.events("stored")) + 12
        wait_until(
            lambda enough=enough: len(place.events("stored")) >= enough or run.poll() is not None,
            timeout=120,
        )
    place.finish(run)
    check(place)


PHASES = {
    "claiming": 2,
    "claimed": 2,
    "asking": 2,
    "creating": 1,
    "trial added": 2,
    "created": 3,
    "training": 9,
    "reporting": 4,
    "reported": 7,
    "checkpointing": 2,
    "checkpointed": 2,
    "snapshot recorded": 3,
    "telling": 2,
    "told": 2,
    "slot settled": 1,
    "settled": 2,
}
"""Where a kill is aimed, and at the how manieth time in the short suite."""


def kill_at(place: FaultRun, phase: str, at: int) -> None:
    """A worker dies in a phase; its trial is tried again, once, and nothing is counted twice."""
    action = "tear and die" if phase == "checkpointing" else "die"
    place.plan(fault(phase, at, action))
    place.finish()
    assert place.struck() == [phase], place.struck()
    check(place)


for _phase in PHASES:

    @scenario(f"kill in phase: {_phase}", times=3)
    def _kill_in_phase(place: FaultRun, rng: random.Random, phase: str = _phase) -> None:
        kill_at(place, phase, rng.randint(1, 4))


@scenario("kill of a worker twice in one attempt's life: asked, created, then again", times=2)
def kill_twice_early(place: FaultRun, rng: random.Random) -> None:
    """Two deaths of one configuration before its first report, at different moments."""
    first, second = rng.sample(["claimed", "creating", "trial added", "created"], 2)
    place.plan(
        fault(first, None, ordinal=1, times=1),
        fault(second, None, ordinal=1, times=1),
    )
    place.finish()
    assert 2 == len(place.struck())
    check(place)


@scenario("kill of the launcher and its last worker", times=3)
def kill_launcher_and_worker(place: FaultRun, rng: random.Random) -> None:
    """Nobody is left to notice; the same command goes on."""
    run = place.run(workers=1)
    workers = place.wait_for_workers()
    place.wait_for("stored", rng.randint(1, 20))
    kill(run.pid, signal.SIGSTOP)  # dead, it might be missed, and workers leave in order
    for pid in workers:
        kill(pid)
    kill(run.pid)
    ended(run)
    wait_until(lambda: not any(map(is_alive, workers)))
    place.finish()
    check(place)
    assert {a.reason for a in attempts(place) if a.outcome == "failed"} <= {"killed"}


@scenario("kill of the launcher alone", times=3)
def kill_launcher(place: FaultRun, rng: random.Random) -> None:
    """Its workers notice, record their trials as interrupted, and leave."""
    run = place.run()
    workers = place.wait_for_workers(2)
    place.wait_for("stored", rng.randint(1, 20))
    kill(run.pid)
    ended(run)
    wait_until(lambda: not any(map(is_alive, workers)))
    check(place, done=False)
    place.finish()
    check(place)
    assert {a.reason for a in attempts(place) if a.outcome == "failed"} <= {"interrupted"}


@scenario("kill of the process that starts the workers", times=3)
def kill_nursery(place: FaultRun, rng: random.Random) -> None:
    """Its workers record their trials as interrupted, and leave; the launcher gets others."""
    place.plan(fault("training", rng.randint(5, 20), "pause"))
    run = place.run()
    workers = place.wait_for_workers(2)
    place.wait_until_paused()
    kill(parent_of(workers[0]))
    place.note_struck("workers at work")
    place.go_on()
    place.finish(run)
    check(place)
    assert not any(map(is_alive, workers))
    assert {a.reason for a in attempts(place) if a.outcome == "failed"} <= {"interrupted"}


@scenario("kill of the process that starts six workers", times=3)
def kill_starter_of_six(place: FaultRun, rng: random.Random) -> None:
    """One event, whatever the number of workers: the run goes on, and it is held against nobody."""
    place.trials = 12
    place.write_study()
    run = place.run(workers=6)
    workers = place.wait_for_workers(6)
    time.sleep(rng.uniform(0.0, 1.0))
    kill(parent_of(workers[0]))
    place.note_kill()
    found = place.finish(run)
    assert 1 == found.err.count("the process that starts the workers died (signal 9)"), found.err
    assert "a worker died" not in found.err, found.err
    check(place)
    check_nobody_is_blamed(place)


@scenario("kill of the process that starts six workers of serve", times=2)
def kill_starter_of_serve(place: FaultRun, rng: random.Random) -> None:
    """The service goes on as well."""
    place.trials = 12
    place.examples = 1_000_000  # or some are done before the last worker has started
    place.write_study()
    place.call("submit", place.study_file).expect(0)
    serve = place.start("serve", "--workers", "6", "--port", "0")
    workers = place.wait_for_workers(6)
    kill(parent_of(workers[0]))
    place.note_kill()
    finished = "SELECT COUNT(*) FROM makemore_slots WHERE state = 'finished'"
    wait_until(lambda: place.try_query(finished) == [(place.trials,)] or serve.poll() is not None)
    assert serve.poll() is None, ended(serve)
    serve.send_signal(signal.SIGTERM)
    found = ended(serve)
    assert found.status in (0, 130), found
    check(place)
    check_nobody_is_blamed(place)


def check_nobody_is_blamed(place: FaultRun) -> None:
    """No attempt is held against its configuration, and none was set aside."""
    assert [(0, 0)] == place.query("SELECT SUM(losses), SUM(expirations) FROM makemore_slots")
    assert {a.outcome for a in attempts(place)} <= {"complete", "failed"}


@scenario("kill of the process that starts the workers, three times with no report in between")
def kill_every_starter(place: FaultRun, rng: random.Random) -> None:
    """The run ends, exit 1, and one line names the cause; the budget is untouched."""
    place.examples = 1_000_000_000
    place.write_study()
    place.plan(watch=["training"])
    run = place.run(workers=2)
    killed: set[int] = set()
    for _ in range(3):
        starter = wait_until(lambda: next(iter(set(started_by(run.pid)) - killed), None))
        at_work = place.hits("training")
        wait_until(lambda at_work=at_work: place.hits("training") > at_work + 5)
        kill(starter)
        killed.add(starter)
        place.note_kill()
    found = ended(run).expect(1)
    (line,) = [line for line in found.err.splitlines() if line.startswith("error:")]
    assert "the process that starts the workers died, 3 times with no report" in line
    check(place, done=False)
    check_nobody_is_blamed(place)


@scenario("kill of the process that starts the workers, four times with reports in between")
def kill_starters_now_and_then(place: FaultRun, rng: random.Random) -> None:
    """Progress is made, so the run goes on."""
    place.trials, place.examples = 3, 600_000
    place.write_study()
    run = place.run(workers=2)
    for _ in range(4):
        stored = len(place.events("stored"))
        place.wait_for("stored", stored + 4)
        kill(wait_until(lambda: next(iter(started_by(run.pid)), None)))
        place.note_kill()
    place.finish(run)
    check(place)
    check_nobody_is_blamed(place)


@scenario("kill of launcher, starter and workers together, five times over", times=2)
def kill_everything(place: FaultRun, rng: random.Random) -> None:
    """As when a host or a container goes: nobody saw a worker end, so no configuration is blamed,
    and each is tried again from its snapshot."""
    place.trials, place.examples = 2, 1_000_000
    place.write_study()
    for _ in range(5):
        enough = len(place.events("stored")) + rng.randint(1, 3)  # of twenty in the whole study
        run = place.run(workers=2)
        wait_until(
            lambda enough=enough, run=run: (
                len(place.events("stored")) >= enough or run.poll() is not None
            )
        )
        kill(run.pid, signal.SIGSTOP)  # or it might see one of them end
        starters = started_by(run.pid)
        for pid in [*(worker for each in starters for worker in started_by(each)), *starters]:
            kill(pid)
        kill(run.pid)
        ended(run)
        place.note_kill()
    place.finish()
    check(place)
    check_nobody_is_blamed(place)


@scenario("kill of the launcher while it recovers a dead worker's trial", times=2)
def kill_recovering_launcher(place: FaultRun, rng: random.Random) -> None:
    """Between the steps of a recovery: the next command goes on from there."""
    phase = rng.choice(["telling", "told", "slot settled", "settled"])
    place.plan(fault("training", 5), fault(phase, 1, role="launcher"))
    ended(place.run(workers=1))
    assert place.struck()[-1] == phase
    wait_until(lambda: not place.live_workers())
    place.plan()
    place.finish()
    check(place)


@scenario("Ctrl-C, three times over one study", times=2)
def interrupt(place: FaultRun, rng: random.Random) -> None:
    """Recorded as interrupted, exit 130; interruptions use up nothing."""
    stored = 0
    for _ in range(3):
        run = place.run()
        stored += rng.randint(3, 12)
        place.wait_for("stored", stored)
        run.send_signal(signal.SIGINT)
        ended(run).expect(130)
        stored = len(place.events("stored"))
        check(place, done=False)
    place.finish()
    check(place)
    lost = [a for a in attempts(place) if a.outcome == "failed"]
    assert {a.reason for a in lost} <= {"interrupted"}, lost


@scenario("SIGTERM to one worker")
def terminate_worker(place: FaultRun, rng: random.Random) -> None:
    """The worker leaves in good order, and is replaced."""
    run = place.run()
    place.wait_for("stored", 2)
    kill(rng.choice(place.wait_for_workers()), signal.SIGTERM)
    place.finish(run)
    check(place)
    assert {a.reason for a in attempts(place) if a.outcome == "failed"} <= {"interrupted"}


@scenario("a configuration that kills every worker that tries it")
def deadly_configuration(place: FaultRun, rng: random.Random) -> None:
    """After two it is set aside, and the rest of the study is done."""
    place.plan(fault("training", None, ordinal=2))
    place.finish()
    check(place)
    snapshots = place.data_dir.glob("checkpoints/*/slot-*")
    assert [] == [path.name for path in snapshots], "retention: of a slot that is settled"
    aside = [(a.ordinal, a.outcome) for a in attempts(place) if a.reason == SET_ASIDE]
    assert [(2, "pruned")] == aside
    assert place.struck() == ["training"] * 2


@scenario("a host on which every worker dies")
def deadly_host(place: FaultRun, rng: random.Random) -> None:
    """The launcher gives up, exit 1, with next to nothing of the budget eaten."""
    place.trials = 30
    place.write_study()
    place.plan(fault("training", None))
    found = ended(place.run(), 120).expect(1)
    assert "workers died in a row" in found.err, found.err
    check(place, done=False)
    pruned = [a for a in attempts(place) if a.outcome == "pruned"]
    assert len(pruned) <= 3, "six workers, and two for each configuration"


@scenario("SIGSTOP past the lease, then SIGCONT", times=2)
def stop_past_lease(place: FaultRun, rng: random.Random) -> None:
    """Others take over what it held; when it comes back its writes are refused."""
    place.constants = dict(SHORT_LEASE)
    place.trials, place.examples = 4, 300_000
    place.write_study()
    place.plan(fault("training", rng.randint(5, 12), "pause"), watch=WATCHED)
    run = place.run()
    place.wait_until_paused()  # outside of every transaction
    pid = place.events("fault")[0]["pid"]
    kill(pid, signal.SIGSTOP)
    place.go_on()
    wait_until(
        lambda: place.try_query("SELECT id FROM makemore_attempts WHERE reason = 'killed'"),
        timeout=60,
    )
    kill(pid, signal.SIGCONT)
    place.finish(run)
    check(place)
    assert ["killed"] == [a.reason for a in attempts(place) if a.outcome == "failed"]


@scenario("a worker of another host that vanishes, with nobody asking for a trial")
def vanished_host(place: FaultRun, rng: random.Random) -> None:
    """Its lease runs out, and an idle worker or the launcher notices."""
    place.constants = dict(SHORT_LEASE)
    place.trials = 2
    place.write_study()
    place.plan(fault("training", 5, "pause"))
    run = place.run()
    place.wait_until_paused()
    pid = place.events("fault")[0]["pid"]
    place.execute("UPDATE makemore_workers SET host = 'elsewhere', pid = 1 WHERE pid = :p", p=pid)
    kill(pid, signal.SIGSTOP)
    place.go_on()
    retried = "SELECT id FROM makemore_attempts WHERE retry_of IS NOT NULL AND outcome = 'complete'"
    wait_until(lambda: place.try_query(retried), timeout=60)
    kill(pid)
    place.finish(run)
    check(place)


@scenario("a configuration whose lease runs out whenever it is tried")
def expiring_configuration(place: FaultRun, rng: random.Random) -> None:
    """A step of it lasts until its lease has expired: it is set aside after four times, not after
    two."""
    place.constants = dict(SHORT_LEASE)
    place.trials, place.examples = 4, 2_000_000
    place.write_study()
    place.plan(fault("training", None, "oversleep", ordinal=1))
    place.finish(timeout=240)
    check(place)
    aside = [(a.ordinal, a.reason) for a in attempts(place) if a.outcome == "pruned"]
    assert aside == [(1, LEASE_RAN_OUT)]
    tried = [(a.outcome, a.reason) for a in attempts(place) if a.ordinal == 1]
    assert tried == [("failed", "killed")] * 3 + [("pruned", LEASE_RAN_OUT)]


@scenario("a host on which no worker can renew its lease")
def leases_of_nobody(place: FaultRun, rng: random.Random) -> None:
    """After three times with no report in between the run ends, exit 1; nothing is set aside."""
    place.constants = dict(SHORT_LEASE)
    place.plan(fault("training", None, "oversleep"))
    found = ended(place.run(workers=2), 180).expect(1)
    assert "no worker could renew its lease, 3 times with no report" in found.err, found.err
    wait_until(lambda: not place.live_workers())
    check(place, done=False)
    assert {"failed"} == {a.outcome for a in attempts(place)}


# Checkpoints


def damage(how: str) -> Callable[[FaultRun, random.Random], None]:
    def act(place: FaultRun, rng: random.Random) -> None:
        """The one before it is used, the log says so, and no pickle ever runs."""
        place.trials, place.examples = 2, 1_000_000
        place.write_study()
        place.plan(fault("snapshot recorded", rng.randint(3, 5), f"{how} and die", ordinal=0))
        place.finish(place.run(workers=1))
        check(place)
        assert "falling back" in place.log()
        assert not (place.faults_dir / "a pickle ran").exists()
        (killer,) = place.events("fault")
        before = [e for e in place.events("snapshot") if e["at"] < killer["at"]]
        resumed = [e for e in place.events("resume") if e["at"] > killer["at"]]
        # The damaged one was recorded, but its worker did not live to say so here.
        assert resumed[0]["step"] == before[-1]["step"], (resumed, before)

    return act


for _how in ("cut", "flip", "pickle"):
    scenario(f"the newest checkpoint: {_how}", times=2)(damage(_how))


# Disks and databases


@contextlib.contextmanager
def tmpfs(path: Path, size: str) -> Iterator[None]:
    """A small disk. Raises NotHere where one may not."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotHere(made.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


@scenario("a full disk (a small tmpfs), and room again")
def full_disk(place: FaultRun, rng: random.Random) -> None:
    """The study pauses with a clear line, and goes on; nothing that was trained is lost."""
    with tmpfs(place.data_dir, "8m"):
        place.plan(fault("training", rng.randint(5, 20), "pause"))
        run = place.run()
        place.wait_until_paused()
        filler = place.data_dir / "filler"
        with filler.open("wb", buffering=0) as file:
            _fill(file)
            stored = len(place.events("stored"))
            place.go_on()
            until = time.monotonic() + 3.0
            while time.monotonic() < until:
                _fill(file)  # what a journal or a snapshot gave back as well
                time.sleep(0.01)
        place.wait_for("stored", stored + (0 if place.is_sqlite else 1))
        assert run.poll() is None, ended(run)
        filler.unlink()
        found = place.finish(run)
        if place.is_sqlite:
            assert "disk is full" in found.err, found.err
            assert "answers again" in found.err, found.err
        check(place)
        lost = [a.reason for a in attempts(place) if a.outcome == "failed"]
        assert [] == lost, lost


def _fill(file: IO[bytes]) -> None:
    """Takes every block of a disk that is free."""
    with contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1024)


@scenario("PRAGMA max_page_count, and room again", on=("sqlite",))
def full_database(place: FaultRun, rng: random.Random) -> None:
    """As with a full disk."""
    place.plan(limits_pages=True)
    run = place.run()
    place.wait_for("stored", rng.randint(2, 15))
    (place.faults_dir / "full").touch()
    time.sleep(4.0)
    assert run.poll() is None, ended(run)
    (place.faults_dir / "full").unlink()
    found = place.finish(run)
    assert "full" in found.err, found.err
    check(place)
    assert [] == [a for a in attempts(place) if a.outcome == "failed"]


def lock(seconds: float) -> Callable[[FaultRun, random.Random], None]:
    def act(place: FaultRun, rng: random.Random) -> None:
        """Everybody waits; nobody is given up on, and nothing is lost."""
        run = place.run()
        place.wait_for("stored", rng.randint(2, 15))
        with locked(place):
            time.sleep(seconds)
        found = place.finish(run)
        check(place)
        assert [] == [a for a in attempts(place) if a.outcome == "failed"], found.err

    return act


@contextlib.contextmanager
def locked(place: FaultRun) -> Iterator[None]:
    """Nobody else can write to the database, nor read it."""
    if place.is_sqlite:
        connection = sqlite3.connect(place.database, timeout=60, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("COMMIT")
        connection.close()
        return
    with place.connect() as connection:
        connection.execute(
            sa.text(
                "LOCK TABLE makemore_studies, makemore_slots, makemore_attempts, trials, "
                "makemore_workers, trial_intermediate_values IN ACCESS EXCLUSIVE MODE"
            )
        )
        yield
        connection.rollback()


scenario("the database locked for 3 s", times=2)(lock(3.0))
scenario("the database locked for 60 s")(lock(61.0))


def refused(place: FaultRun, *words: str) -> None:
    """G: exit 2, one line, and not a byte of the data directory is another one afterwards."""
    before = place.tree()
    place.call("run", place.study_file, "--quiet").refused(2, *words)
    assert place.tree() == before


@scenario("a read-only database")
def read_only(place: FaultRun, rng: random.Random) -> None:
    place.call("submit", place.study_file).expect(0)
    if not place.is_sqlite:
        name = sa.make_url(place.url).database
        place.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        refused(place, "read-only")
        return
    kept = place.root / "kept"
    shutil.copytree(place.data_dir, kept)
    with tmpfs(place.data_dir, "8m"):
        shutil.copytree(kept, place.data_dir, dirs_exist_ok=True)
        remount = ["mount", "-o", "remount,ro", str(place.data_dir)]
        subprocess.run(remount, check=True)
        refused(place, str(place.database), "read-only")


@scenario("a corrupted page", times=3, on=("sqlite",))
def corrupted_page(place: FaultRun, rng: random.Random) -> None:
    place.finish()
    content = bytearray(place.database.read_bytes())
    page = rng.randrange(2, len(content) // 4096)
    content[page * 4096 : (page + 1) * 4096] = rng.randbytes(4096)
    place.database.write_bytes(content)
    refused(place, str(place.database), "damaged")


@scenario("tables of a newer program")
def newer_schema(place: FaultRun, rng: random.Random) -> None:
    place.call("submit", place.study_file).expect(0)
    place.execute("UPDATE makemore_schema SET version = 99")
    refused(place, "99", "newer")
    for verb in ("status", "best", "worker"):
        place.call(verb, "faults").refused(2, "newer")


@scenario("PostgreSQL restarted during trials", times=3, on=("postgresql",))
def restart_during_trials(place: FaultRun, rng: random.Random) -> None:
    run = place.run()
    place.wait_for("stored", rng.randint(1, 30))
    restart(place, rng.uniform(0.0, 3.0))
    place.finish(run)
    check(place)
    assert [] == [a for a in attempts(place) if a.outcome == "failed"]


@scenario("PostgreSQL restarted during the final tell", times=3, on=("postgresql",))
def restart_during_tell(place: FaultRun, rng: random.Random) -> None:
    phase = rng.choice(["telling", "told", "slot settled"])
    place.plan(fault(phase, place.trials, "pause"))
    run = place.run()
    place.wait_until_paused()
    place.server.stop()
    place.go_on()
    time.sleep(1.0)
    start_again(place.server)
    place.finish(run)
    check(place)
    assert [] == [a for a in attempts(place) if a.outcome == "failed"]


@scenario("SIGTERM while PostgreSQL is away", on=("postgresql",))
def terminate_without_database(place: FaultRun, rng: random.Random) -> None:
    """Nobody waits for it: launcher and workers leave, and the same command goes on later."""
    place.plan(fault("training", rng.randint(3, 9), "pause"))
    run = place.run()
    place.wait_until_paused()
    place.server.stop()
    try:
        place.go_on()
        time.sleep(rng.uniform(0.0, 3.0))
        run.send_signal(signal.SIGTERM)
        ended(run, timeout=60).expect(130)
    finally:
        start_again(place.server)
    place.finish()
    check(place)


def restart(place: FaultRun, pause: float) -> None:
    place.server.stop()
    time.sleep(pause)
    start_again(place.server)


@scenario("PostgreSQL down at the start", on=("postgresql",))
def down_at_the_start(place: FaultRun, rng: random.Random) -> None:
    """Refused, and the password is in no output."""
    place.url = "postgresql+psycopg://somebody:Tops3cret{x}@127.0.0.1:1/nothing"
    for verb in (("run", place.study_file), ("status",), ("worker",), ("best", "faults")):
        found = place.call(*verb)
        found.refused(2, "127.0.0.1")
        assert "Tops3cret" not in found.out + found.err
    assert {} == place.tree()


# Clocks and zones

PATIENT_LEASE = {
    "search.storage.tables.LEASE_SECONDS": 600.0,
    "search.launch.supervisor.RECOVERY_SECONDS": 0.3,
}
"""Much shorter than the clocks are set by, and longer than any disk keeps a worker waiting."""


@scenario("the clocks set by eight hours under a run: forward, back, and back again", times=3)
def set_clocks(place: FaultRun, rng: random.Random) -> None:
    """Exactly the budget within the timeout: what counts is what workers worked, and no lease of a
    worker that lives is taken to have run out."""
    place.constants = dict(PATIENT_LEASE)
    place.trials, place.examples = 6, 600_000
    budget = {"trials": place.trials, "examples": place.examples, "evaluations": 10}
    place.write_study(budget=budget | {"timeout": "10m"})
    place.plan(sets_clocks=True)
    began = time.monotonic()
    run = place.run()
    for hours in rng.choice([(8, 0, -8), (8, -8, 0), (-8, 0, 8)]):
        place.wait_for("stored", len(place.events("stored")) + rng.randint(4, 8))
        set_clock(place, hours * 3600.0)
        place.note_struck("the clocks")
    found = ended(run).expect(0)
    elapsed = time.monotonic() - began
    assert found.json["budget"]["finished"] == place.trials, found.json
    check(place)
    lost = [a for a in attempts(place) if a.outcome != "complete"]
    assert [] == lost, (lost, place.log())
    causes = place.query("SELECT DISTINCT end_cause FROM makemore_workers")
    assert {cause for (cause,) in causes}.isdisjoint({"expired", "killed", "shared"}), causes
    moments = [event["at"] for event in place.events("stored")]
    ((worked,),) = place.query("SELECT worked_seconds FROM makemore_studies")
    assert 0.8 * (max(moments) - min(moments)) <= worked <= elapsed + 5.0, (worked, elapsed)


def set_clock(place: FaultRun, seconds: float) -> None:
    """Sets the clocks of every process, and waits until a worker has signed by its own."""
    aside = place.faults_dir / "clock to be"
    aside.write_text(str(seconds))
    aside.rename(place.faults_dir / "clock")
    now = time.time() + seconds
    signs = "SELECT seen_at FROM makemore_workers"
    wait_until(lambda: any(abs(row.seen_at - now) < 3600.0 for row in place.try_query(signs)))


TELL_TIMES = """
import sys, optuna
for trial in optuna.load_study(study_name="faults", storage=sys.argv[1]).trials:
    print(trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
"""


@scenario("a machine whose clock shows New York's time")
def another_zone(place: FaultRun, rng: random.Random) -> None:
    """Optuna's own reader tells when each trial ran, to the second, there and elsewhere."""
    place.before = ["env", "TZ=America/New_York"]
    place.finish()
    check(place)
    lives = [(a.started_at, a.ended_at) for a in sorted(attempts(place), key=lambda a: a.trial)]
    for zone in ("America/New_York", "UTC", "Asia/Kathmandu"):
        read = subprocess.run(
            [sys.executable, "-c", TELL_TIMES, place.url],
            env=os.environ | {"TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        )
        times = [tuple(map(float, line.split())) for line in read.stdout.splitlines()]
        assert len(times) == len(lives) == place.trials
        for (began, over), (claimed, settled) in zip(times, lives, strict=True):
            assert claimed - 1.0 <= began <= over <= settled + 1.0, (zone, began, claimed)


# File systems and machines that lack something, and caches that are broken


@scenario("no hard links, and eight processes creating one database", times=3, on=("sqlite",))
def no_hard_links(place: FaultRun, rng: random.Random) -> None:
    """As elsewhere: one of them makes it, and the study is done."""
    place.plan(refused={"link": rng.choice([errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])})
    submits = [place.start("submit", place.study_file) for _ in range(8)]
    for each in submits:
        ended(each).expect(0)
    assert {"studies.db"} == {path.name for path in place.database.parent.glob("*.db*")}
    place.finish()
    check(place)


@scenario("models on a disk that turns read-only under a run, and writable again", times=2)
def read_only_models(place: FaultRun, rng: random.Random) -> None:
    """It is not waited for: exit 1, in a line; no configuration is blamed, and the same command
    goes on."""
    models = place.data_dir / "checkpoints"
    with tmpfs(models, "64m"):
        place.plan(fault("training", rng.randint(5, 40), "pause"))
        run = place.run()
        place.wait_until_paused()
        _remount(models, "ro")
        place.note_struck("workers at work")
        place.go_on()
        found = ended(run, timeout=60).expect(1)
        assert "Read-only file system" in found.err, found.err
        assert "the same command goes on" in found.err, found.err
        check(place, done=False)
        assert {a.reason for a in attempts(place) if a.outcome == "failed"} <= {"interrupted"}
        refused(place, str(models), "Read-only file system")
        _remount(models, "rw")
        place.finish()
        check(place)


def _remount(path: Path, mode: str) -> None:
    """Forced, since files may be open for writing."""
    command = ["mount", "-o", f"remount,{mode}", str(path)]
    wait_until(lambda: subprocess.run(command, check=False).returncode == 0, timeout=30)


@scenario("a read-only root, no directory for temporary files, no /dev/shm")
def bare_machine(place: FaultRun, rng: random.Random) -> None:
    """A study is run and confirmed as elsewhere."""
    steps = [
        f"mount --bind '{place.root}' '{place.root}'",
        "mount -t tmpfs -o ro,size=4k none /dev/shm",
        "mount -o remount,bind,ro /",
        "cd /",
    ]
    place.before = ["unshare", "--mount", "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"]
    probe = subprocess.run(
        [*place.before, "sh", "-c", '! touch /tmp/x /dev/shm/x && touch "$0"', place.root / "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise NotHere(probe.stderr.strip() or "the root stays writable")
    place.finish()
    check(place)
    confirmed = place.call("confirm", "faults", "--seeds", 2, "--json", timeout=120).expect(0)
    assert 2 == confirmed.json["winner"]["seeds"]


def _make_directory(path: Path, _rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


CACHE_DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "emptied": lambda path, _: path.write_bytes(b""),
    "cut": lambda path, rng: path.write_bytes(path.read_bytes()[: rng.randrange(1, 5_000)]),
    "garbled": lambda path, rng: path.write_bytes(rng.randbytes(path.stat().st_size)),
    "a directory": _make_directory,
}


@scenario("the cache of compiled kernels: empty, cut, garbled, a directory", times=4)
def broken_cache(place: FaultRun, rng: random.Random) -> None:
    """No worker dies of it; it is said in a line, and the files are replaced."""
    place.before = ["env", f"NUMBA_CACHE_DIR={place.root / 'cache'}"]
    place.trials = 2
    place.write_study()
    place.finish(timeout=300)  # compiles
    name, damage = rng.choice(list(CACHE_DAMAGES.items()))
    for path in sorted(place.root.glob("cache/*/*.nbc")):
        if "adamw" in path.name or rng.random() < 0.2:
            damage(path, rng)
    place.note_struck(name)
    place.trials = 4
    place.write_study()
    found = place.finish()
    assert 1 == found.err.count("compiled kernels: "), found.err
    assert 1 == found.err.count("\n"), found.err
    check(place)
    place.trials = 6
    place.write_study()
    assert "" == place.finish().err


@scenario("no home, and nowhere to keep compiled kernels", on=("sqlite",))
def no_home(place: FaultRun, rng: random.Random) -> None:
    """They are compiled, which is said; and no directory is called `~`."""
    nowhere = "~no-such-user/kernels"
    place.before = ["env", "-u", "HOME", "-u", "XDG_CACHE_HOME", f"NUMBA_CACHE_DIR={nowhere}"]
    found = place.finish(timeout=300)
    assert "compiled kernels: cannot be kept" in found.err, found.err
    for directory in (place.root, HERE.parents[1]):
        assert not any(path.name.startswith("~") for path in directory.iterdir())
    check(place)


# Many at once


@scenario("two launchers", times=2)
def two_launchers(place: FaultRun, rng: random.Random) -> None:
    """Exactly the budget, whoever gets there first."""
    place.trials = 8
    place.write_study()
    runs = [place.run(workers=1) for _ in range(2)]
    for run in runs:
        place.finish(run)
    check(place)
    assert [] == [a for a in attempts(place) if a.outcome == "failed"]


@scenario("eight processes creating one database at once", times=3)
def eight_creators(place: FaultRun, rng: random.Random) -> None:
    submits = [place.start("submit", place.study_file, "--json") for _ in range(8)]
    assert [0] * 8 == [ended(each).expect(0).status for each in submits]
    assert [(1,)] == place.query("SELECT COUNT(*) FROM makemore_studies")
    assert [(1,)] == place.query("SELECT COUNT(*) FROM studies")
    if place.is_sqlite:
        assert {"studies.db"} == {path.name for path in place.database.parent.glob("*.db*")}


@scenario("100 enqueued configurations and 8 processes")
def enqueued(place: FaultRun, rng: random.Random) -> None:
    """Each is run once, by whoever claims it."""
    place.trials, place.examples = 100, 3_000
    rates = [round(0.001 + 0.0001 * index, 6) for index in range(100)]
    place.write_study(enqueue=[{"learning_rate": rate} for rate in rates])
    place.finish(place.run(workers=8), timeout=300)
    check(place)
    found = [a.config if isinstance(a.config, dict) else _loads(a.config) for a in attempts(place)]
    assert sorted(config["learning_rate"] for config in found) == rates
    assert "locked" not in place.log()


def _loads(text: str) -> dict[str, float]:
    import json

    loaded: dict[str, float] = json.loads(text)
    return loaded


# Limits


@scenario("out of memory (RLIMIT_AS)")
def out_of_memory(place: FaultRun, rng: random.Random) -> None:
    """An outcome of the configuration; the next one goes on in the same worker."""
    place.trials = 2
    space = {"embedding_size": 8, "hidden_width": 64, "block_size": 3, "batch_size": [32, 64]}
    space |= {"learning_rate": 0.01, "schedule": "constant", "optimizer": "adamw"}
    huge = {"hidden_width": 65_536, "embedding_size": 4_096, "block_size": 64}
    place.write_study(search=space, enqueue=[{"batch_size": 32} | huge, {"batch_size": 32}])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

    run = place.start(
        "run", place.study_file, "--workers", 1, "--quiet", "--json", preexec_fn=limit
    )
    place.finish(run)
    found = [(a.outcome, a.reason) for a in attempts(place)]
    assert [("pruned", "out of memory"), ("complete", None)] == found, found
    check(place)


@scenario("over the limit of time, over that of memory")
def over_limits(place: FaultRun, rng: random.Random) -> None:
    place.trials, place.examples = 2, 3_000_000
    limits = {"seconds": 0.5} if rng.random() < 0.5 else {"memory": "50MB"}
    place.write_study(limits=limits)
    place.finish()
    check(place)
    word = "time" if "seconds" in limits else "memory"
    found = {(a.outcome, a.reason) for a in attempts(place)}
    assert found == {("pruned", f"over its {word} limit")}, found


# The test split


@scenario("two simultaneous tests", times=2)
def two_tests(place: FaultRun, rng: random.Random) -> None:
    place.finish()
    both = [place.start("test", "faults", "--yes", "--json") for _ in range(2)]
    answers = [ended(each).expect(0).json for each in both]
    assert [False, True] == sorted(answer["first_time"] for answer in answers)
    assert answers[0]["test_loss"] == answers[1]["test_loss"]
    assert 1 == len(place.events("test evaluated"))
    check(place)


for _moment in ("opening", "opened", "recording the test", "test recorded"):

    @scenario(f"kill of a test: {_moment}")
    def _kill_test(place: FaultRun, rng: random.Random, moment: str = _moment) -> None:
        """Whether it had been opened or not: one opening, one answer."""
        place.finish()
        place.plan(fault(moment, 1, role="launcher"))
        ended(place.start("test", "faults", "--yes", "--json")).expect(-signal.SIGKILL)
        evaluated = len(place.events("test evaluated"))
        place.plan()
        answer = place.call("test", "faults", "--yes", "--json").expect(0).json
        again = place.call("test", "faults", "--yes", "--json").expect(0).json
        assert answer["test_loss"] == again["test_loss"]
        assert not again["first_time"]
        if moment == "test recorded":
            assert len(place.events("test evaluated")) == evaluated == 1
        check(place)


# The service


@scenario("serve killed and started again while three studies are submitted", times=2)
def serve_killed(place: FaultRun, rng: random.Random) -> None:
    """It goes on as if nothing had happened, with every study, each to its own budget."""
    place.examples = 400_000
    place.write_study()
    files = []
    for index in range(3):
        path = place.root / f"study{index}.toml"
        path.write_text(place.study_file.read_text().replace('"faults"', f'"faults{index}"', 1))
        files.append(path)
    place.call("submit", files[0]).expect(0)
    serve = place.start("serve", "--workers", "2", "--port", "0")
    submits = [place.start("submit", path) for path in files]
    for each in submits:
        ended(each).expect(0)
    for stored in (5, 25):
        place.wait_for("stored", stored)  # of 150: there may be more already
        kill(serve.pid)
        if rng.random() < 0.5:
            for pid in place.live_workers():
                kill(pid)
        ended(serve)
        serve = place.start("serve", "--workers", "2", "--port", "0")
    finished = "SELECT COUNT(*) FROM makemore_slots WHERE state = 'finished'"
    wait_until(lambda: place.try_query(finished) == [(3 * place.trials,)], timeout=120)
    wait_until(
        lambda: (
            place.try_query("SELECT COUNT(*) FROM makemore_attempts WHERE ended_at IS NULL")
            == [(0,)]
        )
    )
    serve.send_signal(signal.SIGTERM)
    status = ended(serve).status
    assert status in (0, 130), status
    counts = place.query("SELECT state, COUNT(*) FROM trials GROUP BY state ORDER BY state")
    states = dict(map(tuple, counts))
    # Launcher and workers die together: no configuration is taken for one that kills workers.
    assert states["COMPLETE"] == 3 * place.trials, counts
    assert "RUNNING" not in states
    for study_id in (1, 2, 3):
        numbers = place.query(
            "SELECT number FROM trials WHERE study_id = :s ORDER BY number", s=study_id
        )
        assert [row.number for row in numbers] == list(range(len(numbers)))
