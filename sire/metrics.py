"""The daemon's metrics in the format of Prometheus.

Names end in base units. Labels are model, device and outcome: ``ok``, or an error's code.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from wsgiref.types import WSGIApplication

from prometheus_client import generate_latest, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from sire.protocol.counts import HistogramCounts, ModelMetrics
from sire.protocol.devices import DeviceInfo
from sire.protocol.replies import MetricsReport

_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def exposition(report: MetricsReport) -> bytes:
    """A report in the text format of Prometheus."""
    text: bytes = generate_latest(_registry(lambda: report))
    return text


def exposition_app(report: Callable[[], MetricsReport]) -> WSGIApplication:
    """A WSGI application that answers every path with metrics.

    Args:
        report: builds a report for each request; called from any thread.
    """
    app: WSGIApplication = make_wsgi_app(_registry(report))
    return app


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
        "Predictions by outcome; the device is empty if none was reached.",
        labels=("model", "device", "outcome"),
    )
    duration = HistogramMetricFamily(
        "sire_inference_duration_seconds",
        "Time from arrival to answer, including waiting and loading.",
        labels=("model",),
    )
    waited = HistogramMetricFamily(
        "sire_queue_wait_seconds", "Time from arrival until the model started.", labels=("model",)
    )
    batches = HistogramMetricFamily("sire_batch_size", "Requests in one pass.", labels=("model",))
    for model in models:
        for device, count in model.answers.items():
            requests.add_metric((model.model, device, "ok"), count)
        for code, count in model.errors.items():
            requests.add_metric((model.model, "", code), count)
        _add(duration, model.model, model.duration)
        _add(waited, model.model, model.queue_wait)
        _add(batches, model.model, _sizes(model.batches))
    yield from (requests, duration, waited, batches)
    yield _gauge("sire_queue_depth", "Waiting requests.", models, lambda one: one.queued)
    yield _counter(
        "sire_cache_hits", "Requests answered from memory.", models, lambda one: one.cache_hits
    )
    yield _counter(
        "sire_cache_misses",
        "Requests of cached models that were computed.",
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
        "sire_evictions", "Unloads and suspensions to make room.", models, lambda one: one.evictions
    )
    yield _counter(
        "sire_model_sleep", "Suspensions to main memory.", models, lambda one: one.sleeps
    )
    yield _counter("sire_model_wake", "Wake-ups from main memory.", models, lambda one: one.wakes)
    yield _counter(
        "sire_worker_restarts",
        "Workers that ended unexpectedly; the next request starts another.",
        models,
        lambda one: one.crashes,
    )
    loaded = GaugeMetricFamily(
        "sire_models_loaded", "Instances loaded on a device.", labels=("device",)
    )
    memory = GaugeMetricFamily(
        "sire_model_memory_bytes", "Device memory charged to a model.", labels=("model", "device")
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
        "capacity": ("Memory available to models.", lambda one: one.capacity_bytes),
        "used": ("Memory charged to models.", lambda one: one.used_bytes),
        "foreign": ("Memory used by other processes.", lambda one: one.foreign_bytes),
        "free": ("Memory free for models.", lambda one: one.free_bytes),
    }
    for name, (help_text, value) in figures.items():
        family = GaugeMetricFamily(
            f"sire_device_memory_{name}_bytes", help_text, labels=("device", "kind")
        )
        for device in devices:
            family.add_metric((device.name, device.kind), value(device))
        yield family
    cpu = GaugeMetricFamily("sire_cpu_usage_percent", "CPU usage of all cores.", labels=("device",))
    gpu = GaugeMetricFamily(
        "sire_gpu_usage_percent", "Share of time in which a kernel ran.", labels=("device",)
    )
    heat = GaugeMetricFamily(
        "sire_gpu_temperature_celsius", "Temperature of the GPU.", labels=("device",)
    )
    power = GaugeMetricFamily("sire_gpu_power_watts", "Power drawn by the GPU.", labels=("device",))
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
    info = GaugeMetricFamily(
        "sire_daemon_info", "Version of the daemon and of Python.", labels=("version", "python")
    )
    info.add_metric((health.version, health.python), 1)
    yield info
    yield GaugeMetricFamily(
        "sire_daemon_memory_bytes", "Resident memory of the daemon.", value=health.memory_bytes
    )
    yield GaugeMetricFamily(
        "sire_daemon_uptime_seconds", "Time since the daemon started.", value=health.uptime_seconds
    )
    yield GaugeMetricFamily(
        "sire_daemon_problems",
        "Number of problems that sire health reports.",
        value=len(health.problems),
    )
    yield GaugeMetricFamily("sire_models_registered", "Registered models.", value=health.models)


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
    name: str,
    help_text: str,
    models: Iterable[ModelMetrics],
    value: Callable[[ModelMetrics], float],
) -> Metric:
    return _of_each(CounterMetricFamily(name, help_text, labels=("model",)), models, value)


def _gauge(
    name: str,
    help_text: str,
    models: Iterable[ModelMetrics],
    value: Callable[[ModelMetrics], float],
) -> Metric:
    return _of_each(GaugeMetricFamily(name, help_text, labels=("model",)), models, value)


def _of_each(
    family: CounterMetricFamily | GaugeMetricFamily,
    models: Iterable[ModelMetrics],
    value: Callable[[ModelMetrics], float],
) -> Metric:
    for model in models:
        family.add_metric((model.model,), value(model))
    return family
