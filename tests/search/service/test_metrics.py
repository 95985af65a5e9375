"""What Prometheus reads from the service."""

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from service import Service
from sqlalchemy import update
from workspace import Workspace

from search.service import metrics
from search.storage import tables
from search.study import study
from search.trials import leases, outbox

LABELS = ("state", "reason", "priority", "study")
Samples = dict[tuple[str, ...], float]


def scraped(service: Service) -> Samples:
    """Every sample: its name and the values of its labels."""
    answer = service.client().get("/metrics")
    assert 200 == answer.status_code
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def test_the_metrics_say_how_the_storage_does(
    finished: Workspace, serve: Callable[..., Service]
) -> None:
    """Trials by state and reason, studies, the queue by priority, workers, the best."""
    stored = finished.create(study={"name": "next", "priority": 3}, budget={"trials": 7})
    lost = leases.register_worker(finished.storage, stored)
    leases.register_worker(finished.storage, stored)
    leases.end_worker(finished.storage, lost, "expired")
    outbox.record_trouble(finished.storage, stored.uid, "workers died")
    found = scraped(serve(finished))
    view = finished.json("status", "tiny")
    by_state = [v for k, v in found.items() if k[:2] == ("makemore_trials", "complete")]
    assert view["trials"]["complete"] == sum(by_state)
    assert view["pruned_for"]["pruner"] == found["makemore_trials", "pruned", "pruner"]
    assert view["best"]["dev_loss"] == found["makemore_best_dev_loss", "tiny"]
    assert (1, 1, 0) == tuple(found["makemore_studies", s] for s in ("open", "done", "closed"))
    assert 7 == found["makemore_queued_trials", "3"]
    assert (1, 1) == (found["makemore_workers",], found["makemore_leases_expired_total",])
    assert 2 == found["makemore_webhooks_due",]  # the end of tiny, and the trouble
    seconds = sum(trial["seconds"] or 0.0 for trial in finished.json("trials", "tiny"))
    assert seconds == pytest.approx(found["makemore_training_seconds_total",])
    assert found["makemore_process_cpu_seconds_total",] > 0


def test_a_storage_error_is_counted(finished: Workspace, serve: Callable[..., Service]) -> None:
    """Also one that was tried again, and went well then."""
    service = serve(finished)
    before = scraped(service)["makemore_storage_errors_total",]
    finished.storage.failures += 2
    assert before + 2 == scraped(service)["makemore_storage_errors_total",]


def test_labels_are_bounded(
    finished: Workspace, serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many studies and reasons there are; a name with quotes and line ends is one label."""
    monkeypatch.setattr(metrics, "MAX_STUDIES", 1)
    monkeypatch.setattr(metrics, "MAX_REASONS", 1)
    a, s = tables.attempts, tables.studies
    with finished.storage.write() as connection:
        for trial in (0, 1, 2):
            reason = f"reason {trial}"
            connection.execute(update(a).where(a.c.trial == trial).values(reason=reason))
        connection.execute(update(s).values(name='a "b\\'))
    finished.work(finished.create(study={"name": "other"}, budget={"trials": 1}))
    found = scraped(serve(finished))
    assert 1 == sum(key[0] == "makemore_best_dev_loss" for key in found)
    assert any("other" in key for key in found if key[0] == "makemore_trials")
    stored = study.resolve(finished.storage, "other")
    study.delete_study(finished.storage, stored, finished.data_dir)
    assert ("makemore_best_dev_loss", 'a "b\\') in scraped(serve(finished))
