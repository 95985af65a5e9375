"""The budget: claims under contention, and what counts as spent."""

import json
import sys
from typing import Any

from sqlalchemy import func, select, update
from workspace import Workspace, ended, run_python

from search.launch.workloads import StudyWorkload
from search.storage import tables
from search.study import study
from search.study.study import StoredStudy
from search.trials import attempts, claims, leases
from search.trials.claims import Claim
from search.trials.leases import NoClaim

COLUMNS: dict[str, Any] = {"threads": 1, "device": "cpu", "versions": {}}

CLAIMERS = """
import os, random, sys
from search.storage.database import open_storage
from search.study import study
from search.trials import attempts, claims, leases
from search.trials.leases import NoClaim

url, uid = sys.argv[1:]
children = []
for seed in range(4):
    children.append(os.fork())
    if children[-1] == 0:
        break
else:
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
storage = open_storage(url)
stored = study.by_uid(storage, uid)
worker = leases.register_worker(storage, stored)
rng = random.Random(seed)
columns = {"threads": 1, "device": "cpu", "versions": {}}
while not isinstance(claim := claims.claim(storage, stored, worker, columns), NoClaim) or (
    claim is NoClaim.WAIT
):
    if claim is NoClaim.WAIT:
        continue
    lost = rng.random() < 0.3
    outcome, reason = ("failed", "error") if lost else ("complete", None)
    values = {"outcome": outcome, "reason": reason, "dev_loss": 2.0}
    attempts.finish_attempt(storage, stored, claim.attempt_id, None, {}, **values)
    line = f"{claim.ordinal} {claim.training_seed} {'lost' if lost else 'finished'}\\n"
    os.write(1, line.encode())
"""
"""Imports once, then is four processes."""


def claim(bed: Workspace, stored: StoredStudy, worker: str) -> Claim:
    """A claim that succeeds."""
    found = claims.claim(bed.storage, stored, worker, COLUMNS)
    assert isinstance(found, Claim), found
    return found


def finish(bed: Workspace, stored: StoredStudy, claimed: Claim, dev_loss: float = 2.5) -> None:
    values = {"outcome": "complete", "reason": None, "dev_loss": dev_loss}
    attempts.finish_attempt(bed.storage, stored, claimed.attempt_id, None, {}, **values)


def lose(bed: Workspace, stored: StoredStudy, claimed: Claim, reason: str) -> None:
    values = {"outcome": "failed", "reason": reason}
    attempts.finish_attempt(bed.storage, stored, claimed.attempt_id, None, {}, **values)


def test_processes_that_claim_at_once_share_out_exactly_the_budget(bed: Workspace) -> None:
    """Four processes, losing a third of what they claim, finish exactly `trials` slots: each slot
    once, each with one training seed, each configuration tried at most twice."""
    stored = bed.create(budget={"trials": 40})
    answer = ended(run_python(CLAIMERS, bed.url, stored.uid))
    assert 0 == answer.status, answer.err
    lines = [line.split() for line in answer.out.splitlines()]
    finished = [int(ordinal) for ordinal, _, end in lines if end == "finished"]
    assert 40 == len(finished) == len(set(finished))
    seeds = {(ordinal, seed) for ordinal, seed, _ in lines}
    ordinals = {int(ordinal) for ordinal, _ in seeds}
    assert len(ordinals) == len(seeds)
    assert set(range(len(ordinals))) == ordinals
    tries = [sum(int(ordinal) == each for ordinal, *_ in lines) for each in ordinals]
    assert max(tries) <= 2


def test_nothing_is_claimed_beyond_the_budget(bed: Workspace) -> None:
    """With every slot claimed, a worker waits: a slot may yet be lost."""
    stored = bed.create(budget={"trials": 2})
    worker = leases.register_worker(bed.storage, stored)
    first, second = claim(bed, stored, worker), claim(bed, stored, worker)
    assert (0, 1) == (first.ordinal, second.ordinal)
    assert NoClaim.WAIT is claims.claim(bed.storage, stored, worker, COLUMNS)
    finish(bed, stored, first)
    assert NoClaim.WAIT is claims.claim(bed.storage, stored, worker, COLUMNS)
    finish(bed, stored, second)
    assert NoClaim.BUDGET_MET is claims.claim(bed.storage, stored, worker, COLUMNS)


def test_a_larger_budget_goes_on_and_a_smaller_one_is_done(bed: Workspace) -> None:
    """`trials` is a total over the study's life; fewer than already finished is simply done."""
    stored = bed.create(budget={"trials": 2})
    worker = leases.register_worker(bed.storage, stored)
    for _ in range(2):
        finish(bed, stored, claim(bed, stored, worker))
    more = bed.create(budget={"trials": 3})
    assert 2 == claim(bed, more, worker).ordinal
    fewer = bed.create(budget={"trials": 1})
    assert NoClaim.BUDGET_MET is claims.claim(bed.storage, fewer, worker, COLUMNS)


def test_a_lost_slot_is_claimed_again_before_a_new_one(bed: Workspace) -> None:
    """A lost configuration is tried again next, with the same training seed."""
    stored = bed.create(budget={"trials": 3})
    worker = leases.register_worker(bed.storage, stored)
    first = claim(bed, stored, worker)
    lose(bed, stored, first, "interrupted")
    again = claim(bed, stored, worker)
    assert (first.ordinal, first.training_seed) == (again.ordinal, again.training_seed)
    assert first.attempt_id != again.attempt_id
    assert 1 == claim(bed, stored, worker).ordinal


