"""The metrics that are exported to Prometheus."""

from sire.protocol.counts import HistogramCounts, ModelMetrics
from sire.protocol.replies import MetricsReport
from sired.daemon.services import Services
from sired.daemon.telemetry.histogram import Histogram
from sired.daemon.views.devices import devices
from sired.daemon.views.instances import instances
from sired.daemon.views.server import health

# The bounds of durations as powers of two: from 61 microseconds to 256 seconds.
_FIRST, _LAST = -14, 8


def metrics(services: Services, message_id: str | int = "") -> MetricsReport:
    """All counters, and the current state of devices, instances and the daemon."""
    return MetricsReport(
        id=message_id,
        health=health(services),
        devices=devices(services).devices,
        instances=instances(services).instances,
        models=tuple(_of(services, model) for model in sorted(services.registry.models)),
    )


def _of(services: Services, name: str) -> ModelMetrics:
    counters = services.counters.of(name)
    model = services.models[name]
    return ModelMetrics(
        model=name,
        answers=dict(counters.answers),
        errors=dict(counters.errors),
        duration=_counts(counters.latency),
        queue_wait=_counts(counters.queue_wait),
        batches=dict(counters.batches),
        loads=dict(counters.loads),
        load_failures=dict(counters.load_failures),
        unloads=dict(counters.unloads),
        evictions=counters.evictions,
        sleeps=counters.sleeps,
        wakes=counters.wakes,
        crashes=counters.crashes,
        cache_hits=counters.cache_hits,
        cache_misses=counters.cache_misses,
        queued=len(model.queue),
    )


def _counts(histogram: Histogram) -> HistogramCounts:
    below = tuple(histogram.cumulative(_FIRST, _LAST))
    return HistogramCounts(histogram.count, histogram.sum, below)
