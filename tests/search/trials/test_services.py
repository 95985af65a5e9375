"""Whether anybody works on what is submitted: told truly, also of whoever is idle, or died."""

import pytest
from sqlalchemy import update
from workspace import InterruptedAfter, Workspace, some_words

from makemore_core.data.corpus import Corpus
from makemore_core.errors import CorpusError
from search.errors import Interrupted
from search.paths import DataDir
from search.storage import tables
from search.storage.database import Storage
from search.study import study
from search.study.study import StoredStudy
from search.trials import leases, services, status
from search.trials.services import Service, serving
from search.worker import process
from search.worker.job import Job


def is_served(bed: Workspace) -> bool:
    with bed.storage.read() as connection:
        return services.is_served(bed.storage, connection)


def forget(bed: Workspace, seconds: float) -> None:
    """Every service was seen so long ago."""
    with bed.storage.write() as connection:
        seen = bed.storage.now() - seconds
        connection.execute(update(tables.services).values(seen_at=seen))


def test_an_idle_service_serves_until_it_ends(bed: Workspace) -> None:
    """It is seen from its start on, without a study in the storage, and no longer once it left."""
    assert not is_served(bed)
    with serving(bed.storage):
        assert is_served(bed)
    assert not is_served(bed)


def test_a_service_that_was_not_seen_for_a_lease_does_not_serve(bed: Workspace) -> None:
    """One that is suspended does not count, and counts again once it renews its row."""
    service = Service(bed.storage)
    service.heartbeat()
    forget(bed, tables.LEASE_SECONDS + 1)
    assert not is_served(bed)
    service._last_heartbeat = float("-inf")
    service.heartbeat()
    assert is_served(bed)


def test_a_row_that_was_swept_away_is_made_again(bed: Workspace) -> None:
    """Rows of the long dead go with the next service; a suspended one comes back."""
    suspended, next_one = Service(bed.storage), Service(bed.storage)
    suspended.heartbeat()
    forget(bed, 100 * tables.LEASE_SECONDS)
    next_one.heartbeat()
    next_one.end()
    assert not is_served(bed)
    suspended._last_heartbeat = float("-inf")
    suspended.heartbeat()
    assert is_served(bed)


def test_a_dead_process_does_not_serve(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that was killed is not waited for, on the host that can tell."""
    Service(bed.storage).heartbeat()
    monkeypatch.setattr(services, "is_dead", lambda host, pid: True)
    assert not is_served(bed)


def test_one_that_is_at_a_long_trial_still_serves(bed: Workspace) -> None:
    """A lone worker renews the lease of the study that it is at, and that counts."""
    Service(bed.storage).heartbeat()
    forget(bed, tables.LEASE_SECONDS + 1)
    leases.register_worker(bed.storage, bed.create())
    assert is_served(bed)


def test_a_worker_without_a_study_serves_while_it_lives(bed: Workspace) -> None:
    """`worker` is seen by others from its first look on, and leaves no trace."""
    seen: list[bool] = []
    after = InterruptedAfter(1)

    def interrupted() -> bool:
        seen.append(is_served(bed))
        return after()

    job = Job(bed.url, str(bed.data_dir.root), None, 1, "cpu", None)
    assert not is_served(bed)
    with pytest.raises(Interrupted):
        process.run_job_in(job, interrupted)
    assert [True, True] == seen
    assert not is_served(bed)


def test_no_heartbeat_is_worth_an_error(bed: Workspace) -> None:
    """A service whose row cannot be written goes on."""
    with bed.storage.write() as connection:
        tables.services.drop(connection)
    with serving(bed.storage) as service:
        service.heartbeat()


def test_a_study_that_a_worker_cannot_work_on_holds_up_no_other(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out for a while; the worker of a service goes on with the others."""
    other = str(bed.corpus(some_words(seed=1), "other.txt"))
    bad = bed.create(study={"name": "bad", "corpus": other})
    good = bed.create(study={"name": "good"})
    load = study.corpus_of

    def corpus_of(storage: Storage, stored: StoredStudy, data_dir: DataDir) -> Corpus:
        if stored.uid == bad.uid:
            raise CorpusError("its words are gone")
        return load(storage, stored, data_dir)

    monkeypatch.setattr(study, "corpus_of", corpus_of)

    def is_done() -> bool:
        return status.status(bed.storage, good).state == "done"

    with pytest.raises(Interrupted):
        process.run_job_in(Job(bed.url, str(bed.data_dir.root), None, 1, "cpu", None), is_done)
    assert "done" == status.status(bed.storage, good).state
    assert [] == bed.trials(bad)
