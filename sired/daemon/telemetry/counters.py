"""Counters of each model, in memory, since the daemon started."""

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from sired.daemon.telemetry.histogram import Histogram

LATENCIES_KEPT = 1024
RATE_WINDOW_SECONDS = 10


@dataclass(slots=True)
class ModelCounters:
    """One model's counters; times in seconds, memory in bytes.

    Attributes:
        answers: number of answers, by device.
        errors: number of requests answered with an error, by its code.
        compute_sum: time that workers spent on the answers.
        latency: of all answers; ``latencies`` those of the last ``LATENCIES_KEPT``.
        queue_wait: time in queues, of the answers that were not direct.
        batches: passes of the model, by their number of requests; only those that the daemon
            dispatched.
        bytes_in: size of the answered payloads, and ``bytes_out`` of the answers.
        per_second: number of answers in each of the last seconds.
        loads: by device, like ``load_failures`` and ``unloads``.
        last_used_at: seconds since 1970.
    """

    answers: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    compute_sum: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    latency: Histogram = field(default_factory=Histogram)
    queue_wait: Histogram = field(default_factory=Histogram)
    batches: Counter[int] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    per_second: deque[tuple[int, int]] = field(
        default_factory=lambda: deque(maxlen=RATE_WINDOW_SECONDS + 1)
    )
    loads: Counter[str] = field(default_factory=Counter)
    load_failures: Counter[str] = field(default_factory=Counter)
    unloads: Counter[str] = field(default_factory=Counter)
    evictions: int = 0
    crashes: int = 0
    sleeps: int = 0
    wakes: int = 0
    last_wake_seconds: float | None = None
    last_load_seconds: float | None = None
    last_used_at: float | None = None
    peak_memory: int = 0
    last_error: str | None = None
    cache_hits: int = 0
    cache_misses: int = 0

    @property
    def inference_count(self) -> int:
        """Number of answers, without failed requests."""
        return self.latency.count

    def answered(
        self, latency: float, compute: float, wait: float, device: str, now: float
    ) -> None:
        """Count one answer.

        Args:
            latency: seconds from arrival to answer.
            compute: seconds that the worker computed.
            wait: seconds in a queue.
            device: where it was computed.
            now: the time on the monotonic clock.
        """
        self.answers[device] += 1
        self.latency.record(latency)
        self.queue_wait.record(wait)
        self.compute_sum += compute
        self.latencies.append(latency)
        self._used(1, now)

    def answered_directly(
        self, count: int, latencies: list[float], compute: float, device: str, now: float
    ) -> None:
        """Count answers over direct connections; ``latencies`` are those of the last of them."""
        self.answers[device] += count
        for latency in latencies:
            self.latency.record(latency)
        # Only the number of the earlier ones is known: they count with the mean latency.
        self.latency.record(sum(latencies) / len(latencies), count - len(latencies))
        self.compute_sum += compute
        self.latencies.extend(latencies)
        self._used(count, now)

    def _used(self, count: int, now: float) -> None:
        self.last_used_at = time.time()
        second = int(now)
        if self.per_second and self.per_second[-1][0] == second:
            self.per_second[-1] = (second, self.per_second[-1][1] + count)
        else:
            self.per_second.append((second, count))

    def failed(self, code: str, message: str) -> None:
        """Count one request answered with an error."""
        self.errors[code] += 1
        self.last_error = message

    def rate(self, now: float) -> float:
        """Answers per second over the last ``RATE_WINDOW_SECONDS`` whole seconds."""
        first = int(now) - RATE_WINDOW_SECONDS
        recent = sum(count for second, count in self.per_second if first <= second < int(now))
        return recent / RATE_WINDOW_SECONDS

    def percentile(self, fraction: float) -> float | None:
        """The latency that a fraction of the kept answers did not exceed (nearest rank)."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


class AllCounters:
    """The counters of all models, removed ones included."""

    def __init__(self) -> None:
        self.by_model: dict[str, ModelCounters] = {}

    def of(self, model: str) -> ModelCounters:
        """The counters of one model."""
        counters = self.by_model.get(model)
        if counters is None:
            counters = self.by_model[model] = ModelCounters()
        return counters
