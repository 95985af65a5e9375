"""What became of a study, recorded once for the service to deliver."""

import threading
from typing import Any

import pytest
from sqlalchemy import select, update
from workspace import InterruptedAfter, Workspace

from search.storage import tables
from search.study import study
from search.study.study import StoredStudy
from search.trials import leases, outbox

URL = "https://hooks.example/T0/secret"


def events(bed: Workspace, stored: StoredStudy) -> list[tuple[str, Any]]:
    return [(each.event, each.url) for each in outbox.events(bed.storage, stored)]


def test_a_study_that_is_done_has_one_record(bed: Workspace) -> None:
    """Two workers and a repeated look at a done study add nothing; a larger budget is a new event;
    what `on` leaves out is recorded too, and has no address."""
    notify = {"url": URL, "on": ["done"], "target": 9.0}
    stored = bed.create(budget={"trials": 3}, notify=notify)
    workers = [threading.Thread(target=bed.work, args=(stored,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    bed.work(stored)
    assert [("done", URL), ("improved", None)] == sorted(events(bed, stored))
    done = next(each for each in outbox.events(bed.storage, stored) if each.event == "done")
    assert ("trials", {"finished": 3, "budget": 3}) == (
        done.data["ended_by"],
        done.data["trials"],
    )
    bed.work(bed.create(budget={"trials": 4}, notify=notify))
    assert 2 == [event for event, _ in events(bed, stored)].count("done")


def test_nothing_is_recorded_before_anything_happened(bed: Workspace) -> None:
    """A study that was interrupted is not done, and a target not reached no improvement."""
    stored = bed.create(budget={"target": 0.1})
    with pytest.raises(Exception, match="interrupted"):
        bed.work(stored, InterruptedAfter(30))
    assert [] == events(bed, stored)


def test_the_newest_address_and_budget_count(bed: Workspace) -> None:
    """[notify] may change between runs: a worker that began before tells the new one."""
    old = bed.create(budget={"trials": 2})
    bed.create(budget={"trials": 2}, notify={"url": URL})
    bed.work(old)
    assert [("done", URL)] == events(bed, old)


def test_a_timeout_that_ends_between_two_trials_is_an_end(bed: Workspace) -> None:
    """The last worker that leaves records it, although it finished no trial then."""
    stored = bed.create(budget={"timeout": "1h"})
    worker = leases.register_worker(bed.storage, stored)
    with bed.storage.write() as connection:
        connection.execute(update(tables.studies).values(worked_seconds=3599.9999))
    leases.end_worker(bed.storage, worker)
    (event,) = outbox.events(bed.storage, stored)
    assert ("done", "timeout") == (event.event, event.data["ended_by"])


def test_trouble_is_recorded_once_until_a_trial_is_finished(bed: Workspace) -> None:
    """Every further crash before that is the same trouble."""
    stored = bed.create(budget={"trials": 3})
    outbox.record_trouble(bed.storage, stored.uid, "workers died")
    outbox.record_trouble(bed.storage, stored.uid, "workers died again")
    assert [("trouble", None)] == events(bed, stored)
    bed.work(stored)
    outbox.record_trouble(bed.storage, stored.uid, "and again")
    assert 2 == [event for event, _ in events(bed, stored)].count("trouble")


def test_the_record_outlives_its_study(bed: Workspace) -> None:
    """A study that is deleted before it was told of is told of all the same."""
    stored = bed.create(budget={"trials": 1}, notify={"url": URL})
    bed.work(stored)
    study.delete_study(bed.storage, stored, bed.data_dir)
    due = outbox.claim_due(bed.storage)
    assert due is not None
    assert (URL, "done") == (due.url, due.event)


def test_a_try_is_claimed_once_and_made_again_later(bed: Workspace) -> None:
    """Of two services one has it; if that one is killed it is due again; after the last try the
    event is over, and its address forgotten."""
    stored = bed.create(budget={"trials": 1}, notify={"url": URL})
    bed.work(stored)
    first = outbox.claim_due(bed.storage)
    assert first is not None and outbox.claim_due(bed.storage) is None
    for tries in range(1, outbox.MAX_TRIES):
        with bed.storage.write() as connection:
            connection.execute(update(tables.outbox).values(next_try_at=0.0))
        event = outbox.claim_due(bed.storage)
        assert event is not None and tries == event.tries
        outbox.record_delivery(bed.storage, event, "refused")
    with bed.storage.read() as connection:
        row = connection.execute(select(tables.outbox)).one()
    assert (None, None, None, "refused") == (
        row.next_try_at,
        row.url,
        row.delivered_at,
        row.problem,
    )


def test_events_that_no_service_was_there_for_are_discarded(bed: Workspace) -> None:
    """After a week; younger ones, and those that were tried, stay due."""
    stored = bed.create(budget={"trials": 1})
    bed.work(stored)
    outbox.discard_stale(bed.storage)
    o = tables.outbox
    with bed.storage.write() as connection:
        assert connection.execute(select(o.c.next_try_at)).scalar_one() is not None
        connection.execute(update(o).values(created_at=o.c.created_at - outbox.MAX_AGE))
    outbox.discard_stale(bed.storage)
    assert outbox.claim_due(bed.storage) is None


def test_a_moved_study_is_told_of_where_it_is_now(bed: Workspace) -> None:
    """The old database's service delivers nothing of it."""
    stored = bed.create(budget={"trials": 1})
    bed.work(stored)
    study.mark_moved(bed.storage, stored, "sqlite:///elsewhere.db")
    assert outbox.claim_due(bed.storage) is None
