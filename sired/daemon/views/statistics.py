"""The counters, as clients see them."""

import time

from sire.protocol.counts import ModelStats, StatsTotals
from sire.protocol.replies import StatsReport
from sired.daemon.services import Services
from sired.daemon.telemetry.counters import ModelCounters
from sired.daemon.telemetry.histogram import Histogram
from sired.daemon.views.models import state_of, tier_of

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def stats(services: Services, name: str | None, message_id: str | int = "") -> StatsReport:
    """The counters of one model, or of all.

    Raises:
        ModelNotFound: no model has that name.
    """
    names = [services.registry.get(name).name] if name else sorted(services.registry.models)
    models = tuple(_stats_of(services, model) for model in names)
    counters = services.counters.by_model.values()
    return StatsReport(
        id=message_id,
        models=models,
        totals=StatsTotals(
            inference_count=sum(c.inference_count for c in counters),
            errors=sum(c.errors.total() for c in counters),
            loads=sum(c.loads.total() for c in counters),
            evictions=sum(c.evictions for c in counters),
            crashes=sum(c.crashes for c in counters),
            cache_hits=sum(c.cache_hits for c in counters),
            cache_misses=sum(c.cache_misses for c in counters),
            cache_bytes=services.results.held,
            sleeps=sum(c.sleeps for c in counters),
            wakes=sum(c.wakes for c in counters),
        ),
    )


def _stats_of(services: Services, name: str) -> ModelStats:
    counters = services.counters.of(name)
    brain = services.brain
    model = brain.models[name]
    instances = brain.fleet.of(model)
    return ModelStats(
        model=name,
        state=state_of(services, model),
        device=instances[0].device if instances else None,
        memory_bytes=sum(services.ledger.charge(instance.id) for instance in instances),
        peak_memory_bytes=counters.peak_memory,
        inference_count=counters.inference_count,
        errors=dict(counters.errors),
        queued=len(model.queue) + sum(len(instance.in_flight) for instance in instances),
        average_latency_seconds=_mean(counters.latency.sum, counters),
        p50_latency_seconds=counters.percentile(0.50),
        p99_latency_seconds=counters.percentile(0.99),
        average_compute_seconds=_mean(counters.compute_sum, counters),
        requests_per_second=counters.rate(time.monotonic()),
        loads=counters.loads.total(),
        evictions=counters.evictions,
        crashes=counters.crashes,
        last_load_seconds=counters.last_load_seconds,
        last_used_at=counters.last_used_at,
        cache_hits=counters.cache_hits,
        cache_misses=counters.cache_misses,
        cache_bytes=services.results.held_by(name),
        wait_seconds=brain.expected_wait(model),
        sleeps=counters.sleeps,
        wakes=counters.wakes,
        last_wake_seconds=counters.last_wake_seconds,
        latency_percentiles=_percentiles(counters.latency),
        batches=dict(counters.batches),
        load_failures=counters.load_failures.total(),
        unloads=counters.unloads.total(),
        bytes_in=counters.bytes_in,
        bytes_out=counters.bytes_out,
        last_error=counters.last_error,
        tier=tier_of(instances),
        pinned=model.pinned,
    )


def _percentiles(latency: Histogram) -> dict[str, float]:
    found = {name: latency.quantile(fraction) for name, fraction in _PERCENTILES.items()}
    return {name: value for name, value in found.items() if value is not None}


def _mean(total: float, counters: ModelCounters) -> float | None:
    return total / counters.inference_count if counters.inference_count else None
