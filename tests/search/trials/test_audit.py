"""Audited pruning: how often a pruned trial would have won, and how sure that is."""

from typing import Any

import pytest
from sqlalchemy import select
from workspace import InterruptedAfter, Workspace

from search.confidence_intervals import proportion
from search.errors import Interrupted
from search.storage import tables
from search.trials import audits, status


def attempts(bed: Workspace) -> list[Any]:
    with bed.storage.read() as connection:
        return list(connection.execute(select(tables.attempts)))


def test_the_audit_counts_what_ran_on(bed: Workspace) -> None:
    """Of the audited trials, those that ended below the best that was let through: counted here by
    hand, from the recorded attempts."""
    stored = bed.create(pruner={"audit": 0.6}, budget={"trials": 24})
    bed.work(stored)
    rows = attempts(bed)
    stopped = [row for row in rows if row.reason == "pruner"]
    ran_on = [row for row in rows if row.audited and row.reason != "pruner"]
    bar = min(row.dev_loss for row in rows if row.outcome == "complete" and not row.audited)
    won = [row for row in ran_on if row.dev_loss < bar]
    audit = status.status(bed.storage, stored).audit
    assert audit is not None
    assert stopped and ran_on, "the study audits all or nothing, and tells nothing"
    assert (len(stopped), len(ran_on)) == (audit.pruned, audit.audited)
    assert (len(won), len(won) / len(ran_on)) == (audit.would_have_won, audit.rate)
    assert proportion(len(won), len(ran_on)) == audit.ci95


def test_status_and_the_report_say_what_the_audit_found(bed: Workspace) -> None:
    """In words, with the interval."""
    bed.work(bed.create(pruner={"audit": 1.0}))
    assert "audited trials would have beaten" in bed.cli("status", "tiny").out
    path = bed.root / "page.html"
    bed.json("report", "tiny", "-o", path)
    assert "audited trials would have beaten" in path.read_text()


def test_without_an_audit_nothing_is_claimed(finished: Workspace) -> None:
    """`status` says that no trial was audited."""
    view = finished.json("status", "tiny")
    assert view["audit"] is None
    assert view["trials"]["pruned"]
    assert "no trial was audited" in finished.cli("status", "tiny").out


def test_an_audited_trial_stays_one_when_it_is_interrupted(bed: Workspace) -> None:
    """The retry knows, though the pruner may not stop it a second time."""
    stored = bed.create(pruner={"audit": 1.0}, budget={"trials": 12})
    lost: set[int] = set()
    for looks in range(20, 400, 7):
        try:
            bed.work(stored, InterruptedAfter(looks))
            break
        except Interrupted:
            lost |= {
                row.ordinal for row in attempts(bed) if row.audited and row.outcome == "failed"
            }
    retried = [row for row in attempts(bed) if row.ordinal in lost and row.outcome == "complete"]
    assert retried, "no audited trial was interrupted"
    assert all(row.audited for row in retried)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (2, 20, 0.0123, 0.3170)],
)
def test_the_interval_of_a_share_is_exact(count: int, of: int, low: float, high: float) -> None:
    """Clopper and Pearson's, as tables have it."""
    assert pytest.approx((low, high), abs=1e-4) == proportion(count, of)


def test_the_predictive_pruner_is_held_to_its_promise(bed: Workspace) -> None:
    """Of each audited trial the lowest loss of that moment is kept, and what was predicted: counted
    here by hand, of one worker, whose other trials have all ended. `status` and the report say
    it."""
    stored = bed.create(
        sampler={"kind": "random"},
        pruner={"kind": "predictive", "probability": 0.3, "audit": 0.7},
        budget={"trials": 20},
    )
    bed.work(stored)
    rows = [row for row in attempts(bed) if row.outcome != "failed"]
    ran_on = [row for row in rows if row.audited and row.outcome == "complete"]
    below = [
        min(before.dev_loss for before in rows if before.trial < row.trial) > row.dev_loss
        for row in ran_on
    ]
    audit = status.status(bed.storage, stored).audit
    assert audit is not None
    assert ran_on and audit.pruned, "the study audits all or nothing, and tells nothing"
    assert (len(ran_on), sum(below)) == (audit.judged, audit.ended_lowest)
    assert sum(below) / len(ran_on) == audit.ended_lowest_rate
    assert 0.3 == audit.promised
    assert audit.predicted is not None and 0.0 < audit.predicted < 0.3
    path = bed.root / "page.html"
    bed.json("report", "tiny", "-o", path)
    for text in (bed.cli("status", "tiny").out, path.read_text()):
        assert "ended below the lowest loss of the moment" in text
        assert "promised below 30%" in text
    assert sum(below) == bed.json("status", "tiny")["audit"]["ended_lowest"]


def test_the_retry_of_an_audited_trial_keeps_what_was_promised(bed: Workspace) -> None:
    """The lowest loss of the moment, and the prediction, are those of the attempt before it."""
    stored = bed.create(
        sampler={"kind": "random"},
        pruner={"kind": "predictive", "probability": 0.9, "audit": 1.0},
        budget={"trials": 12},
    )
    for looks in range(23, 400, 9):
        try:
            bed.work(stored, InterruptedAfter(looks))
            break
        except Interrupted:
            pass
    with bed.optuna_storage() as optuna_storage:
        trials = optuna_storage.get_all_trials(stored.optuna_id)
    notes = {
        trial.number: (trial.user_attrs.get(audits.LOWEST), trial.user_attrs.get(audits.CHANCE))
        for trial in trials
    }
    retries = [row for row in attempts(bed) if row.retry_of is not None and row.audited]
    inherited = [row for row in retries if notes[row.retry_of][0] is not None]
    assert inherited, "no audited trial was interrupted"
    assert all(notes[row.trial] == notes[row.retry_of] for row in inherited)
