"""What a load came to, and the statistics it takes to say so."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sire.protocol.counts import ModelStats


class LoadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; times are seconds and rates per second.

    Attributes:
        requests: how many were sent.
        answers: how many got what they asked for; a job that is not waited for asks to be
            accepted, and a request whose answer is not read asks for nothing.
        errors: how many got an error, by its code.
        average_latency_seconds: from when requests were due until their answers were there, as
            are the percentiles (nearest rank); None where there are no answers.
        loads: of instances, while the load ran, as are ``evictions`` and ``crashes``; other
            clients' are among them. None where the daemon went away.
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
    """What was measured of one model."""

    model: str


class LoadReport(LoadFigures, frozen=True, kw_only=True):
    """What was measured of all models together, of each, and of the measuring itself.

    Attributes:
        seconds: from the first request's being due to the end.
        interrupted: whether it was ended early; ``withdrawn`` counts who had no answer by then.
        jobs_left: how many jobs it submitted and did not remove.
        seed: what repeats the choices that were made at random.
        p99_late_seconds: all but one in a hundred requests were sent within so many seconds of
            being due; part of every latency. None where nothing was sent.
        own_cpu_seconds: what sending, receiving and timing took, all threads together.
        models: each model's figures, in the order named.
        messages: the first error of each code, in words.
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
    """Counts what becomes of requests."""

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
        """The fields of ``LoadFigures`` except the daemon's, for a run of ``seconds``."""
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
    """The least value that this fraction of them does not exceed (nearest rank).

    Args:
        ordered: the values, the smallest first.
        fraction: above 0, and 1 at most.
    """
    if not ordered:
        return None
    # Rounded, because 0.07 * 100 is a little more than 7 to a computer.
    return ordered[max(0, math.ceil(round(fraction * len(ordered), 9)) - 1)]


def caused(
    before: Mapping[str, ModelStats], after: Mapping[str, ModelStats] | None, models: Iterable[str]
) -> dict[str, Any]:
    """What the daemon counted in between, of these models: the other fields of ``LoadFigures``."""
    names = ("loads", "evictions", "crashes")
    if after is None:
        return dict.fromkeys(names)
    counted = [(before.get(model), after[model]) for model in models if model in after]
    return {
        name: sum(getattr(new, name) - getattr(old, name, 0) for old, new in counted)
        for name in names
    }
