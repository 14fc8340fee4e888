"""What is counted of models, as replies carry it."""

import msgspec


class ModelStats(msgspec.Struct, frozen=True):
    """What was counted for one model since the daemon started.

    Latencies run from a request's arrival in the daemon to its answer; percentiles are over the
    last 1,024 answers. ``requests_per_second`` is over the last ten seconds. ``wait_seconds`` is
    what a request that came now would wait; None where nobody can tell. A request answered from
    memory is counted in ``cache_hits`` and nowhere else; one that a cached model had to compute
    in ``cache_misses``, too. ``latency_percentiles``, from p50 to p99.9 and max, are over all
    answers, known to three percent. ``batches`` counts passes by the number of requests they were
    for, as far as the daemon put them together. ``bytes_in`` and ``bytes_out`` are of the payloads
    that the model had, and of its answers, parts of a stream not among them. ``tier`` is device,
    dram or disk: the nearest to a device that it has weights in.
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
    """The sums over every model."""

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
    """Something that happened to a model.

    Attributes:
        number: rises by one with every event, from 1 at the daemon's start.
        at: seconds since 1970.
        kind: loading, loaded, failed (to load), evicted, slept, woke, unloaded, crashed, pinned or
            unpinned.
        device: where; "" where that does not matter.
        words: what else there is to say, such as for whom it was evicted.
    """

    number: int
    at: float
    kind: str
    model: str
    device: str = ""
    words: str = ""


class ModelHistory(msgspec.Struct, frozen=True):
    """What one model did in one step of time, in which it was used or loaded.

    Attributes:
        at: when the step began, in seconds since 1970.
        p50_latency_seconds: of its answers; of a step of several minutes, the mean of theirs.
        p99_latency_seconds: of a step of several minutes, the worst of theirs.
        memory_bytes: what it was charged at the end of a minute, or, of one that had gone by then,
            the most that it took; of several minutes the most.
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
    """Measured values; ``below`` tells for rising bounds how many did not exceed them."""

    count: int
    sum: float
    below: tuple[tuple[float, int], ...]


class ModelMetrics(msgspec.Struct, frozen=True):
    """What was counted of one model, as ``ModelStats`` has it, by device where that is known.

    Attributes:
        duration: from arrival to answer, in seconds.
        queue_wait: of that, until the model began.
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
