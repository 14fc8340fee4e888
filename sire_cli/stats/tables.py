"""Totals since the daemon started: all models in a table, or one model in full."""

from collections.abc import Iterator

from sire.protocol.counts import ModelStats
from sire.protocol.replies import StatsReport
from sire.units import format_bytes, format_duration
from sire_cli.terminal.output import print_message, print_pairs, print_table

# Ordered by importance: a narrow terminal omits the last columns.
_COLUMNS = (
    "MODEL",
    "STATE",
    "ANSWERS>",
    "ERRORS>",
    "REQ/S>",
    "P50>",
    "P99>",
    "MEMORY>",
    "LOADS>",
    "EVICTED>",
    "CACHED>",
)


def print_all(report: StatsReport) -> None:
    """Print a table with one row per model."""
    if report.models:
        print_table(_COLUMNS, [_row(model) for model in report.models])
    else:
        print_message("No model is registered. Register one: sire register NAME PATH")


def _row(model: ModelStats) -> tuple[str, ...]:
    return (
        model.model,
        model.state,
        f"{model.inference_count:,}",
        _count(sum(model.errors.values())),
        f"{model.requests_per_second:.1f}" if model.requests_per_second else "",
        format_time(model.p50_latency_seconds),
        format_time(model.p99_latency_seconds),
        format_bytes(model.memory_bytes) if model.memory_bytes else "",
        _count(model.loads),
        _count(model.evictions),
        _count(model.cache_hits),
    )


def print_one(model: ModelStats) -> None:
    """Print every total of one model, one per line."""
    print_pairs(_pairs(model))


def _pairs(model: ModelStats) -> Iterator[tuple[str, str | None]]:
    yield "model", model.model
    yield "state", f"{model.state} on {model.device}" if model.device else model.state
    peak = max(model.memory_bytes, model.peak_memory_bytes)
    yield "memory", f"{format_bytes(model.memory_bytes)}, peak {format_bytes(peak)}"
    rate = model.requests_per_second
    yield "answers", f"{model.inference_count:,}" + (f", {rate:.1f}/s now" if rate else "")
    yield "bytes", f"{format_bytes(model.bytes_in)} in, {format_bytes(model.bytes_out)} out"
    errors = [f"{count:,} {code}" for code, count in sorted(model.errors.items())]
    yield "errors", ", ".join(errors) or "none"
    yield "last error", model.last_error
    yield "latency", _latencies(model)
    yield "compute", _mean(model.average_compute_seconds)
    yield "queue", _queue(model)
    yield "batches", _batches(model.batches)
    yield "loads", _loads(model)
    yield "unloads", str(model.unloads)
    yield "evictions", str(model.evictions)
    yield "sleeps", _sleeps(model)
    yield "crashes", str(model.crashes)
    lookups = model.cache_hits + model.cache_misses
    hits = f"{model.cache_hits:,} of {lookups:,}, {format_bytes(model.cache_bytes)} cached"
    yield "cache hits", hits if lookups else None


def _latencies(model: ModelStats) -> str | None:
    if not model.latency_percentiles:
        return None
    percentiles = [
        f"{name} {format_time(value)}" for name, value in model.latency_percentiles.items()
    ]
    return ", ".join([f"mean {format_time(model.average_latency_seconds)}", *percentiles])


def _mean(seconds: float | None) -> str | None:
    return None if seconds is None else f"mean {format_time(seconds)}"


def _queue(model: ModelStats) -> str:
    wait = model.wait_seconds
    expected = f", expected wait {format_time(wait)}" if wait else ""
    return f"{model.queued}{expected}"


def _batches(batches: dict[int, int]) -> str | None:
    if max(batches, default=1) == 1:
        return None
    return ", ".join(f"{count:,} of {size}" for size, count in sorted(batches.items()))


def _loads(model: ModelStats) -> str:
    failed = f", {model.load_failures} failed" if model.load_failures else ""
    seconds = model.last_load_seconds
    last = "" if seconds is None else f", last in {format_time(seconds)}"
    return f"{model.loads}{failed}{last}"


def _sleeps(model: ModelStats) -> str | None:
    if not model.sleeps:
        return None
    seconds = model.last_wake_seconds
    last = "" if seconds is None else f", last in {format_time(seconds)}"
    return f"{model.sleeps}, {model.wakes} wakes{last}"


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def format_time(seconds: float | None) -> str:
    """A duration as text; "" for None."""
    return "" if seconds is None else format_duration(seconds)
