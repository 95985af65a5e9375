"""The metrics of a service and of its storage, for Prometheus."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from search.service.context import ServiceContext
from search.trials.totals import StudyTotals, Totals, totals

MAX_STUDIES = 100
"""How many studies have a series of their own: the open ones, then the youngest."""
MAX_REASONS = 20
"""How many reasons have a series of their own: a version may add some, a mistake many."""
STATES = ("open", "stopped", "done", "closed", "moved")


def prometheus_text(context: ServiceContext) -> bytes:
    """Every metric, in Prometheus' text format; each call reads the storage."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StorageCollector(context))
    ProcessCollector(namespace="makemore", registry=registry)
    return generate_latest(registry)


class _StorageCollector(Collector):
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        storage = self._context.storage
        now = self._context.shared_answers.get("totals", lambda: totals(storage))
        yield _trials(now)
        yield from _of_studies(now.studies)
        yield from (
            _gauge("workers", "Workers at a study, on every host", now.workers),
            _gauge("service_workers", "This service's workers", self._context.workers_alive()),
            _gauge("webhooks_due", "Events that are still to be delivered", now.webhooks_due),
            _counter("webhooks_failed", "Events that were given up", now.webhooks_failed),
            _counter("leases_expired", "Workers not seen for a lease", now.leases_expired),
            _counter("training_seconds", "Training of all trials", now.training_seconds),
            _counter(
                "storage_errors",
                "Statements that failed in this process, also those tried again",
                self._context.storage.failures,
            ),
        )


def _trials(now: Totals) -> Metric:
    metric = _labelled("trials", "Trials by state and reason", ("state", "reason"))
    known = sorted({reason for _, reason in now.trials})[:MAX_REASONS]
    counts = Counter[tuple[str, str]]()
    for (state, reason), count in now.trials.items():
        counts[state, reason if reason in known else "other"] += count
    for labels, count in sorted(counts.items()):
        metric.add_metric(labels, count)
    return metric


def _of_studies(studies: Iterable[StudyTotals]) -> Iterator[Metric]:
    by_state = _labelled("studies", "Studies by state", ("state",))
    queue = _labelled("queued_trials", "Trials that a worker could claim now", ("priority",))
    best = _labelled("best_dev_loss", "Lowest dev loss, nats per character", ("study",))
    counts, queued = Counter[str](), Counter[str]()
    for study in studies:
        counts[study.state] += 1
        if study.state == "open":
            queued[str(study.priority)] += study.queued
    for state in STATES:
        by_state.add_metric((state,), counts[state])
    for priority, count in queued.most_common(MAX_REASONS):
        queue.add_metric((priority,), count)
    ranked = sorted(studies, key=lambda each: each.state != "open")
    for study in [each for each in ranked if each.best is not None][:MAX_STUDIES]:
        best.add_metric((study.name,), study.best or 0.0)
    yield from (by_state, queue, best)


def _labelled(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"makemore_{name}", text, labels=labels)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"makemore_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"makemore_{name}", text, value=value)
