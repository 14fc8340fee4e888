"""What the daemon counted and sees, as Prometheus reads it.

Names end in base units. The labels are model, device and outcome: ``ok``, or an error's code.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from wsgiref.simple_server import WSGIServer

from prometheus_client import generate_latest, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from sire.protocol.counts import HistogramCounts, ModelMetrics
from sire.protocol.replies import DeviceInfo, MetricsReport

_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def exposition(report: MetricsReport) -> bytes:
    """A report in Prometheus' text format."""
    text: bytes = generate_latest(_registry(lambda: report))
    return text


def serve(host: str, port: int, report: Callable[[], MetricsReport]) -> WSGIServer:
    """Serve reports over HTTP, from threads.

    Args:
        host: the address of the interface to listen on.
        port: the port.
        report: makes one for every request; called from any thread.

    Returns:
        The server, to be shut down and closed.

    Raises:
        OSError: it cannot listen there.
    """
    server, _ = start_http_server(port, host, _registry(report))
    return server


def _registry(report: Callable[[], MetricsReport]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Reports(report))
    return registry


class _Reports(Collector):
    def __init__(self, report: Callable[[], MetricsReport]) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        report = self._report()
        yield from _of_requests(report.models)
        yield from _of_instances(report)
        yield from _of_devices(report.devices)
        yield from _of_daemon(report)


def _of_requests(models: Iterable[ModelMetrics]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "sire_inference_requests",
        "Predictions answered, by outcome; one that reached no device has none.",
        labels=("model", "device", "outcome"),
    )
    duration = HistogramMetricFamily(
        "sire_inference_duration_seconds",
        "From a request's arrival to its answer, waiting and loading included.",
        labels=("model",),
    )
    waited = HistogramMetricFamily(
        "sire_queue_wait_seconds", "Of that, until the model began.", labels=("model",)
    )
    batches = HistogramMetricFamily(
        "sire_batch_size", "Requests that ran together in one pass.", labels=("model",)
    )
    for model in models:
        for device, count in model.answers.items():
            requests.add_metric((model.model, device, "ok"), count)
        for code, count in model.errors.items():
            requests.add_metric((model.model, "", code), count)
        _add(duration, model.model, model.duration)
        _add(waited, model.model, model.queue_wait)
        _add(batches, model.model, _sizes(model.batches))
    yield from (requests, duration, waited, batches)
    yield _gauge("sire_queue_depth", "Requests that wait.", models, lambda one: one.queued)
    yield _counter("sire_cache_hits", "Answers from memory.", models, lambda one: one.cache_hits)
    yield _counter(
        "sire_cache_misses",
        "Requests of cached models that had to be computed.",
        models,
        lambda one: one.cache_misses,
    )


def _of_instances(report: MetricsReport) -> Iterator[Metric]:
    models = report.models
    loads = CounterMetricFamily(
        "sire_model_load", "Loads, by outcome.", labels=("model", "device", "outcome")
    )
    unloads = CounterMetricFamily("sire_model_unload", "Unloads.", labels=("model", "device"))
    for model in models:
        _by_device(loads, model.model, model.loads, "ok")
        _by_device(loads, model.model, model.load_failures, "failed")
        _by_device(unloads, model.model, model.unloads)
    yield from (loads, unloads)
    yield _counter(
        "sire_evictions", "Unloads and sleeps to make room.", models, lambda one: one.evictions
    )
    yield _counter("sire_model_sleep", "Times put to sleep.", models, lambda one: one.sleeps)
    yield _counter("sire_model_wake", "Times woken.", models, lambda one: one.wakes)
    yield _counter(
        "sire_worker_restarts",
        "Workers that ended unasked; the next request starts another.",
        models,
        lambda one: one.crashes,
    )
    loaded = GaugeMetricFamily("sire_models_loaded", "Instances on a device.", labels=("device",))
    memory = GaugeMetricFamily(
        "sire_model_memory_bytes", "Device memory charged.", labels=("model", "device")
    )
    for device in report.devices:
        there = [one for one in report.instances if one.device == device.name]
        loaded.add_metric((device.name,), sum(one.tier == "device" for one in there))
        for name in sorted({one.model for one in there}):
            charged = sum(one.memory_bytes for one in there if one.model == name)
            memory.add_metric((name, device.name), charged)
    yield from (loaded, memory)


