"""Synthetic models and requests for them, each a function of a seeded ``Random``."""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

MODELS = 30
# Seconds between two requests on average, where no trace says otherwise.
GAP = 10.0


@dataclass(frozen=True, slots=True)
class TracedModel:
    """A model's memory in bytes and how long it takes to load, in seconds."""

    memory: int
    load_seconds: float


Trace = Iterator[tuple[float, int]]


def models(random: Random) -> list[TracedModel]:
    """Thirty models of 0.5 to 20 GB that load at 0.3 to 3 GB/s, after half a second to five."""
    found = []
    for _ in range(MODELS):
        size = _log_uniform(random, 0.5, 20)
        seconds = random.uniform(0.5, 5) + size / _log_uniform(random, 0.3, 3)
        found.append(TracedModel(int(size * 1e9), seconds))
    return found


def zipf(random: Random) -> Trace:
    """Independent requests; the n-th most popular model gets 1/n of what the first gets."""
    order = _shuffled(random)
    now = 0.0
    while True:
        now += random.expovariate(1 / GAP)
        yield now, random.choices(order, _ZIPF)[0]


def scans(random: Random) -> Trace:
    """Zipf; every 100 to 300 requests a scan uses every model once, two seconds apart."""
    late = 0.0
    until_scan = random.randint(100, 300)
    for now, model in zipf(random):
        yield now + late, model
        until_scan -= 1
        if not until_scan:
            until_scan = random.randint(100, 300)
            for each in _shuffled(random):
                late += random.expovariate(1 / 2)
                yield now + late, each


def loop(random: Random) -> Trace:
    """All models in turn, over and over."""
    order = _shuffled(random)
    now = 0.0
    while True:
        for model in order:
            now += random.expovariate(1 / GAP)
            yield now, model


def drift(random: Random) -> Trace:
    """Zipf; every hundredth request one model becomes more or less popular."""
    order = _shuffled(random)
    now = 0.0
    while True:
        for _ in range(100):
            now += random.expovariate(1 / GAP)
            yield now, random.choices(order, _ZIPF)[0]
        model = order.pop(random.randrange(MODELS))
        order.insert(random.randrange(MODELS), model)


def cron(random: Random) -> Trace:
    """Twenty models run on a schedule, a few requests each time; ten are used interactively."""
    order = _shuffled(random)
    jobs = [_job(Random(random.random()), model) for model in order[:20]]
    return heapq.merge(*jobs, _people(Random(random.random()), order[20:]))


def sessions(random: Random) -> Trace:
    """A user picks a model and sends it 10 to 100 requests, 3 to 20 seconds apart."""
    order = _shuffled(random)
    running: list[tuple[float, int, int, float]] = []
    begin = 0.0
    while True:
        begin += random.expovariate(1 / 300)
        while running and running[0][0] < begin:
            now, model, left, pace = running[0]
            yield now, model
            later = (now + random.expovariate(1 / pace), model, left - 1, pace)
            heapq.heapreplace(running, later) if left else heapq.heappop(running)
        model = random.choices(order, _ZIPF)[0]
        session = (begin, model, random.randint(10, 100), random.uniform(3, 20))
        heapq.heappush(running, session)


TRACES: dict[str, Callable[[Random], Trace]] = {
    "zipf": zipf,
    "zipf with scans": scans,
    "loop": loop,
    "drifting popularity": drift,
    "cron mix": cron,
    "sessions": sessions,
}
_ZIPF = [1 / rank for rank in range(1, MODELS + 1)]


def record(name: str, random: Random, requests: int) -> list[tuple[float, int]]:
    """Return the first requests of the trace of that name: when, and for which model."""
    return list(islice(TRACES[name](random), requests))


def _job(random: Random, model: int) -> Trace:
    period = random.choice((300, 600, 900, 1800, 3600, 7200))
    requests = random.randint(1, 5)
    start = random.uniform(0, period)
    while True:
        now = start + random.uniform(0, 5)
        for _ in range(requests):
            yield now, model
            now += random.expovariate(1 / 2)
        start += period


def _people(random: Random, order: list[int]) -> Trace:
    now = 0.0
    while True:
        now += random.expovariate(1 / (3 * GAP))
        yield now, random.choices(order, _ZIPF[: len(order)])[0]


def _shuffled(random: Random) -> list[int]:
    return random.sample(range(MODELS), MODELS)


def _log_uniform(random: Random, least: float, most: float) -> float:
    return math.exp(random.uniform(math.log(least), math.log(most)))
