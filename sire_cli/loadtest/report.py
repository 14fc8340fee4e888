"""The results of a load test, and the statistics they are computed from."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sire.protocol.counts import ModelStats


class LoadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Measured figures; times are in seconds and rates per second.

    Attributes:
        requests: number of requests sent.
        answers: number of requests answered; a job that is not waited for counts once accepted,
            and a request whose answer is discarded does not count.
        errors: number of errors by code.
        average_latency_seconds: mean time from when a request was due until its answer was
            received; the percentiles (nearest rank) are of the same times. None without answers.
        loads: number of instances loaded during the run, including loads that other clients
            caused; likewise ``evictions`` and ``crashes``. None if the daemon disappeared.
    """

    requests: int
    answers: int
    errors: dict[str, int]
    requests_per_second: float
    answers_per_second: float
    average_latency_seconds: float | None
    p50_latency_seconds: float | None
    p90_latency_seconds: float | None
    p99_latency_seconds: float | None
    max_latency_seconds: float | None
    loads: int | None
    evictions: int | None
    crashes: int | None


class ModelLoadFigures(LoadFigures, frozen=True, kw_only=True):
    """Measured figures of one model."""

    model: str


class LoadReport(LoadFigures, frozen=True, kw_only=True):
    """Figures of all models together, of each model, and of the measurement itself.

    Attributes:
        seconds: from when the first request was due to the end of the run.
        interrupted: whether the run was ended early.
        withdrawn: number of requests without an answer when the run was ended.
        jobs_left: number of jobs that were submitted and not removed.
        seed: repeats the random choices of this run.
        p99_late_seconds: 99 % of the requests were sent at most this long after they were due;
            included in every latency. None if nothing was sent.
        own_cpu_seconds: CPU time of the load test itself, all threads together.
        models: the figures of each model, in the order given.
        messages: the message of the first error of each code.
    """

    seconds: float
    interrupted: bool
    withdrawn: int
    jobs_left: int
    seed: int
    p99_late_seconds: float | None
    own_cpu_seconds: float
    models: tuple[ModelLoadFigures, ...]
    messages: dict[str, str]


class LoadCounts:
    """Requests, latencies and errors of one model, or of several."""

    def __init__(self) -> None:
        self.requests = 0
        self.latencies = array("d")
        self.errors: Counter[str] = Counter()

    def __add__(self, other: "LoadCounts") -> "LoadCounts":
        both = LoadCounts()
        both.requests = self.requests + other.requests
        both.latencies = self.latencies + other.latencies
        both.errors = self.errors + other.errors
        return both

    def figures(self, seconds: float) -> dict[str, Any]:
        """The fields of ``LoadFigures`` that the client measures, for a run of ``seconds``."""
        ordered = sorted(self.latencies)
        return {
            "requests": self.requests,
            "answers": len(ordered),
            "errors": dict(self.errors.most_common()),
            "requests_per_second": self.requests / seconds,
            "answers_per_second": len(ordered) / seconds,
            "average_latency_seconds": math.fsum(ordered) / len(ordered) if ordered else None,
            "p50_latency_seconds": percentile(ordered, 0.5),
            "p90_latency_seconds": percentile(ordered, 0.9),
            "p99_latency_seconds": percentile(ordered, 0.99),
            "max_latency_seconds": percentile(ordered, 1.0),
        }


def percentile(ordered: Sequence[float], fraction: float) -> float | None:
    """The smallest value that at least this fraction of the values does not exceed (nearest rank).

    Args:
        ordered: the values, smallest first.
        fraction: above 0, at most 1.
    """
    if not ordered:
        return None
    # Rounded, because 0.07 * 100 exceeds 7 in floating point.
    return ordered[max(0, math.ceil(round(fraction * len(ordered), 9)) - 1)]


def daemon_figures(
    before: Mapping[str, ModelStats], after: Mapping[str, ModelStats] | None, models: Iterable[str]
) -> dict[str, Any]:
    """The fields of ``LoadFigures`` that the daemon counted between two reports."""
    names = ("loads", "evictions", "crashes")
    if after is None:
        return dict.fromkeys(names)
    counted = [(before.get(model), after[model]) for model in models if model in after]
    return {
        name: sum(getattr(new, name) - getattr(old, name, 0) for old, new in counted)
        for name in names
    }