def _of_devices(devices: Iterable[DeviceInfo]) -> Iterator[Metric]:
    figures: dict[str, tuple[str, Callable[[DeviceInfo], int]]] = {
        "capacity": ("What models may take.", lambda one: one.capacity_bytes),
        "used": ("What models are charged.", lambda one: one.used_bytes),
        "foreign": ("What other processes take.", lambda one: one.foreign_bytes),
        "free": ("What is left for models.", lambda one: one.free_bytes),
    }
    for name, (says, value) in figures.items():
        family = GaugeMetricFamily(
            f"sire_device_memory_{name}_bytes", says, labels=("device", "kind")
        )
        for device in devices:
            family.add_metric((device.name, device.kind), value(device))
        yield family
    cpu = GaugeMetricFamily("sire_cpu_usage_percent", "Of all cores.", labels=("device",))
    gpu = GaugeMetricFamily("sire_gpu_usage_percent", "Time with a kernel.", labels=("device",))
    heat = GaugeMetricFamily("sire_gpu_temperature_celsius", "Of the GPU.", labels=("device",))
    power = GaugeMetricFamily("sire_gpu_power_watts", "Drawn by the GPU.", labels=("device",))
    for device in devices:
        usage = device.utilization_percent
        if usage is not None:
            (cpu if device.kind == "cpu" else gpu).add_metric((device.name,), usage)
        if device.gpu is not None and device.gpu.temperature_celsius is not None:
            heat.add_metric((device.name,), device.gpu.temperature_celsius)
        if device.gpu is not None and device.gpu.power_watts is not None:
            power.add_metric((device.name,), device.gpu.power_watts)
    yield from (cpu, gpu, heat, power)


def _of_daemon(report: MetricsReport) -> Iterator[Metric]:
    health = report.health
    info = GaugeMetricFamily("sire_daemon_info", "The daemon.", labels=("version", "python"))
    info.add_metric((health.version, health.python), 1)
    yield info
    yield GaugeMetricFamily(
        "sire_daemon_memory_bytes", "Resident memory of the daemon.", value=health.memory_bytes
    )
    yield GaugeMetricFamily(
        "sire_daemon_uptime_seconds", "Since it started.", value=health.uptime_seconds
    )
    yield GaugeMetricFamily(
        "sire_daemon_problems", "What sire health complains of.", value=len(health.problems)
    )
    yield GaugeMetricFamily("sire_models_registered", "Known models.", value=health.models)


def _add(family: HistogramMetricFamily, model: str, counts: HistogramCounts) -> None:
    bounds = [(f"{bound:g}", below) for bound, below in counts.below]
    family.add_metric((model,), [*bounds, ("+Inf", counts.count)], counts.sum)


def _sizes(batches: Mapping[int, int]) -> HistogramCounts:
    return HistogramCounts(
        count=sum(batches.values()),
        sum=sum(size * count for size, count in batches.items()),
        below=tuple(
            (bound, sum(count for size, count in batches.items() if size <= bound))
            for bound in _BATCH_SIZES
        ),
    )


def _by_device(
    family: CounterMetricFamily, model: str, counts: Mapping[str, int], *more: str
) -> None:
    for device, count in counts.items():
        family.add_metric((model, device, *more), count)


def _counter(
    name: str, says: str, models: Iterable[ModelMetrics], value: Callable[[ModelMetrics], float]
) -> Metric:
    return _of_each(CounterMetricFamily(name, says, labels=("model",)), models, value)


def _gauge(
    name: str, says: str, models: Iterable[ModelMetrics], value: Callable[[ModelMetrics], float]
) -> Metric:
    return _of_each(GaugeMetricFamily(name, says, labels=("model",)), models, value)


def _of_each(
    family: CounterMetricFamily | GaugeMetricFamily,
    models: Iterable[ModelMetrics],
    value: Callable[[ModelMetrics], float],
) -> Metric:
    for model in models:
        family.add_metric((model.model,), value(model))
    return family
