"""The plan of a load test: which requests to send, and when each is due."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from sire.protocol.content import JSON


@dataclass(frozen=True, slots=True)
class LoadInput:
    """The frames of a request, their content type, and the name of their file."""

    frames: tuple[bytes, ...]
    content_type: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send, how often and for how long.

    Attributes:
        models: models to request, in turn or ``at_random``; one named twice gets twice the load.
        inputs: contents to send to each model; at least one.
        clients: number of concurrent clients, each of which sends its next request ``delay``
            seconds after its previous answer. Ignored if ``rate`` is set.
        rate: requests due per second, independently of answers; at random times (a Poisson
            process), or ``evenly`` spaced.
        requests: number of requests to send; None for no limit.
        seconds: how long to send requests; None for no limit. At least one of the two must be set;
            the first limit reached ends the run.
        jobs: submit jobs instead of requesting predictions.
        results: whether to read answers. Without, answers to predictions are discarded, and jobs
            are not waited for.
        accept: the content type requested for the answers.
        timeout: seconds after which the daemon fails a request; None for its default.
        seed: of all random choices.
    """

    models: Sequence[str]
    inputs: Sequence[LoadInput]
    clients: int = 8
    rate: float | None = None
    evenly: bool = False
    delay: float = 0.0
    requests: int | None = None
    seconds: float | None = None
    at_random: bool = False
    jobs: bool = False
    results: bool = True
    accept: str = JSON
    timeout: float | None = None
    seed: int = 0


def choices(plan: LoadPlan) -> Iterator[tuple[str, LoadInput]]:
    """Yield the model and the input of each request; in turn, every pair occurs equally often."""
    pairs = [(model, one) for one in plan.inputs for model in plan.models]
    random = Random(plan.seed)  # noqa: S311 (must be repeatable, not unpredictable)
    number = 0
    while True:
        yield random.choice(pairs) if plan.at_random else pairs[number % len(pairs)]
        number += 1


class ArrivalSchedule(Protocol):
    """When requests are due."""

    due: float

    def sent(self) -> None:
        """The request that is due has been sent."""

    def answered(self, now: float) -> None:
        """A request has got its reply, an answer or an error."""


def arrival_schedule(plan: LoadPlan, start: float) -> ArrivalSchedule:
    """The arrival schedule of a plan; its times are on the clock of ``start``."""
    return ClosedLoop(plan, start) if plan.rate is None else OpenLoop(plan, plan.rate, start)


class ClosedLoop:
    """Clients that wait for an answer before they send their next request."""

    def __init__(self, plan: LoadPlan, start: float) -> None:
        self._due_times = deque([start] * plan.clients)
        self._delay = plan.delay
        self.due = start

    def sent(self) -> None:
        """One client waits for its answer."""
        self._due_times.popleft()
        self._update()

    def answered(self, now: float) -> None:
        """One client has its answer."""
        self._due_times.append(now + self._delay)
        self._update()

    def _update(self) -> None:
        self.due = self._due_times[0] if self._due_times else math.inf


class OpenLoop:
    """Requests that are due at given times, whether or not earlier ones were answered."""

    def __init__(self, plan: LoadPlan, rate: float, start: float) -> None:
        # A stream separate from that of the choices, so that a rate always gives the same times.
        self._random = Random(f"{plan.seed} clock")  # noqa: S311 (as in choices)
        self._rate = rate
        self._evenly = plan.evenly
        self._start = start
        self._count = 0
        self.due = start if plan.evenly else start + self._random.expovariate(rate)

    def sent(self) -> None:
        """The next request is due one interval after this one was due, however late it was sent."""
        self._count += 1
        if self._evenly:
            self.due = self._start + self._count / self._rate
        else:
            self.due += self._random.expovariate(self._rate)

    def answered(self, now: float) -> None:
        """Answers do not affect the schedule."""