def test_an_abandoned_configuration_is_replaced(bed: Workspace) -> None:
    """A configuration lost twice by error is not counted: another takes its place."""
    stored = bed.create(budget={"trials": 1})
    worker = leases.register_worker(bed.storage, stored)
    for _ in range(2):
        attempt = claim(bed, stored, worker)
        assert 0 == attempt.ordinal
        lose(bed, stored, attempt, "error")
    replacement = claim(bed, stored, worker)
    assert 1 == replacement.ordinal
    finish(bed, stored, replacement)
    assert NoClaim.BUDGET_MET is claims.claim(bed.storage, stored, worker, COLUMNS)


def test_a_target_that_is_met_ends_the_study(bed: Workspace) -> None:
    """Once a complete trial's dev loss is at or below the target, nothing more is claimed."""
    stored = bed.create(budget={"trials": 9, "target": 2.0})
    worker = leases.register_worker(bed.storage, stored)
    finish(bed, stored, claim(bed, stored, worker), dev_loss=2.0001)
    met = claim(bed, stored, worker)
    finish(bed, stored, met, dev_loss=2.0)
    assert NoClaim.BUDGET_MET is claims.claim(bed.storage, stored, worker, COLUMNS)


def test_a_timeout_counts_working_time_over_all_resumes(bed: Workspace) -> None:
    """Working time of workers that have gone counts; a longer timeout goes on."""
    stored = bed.create(budget={"trials": 9, "timeout": 60})
    with bed.storage.write() as connection:
        connection.execute(update(tables.studies).values(worked_seconds=70.0))
    worker = leases.register_worker(bed.storage, stored)
    assert NoClaim.BUDGET_MET is claims.claim(bed.storage, stored, worker, COLUMNS)
    longer = bed.create(budget={"trials": 9, "timeout": 3_670})
    remaining = claim(bed, longer, worker).remaining_seconds
    assert remaining is not None
    assert 3_000 < remaining <= 3_600


def test_stopped_closed_and_deleted_studies_give_nothing(bed: Workspace) -> None:
    """A worker learns at its next claim that its study was stopped, closed or deleted."""
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    study.request_stop(bed.storage, stored)
    assert NoClaim.STOPPED is claims.claim(bed.storage, stored, worker, COLUMNS)
    leases.end_worker(bed.storage, worker)
    stored = bed.create()
    worker = leases.register_worker(bed.storage, stored)
    claim(bed, stored, worker)
    with bed.storage.write() as connection:
        connection.execute(update(tables.studies).values(closed_at=bed.storage.now()))
    assert NoClaim.CLOSED is claims.claim(bed.storage, stored, worker, COLUMNS)
    leases.end_worker(bed.storage, worker)
    study.delete_study(bed.storage, stored, bed.data_dir)
    assert NoClaim.DELETED is claims.claim(bed.storage, stored, worker, COLUMNS)


def test_a_study_counts_each_slot_once(finished: Workspace) -> None:
    """Finished slots and finished trials are the same number: the budget, exactly."""
    stored = study.resolve(finished.storage, "tiny")
    with finished.storage.read() as connection:
        counted = connection.execute(
            select(func.count()).where(tables.slots.c.state == "finished")
        ).scalar_one()
    assert 12 == counted == len(finished.outcomes(stored))


def test_a_launcher_loads_neither_torch_nor_the_dashboard(bed: Workspace) -> None:
    """It claims, counts, supervises, publishes pictures and notes, and shows the best trial without
    them."""
    source = (
        "import sys, json; import search.cli.run_study, search.terminal.answers; "
        "heavy = ('torch', 'optuna_dashboard', 'sklearn'); "
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    assert [] == json.loads(ended(run_python(source)).out), sys.executable


def test_run_starts_its_processes_before_it_loads_the_rest(bed: Workspace) -> None:
    """What stands before the first process starts loads neither Optuna nor SQLAlchemy."""
    source = (
        "import sys, json; import search.cli.run, search.launch.local; "
        "print(json.dumps([name for name in ('optuna', 'sqlalchemy') if name in sys.modules]))"
    )
    assert [] == json.loads(ended(run_python(source)).out), sys.executable


# Whose turn it is


def test_a_higher_priority_is_served_first(bed: Workspace) -> None:
    """Before the number of workers is looked at; where it has enough of them, the next one is."""
    low = bed.create(study={"name": "low"})
    high = bed.create(study={"name": "high", "priority": 1, "max_workers": 2})
    for expected in (high, high, low, low):
        served = claims.least_served_study(bed.storage)
        assert expected == served
        claim(bed, served, leases.register_worker(bed.storage, served))


def test_no_more_workers_train_than_a_study_allows(bed: Workspace) -> None:
    """The next one waits until another has ended; of a launcher's workers no more are started."""
    stored = bed.create(study={"max_workers": 1})
    first, second = (leases.register_worker(bed.storage, stored) for _ in range(2))
    claimed = claim(bed, stored, first)
    assert NoClaim.WAIT == claims.claim(bed.storage, stored, second, COLUMNS)
    assert 1 == StudyWorkload(bed.storage, stored).desired_workers(4)
    finish(bed, stored, claimed)
    claim(bed, stored, second)


def test_priority_and_limit_may_change(bed: Workspace) -> None:
    """They are no part of what a study is."""
    before = bed.create(study={"name": "tiny", "priority": 5})
    after = bed.create(study={"name": "tiny", "max_workers": 3})
    assert (before.uid, 0, 3) == (
        after.uid,
        after.spec.study.priority,
        after.spec.study.max_workers,
    )
