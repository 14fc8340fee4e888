"""Statistics of models, as replies contain them."""

import msgspec


class ModelStats(msgspec.Struct, frozen=True):
    """Statistics of one model since the daemon started.

    Attributes:
        average_latency_seconds: from a request's arrival in the daemon to its answer.
        p50_latency_seconds: over the last 1,024 answers, like ``p99_latency_seconds``.
        requests_per_second: over the last ten seconds.
        cache_hits: requests answered from memory, which no other field counts.
        cache_misses: requests of a cached model that were computed.
        wait_seconds: estimated wait of a request that arrives now; None if it is unknown.
        latency_percentiles: p50 to p99.9 and max over all answers, accurate to three percent.
        batches: number of passes by the number of requests in them, as the daemon batched them.
        bytes_in: size of the inputs; ``bytes_out`` that of the answers, without streamed parts.
        tier: device, dram or disk: the tier nearest to a device that holds its weights.
    """

    model: str
    state: str
    device: str | None
    memory_bytes: int
    peak_memory_bytes: int
    inference_count: int
    errors: dict[str, int]
    queued: int
    average_latency_seconds: float | None
    p50_latency_seconds: float | None
    p99_latency_seconds: float | None
    average_compute_seconds: float | None
    requests_per_second: float
    loads: int
    evictions: int
    crashes: int
    last_load_seconds: float | None
    last_used_at: float | None
    cache_hits: int = 0
    cache_misses: int = 0
    cache_bytes: int = 0
    wait_seconds: float | None = None
    sleeps: int = 0
    wakes: int = 0
    last_wake_seconds: float | None = None
    latency_percentiles: dict[str, float] = {}
    batches: dict[int, int] = {}
    load_failures: int = 0
    unloads: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    last_error: str | None = None
    tier: str = "disk"
    pinned: bool = False


class StatsTotals(msgspec.Struct, frozen=True):
    """The sums over all models."""

    inference_count: int
    errors: int
    loads: int
    evictions: int
    crashes: int
    cache_hits: int = 0
    cache_misses: int = 0
    cache_bytes: int = 0
    sleeps: int = 0
    wakes: int = 0


class ModelEvent(msgspec.Struct, frozen=True):
    """An event of a model.

    Attributes:
        number: sequence number, from 1 at the daemon's start.
        at: seconds since the epoch.
        kind: loading, loaded, failed (to load), evicted, slept, woke, unloaded, crashed, pinned,
            unpinned or unbatched (requests run alone from now on).
        device: the device; "" if the event concerns none.
        words: further text, such as the model that it was evicted for.
    """

    number: int
    at: float
    kind: str
    model: str
    device: str = ""
    words: str = ""


class ModelHistory(msgspec.Struct, frozen=True):
    """The activity of one model in one interval in which it was used or loaded.

    Attributes:
        at: start of the interval, in seconds since the epoch.
        p50_latency_seconds: over an interval of several minutes, the mean of the minutes.
        p99_latency_seconds: over an interval of several minutes, the maximum of the minutes.
        memory_bytes: charge at the end of the minute, or the peak if it was unloaded by then; over
            several minutes, the maximum.
    """

    at: float
    model: str
    inference_count: int
    errors: int
    p50_latency_seconds: float | None
    p99_latency_seconds: float | None
    memory_bytes: int
    loads: int
    evictions: int
    crashes: int


class HistogramCounts(msgspec.Struct, frozen=True):
    """A histogram; ``below`` has rising bounds, each with the count of values up to it."""

    count: int
    sum: float
    below: tuple[tuple[float, int], ...]


class ModelMetrics(msgspec.Struct, frozen=True):
    """Statistics of one model for Prometheus, by device where it is known.

    Attributes:
        answers: successful predictions by device.
        errors: failed predictions by error code.
        duration: from arrival to answer, in seconds.
        queue_wait: from arrival until the model started, in seconds.
    """

    model: str
    answers: dict[str, int]
    errors: dict[str, int]
    duration: HistogramCounts
    queue_wait: HistogramCounts
    batches: dict[int, int]
    loads: dict[str, int]
    load_failures: dict[str, int]
    unloads: dict[str, int]
    evictions: int
    sleeps: int
    wakes: int
    crashes: int
    cache_hits: int
    cache_misses: int
    queued: int
