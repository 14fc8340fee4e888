"""What was counted since the daemon started: all models in a table, one model in full."""

from collections.abc import Iterator

from sire.protocol.counts import ModelStats
from sire.protocol.replies import StatsReport
from sire.units import format_bytes, format_duration
from sire_cli.terminal.output import print_pairs, print_table, say

# The last ones are those that a narrow terminal has no room for.
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
    """The columns that matter, a row a model."""
    if report.models:
        print_table(_COLUMNS, [_row(model) for model in report.models])
    else:
        say("No models yet. Add one: sire register NAME PATH")


def _row(model: ModelStats) -> tuple[str, ...]:
    return (
        model.model,
        model.state,
        f"{model.inference_count:,}",
        _some(sum(model.errors.values())),
        f"{model.requests_per_second:.1f}" if model.requests_per_second else "",
        time_of(model.p50_latency_seconds),
        time_of(model.p99_latency_seconds),
        format_bytes(model.memory_bytes) if model.memory_bytes else "",
        _some(model.loads),
        _some(model.evictions),
        _some(model.cache_hits),
    )


def print_one(model: ModelStats) -> None:
    """Everything that was counted of one model, one line each."""
    print_pairs(_pairs(model))


def _pairs(model: ModelStats) -> Iterator[tuple[str, str | None]]:
    yield "model", model.model
    yield "state", f"{model.state} on {model.device}" if model.device else model.state
    most = max(model.memory_bytes, model.peak_memory_bytes)
    yield "memory", f"{format_bytes(model.memory_bytes)}, {format_bytes(most)} at most"
    rate = model.requests_per_second
    yield "answers", f"{model.inference_count:,}" + (f", {rate:.1f} a second now" if rate else "")
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
    asked = model.cache_hits + model.cache_misses
    hits = f"{model.cache_hits:,} of {asked:,}, {format_bytes(model.cache_bytes)} kept"
    yield "cache hits", hits if asked else None


def _latencies(model: ModelStats) -> str | None:
    if not model.latency_percentiles:
        return None
    named = [f"{name} {time_of(value)}" for name, value in model.latency_percentiles.items()]
    return ", ".join([f"mean {time_of(model.average_latency_seconds)}", *named])


def _mean(seconds: float | None) -> str | None:
    return None if seconds is None else f"mean {time_of(seconds)}"


def _queue(model: ModelStats) -> str:
    wait = model.wait_seconds
    expected = f", {time_of(wait)} to wait" if wait else ""
    return f"{model.queued}{expected}"


def _batches(batches: dict[int, int]) -> str | None:
    if max(batches, default=1) == 1:
        return None
    return ", ".join(f"{count:,} of {size}" for size, count in sorted(batches.items()))


def _loads(model: ModelStats) -> str:
    failed = f", {model.load_failures} failed" if model.load_failures else ""
    took = model.last_load_seconds
    last = "" if took is None else f", the last in {time_of(took)}"
    return f"{model.loads}{failed}{last}"


def _sleeps(model: ModelStats) -> str | None:
    if not model.sleeps:
        return None
    took = model.last_wake_seconds
    last = "" if took is None else f", the last in {time_of(took)}"
    return f"{model.sleeps}, {model.wakes} wakes{last}"


def _some(count: int) -> str:
    return f"{count:,}" if count else ""


def time_of(seconds: float | None) -> str:
    """A short time; "" for none."""
    return "" if seconds is None else format_duration(seconds)
