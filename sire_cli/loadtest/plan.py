"""What a load consists of: which requests, and when each is due."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from sire.protocol.content import JSON


@dataclass(frozen=True, slots=True)
class LoadInput:
    """What to send with a request: its bytes and what they are."""

    content: bytes
    content_type: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send, how often and for how long.

    Attributes:
        models: whom to ask: in turn, or ``at_random``; one named twice is asked twice as often.
        inputs: what to send each of them; at least one.
        clients: how many requests are under way at once, each client sending its next one
            ``delay`` seconds after it has had its answer; or
        rate: how many a second are due, whatever becomes of those before; at random moments (a
            Poisson process), or ``evenly``.
        requests: how many to send; None for as many as there is time for.
        seconds: for how long to send them; None for as long as they take. One of the two has to
            be set; of both, that counts which is over first.
        jobs: submit jobs instead of asking for predictions.
        results: whether to read answers: without, predictions are sent and forgotten, and jobs
            are not waited for.
        accept: the content type wanted for the answers.
        timeout: seconds until the daemon gives a request up; None for its default.
        seed: of all that is random.
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
    """Whom to ask about what, one request after another; in turn, every pair has its turn."""
    pairs = [(model, given) for given in plan.inputs for model in plan.models]
    random = Random(plan.seed)  # noqa: S311 - a load has to be repeatable, not unpredictable
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
        """A request that was sent has been answered, with whatever."""


def timetable(plan: LoadPlan, start: float) -> ArrivalSchedule:
    """The timetable a plan asks for; its moments are on the clock of ``start``."""
    return ClosedLoop(plan, start) if plan.rate is None else OpenLoop(plan, plan.rate, start)


class ClosedLoop:
    """Clients that wait for their answers before they ask again."""

    def __init__(self, plan: LoadPlan, start: float) -> None:
        self._moments = deque([start] * plan.clients)
        self._delay = plan.delay
        self.due = start

    def sent(self) -> None:
        """One client waits from now on."""
        self._moments.popleft()
        self._look()

    def answered(self, now: float) -> None:
        """One client waits no longer."""
        self._moments.append(now + self._delay)
        self._look()

    def _look(self) -> None:
        self.due = self._moments[0] if self._moments else math.inf


class OpenLoop:
    """Requests come when they come, whether or not those before have been answered."""

    def __init__(self, plan: LoadPlan, rate: float, start: float) -> None:
        # Another stream than that of the choices: the same rate brings the same moments.
        self._random = Random(f"{plan.seed} clock")  # noqa: S311 - as in choices
        self._rate = rate
        self._evenly = plan.evenly
        self._start = start
        self._count = 0
        self.due = start if plan.evenly else start + self._random.expovariate(rate)

    def sent(self) -> None:
        """The next is due a gap after this one was due, however late it was sent."""
        self._count += 1
        if self._evenly:
            self.due = self._start + self._count / self._rate
        else:
            self.due += self._random.expovariate(self._rate)

    def answered(self, now: float) -> None:
        """Nothing depends on answers."""
