"""Sending requests when they are due, taking answers when they come, and looking at the clock."""

import itertools
import math
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from sire.client.link import Link
from sire.errors import DaemonUnavailable
from sire.protocol.replies import Failure
from sire.protocol.requests import Cancel, Request
from sire_cli.loadtest.exchanges import Exchange, job, prediction
from sire_cli.loadtest.plan import LoadInput, LoadPlan, choices, timetable
from sire_cli.loadtest.report import LoadCounts

# Between two looks at whether it is to end, the daemon is still there, and people are to be told.
_LOOK_SECONDS = 0.1
# A daemon that is well confirms at once; one that is not must not hold up Ctrl-C.
_WITHDRAW_SECONDS = 0.3

_now = time.perf_counter


@dataclass(frozen=True, slots=True)
class LoadTestProgress:
    """How far a load has come.

    Attributes:
        fraction: of its time or of its requests, from 0 to 1.
        seconds: since it began.
        requests: that were sent; ``open`` of them have no answer yet, ``errors`` got an error.
    """

    fraction: float
    seconds: float
    requests: int
    open: int
    errors: int


# Told ten times a second how far it is; returns whether to go on.
OnProgress = Callable[[LoadTestProgress], bool]


@dataclass(frozen=True, slots=True)
class _OpenExchange:
    counts: LoadCounts
    due: float
    exchange: Exchange


class Driver:
    """Carries out a plan on one socket, in one thread.

    Threads would wait for one another's turn at the interpreter, processes for the cores that the
    daemon and its workers need: either would be measured with what is to be measured.

    Attributes:
        tallies: what was counted, by model.
        messages: the first error of each code, in words.
        late: seconds from when each request was due to when it had been sent.
        jobs: the ids of the jobs accepted.
        interrupted: whether ``watch`` ended it; ``gone`` whether the daemon went away;
            ``withdrawn`` how many requests had no answer then.
    """

    def __init__(self, link: Link, plan: LoadPlan, watch: OnProgress) -> None:
        self.counts_by_model = {model: LoadCounts() for model in plan.models}
        self.messages: dict[str, str] = {}
        self.late = array("d")
        self.jobs: list[str] = []
        self.interrupted = self.gone = False
        self.withdrawn = 0
        self._link = link
        self._plan = plan
        self._watch = watch
        self._choices = choices(plan)
        self._numbers = itertools.count(1)
        self._sent = 0
        self._under_way: dict[str | int, _OpenExchange] = {}

    def drive(self) -> float:
        """Carry it out; returns how many seconds that took."""
        self._start = self._look_at = now = _now()
        self._end = self._start + (self._plan.seconds or math.inf)
        self._timetable = timetable(self._plan, self._start)
        while not self._over(now):
            room, answered = self._link.ready()
            due = self._due() if room else math.inf
            if due <= now:
                self._begin(due)
            if answered:
                self._take()
            elif due > now:
                self._link.wait(
                    min(due, self._look_at, self._end if now < self._end else due) - now
                )
            now = _now()
            if now >= self._look_at:
                self._look(now)
        return now - self._start

    def withdraw(self) -> None:
        """Cancel what is under way, and wait a moment for the daemon to say so."""
        self.withdrawn = len(self._under_way)
        for number in self._under_way:
            self._link.send(Cancel(id=0, request=number))
        give_up = _now() + _WITHDRAW_SECONDS
        while self._under_way and (left := give_up - _now()) > 0:
            if not self._link.ready()[1]:
                self._link.wait(left)
                continue
            reply, _ = self._link.take()
            one = self._under_way.pop(reply.id, None)
            if one and not isinstance(reply, Failure):
                with suppress(StopIteration):
                    one.exchange.send(reply)  # it may tell of a job that was accepted meanwhile

    def _over(self, now: float) -> bool:
        if self.interrupted or self.gone:
            return True
        waiting = self._under_way or self._due() < math.inf
        return not waiting and (self._plan.requests is not None or now >= self._end)

    def _due(self) -> float:
        """When to send the next request; never, as long as there is none."""
        due = self._timetable.due
        enough = self._sent == self._plan.requests or due >= self._end
        return math.inf if enough else due

    def _begin(self, due: float) -> None:
        model, given = next(self._choices)
        one = _OpenExchange(self.counts_by_model[model], due, self._exchange(model, given))
        number = next(self._numbers)
        self._say(number, *next(one.exchange))
        now = _now()
        self.late.append(now - due)
        self._sent += 1
        one.counts.requests += 1
        self._timetable.sent()
        if self._plan.jobs or self._plan.results:
            self._under_way[number] = one
        else:
            self._timetable.answered(now)

    def _exchange(self, model: str, given: LoadInput) -> Exchange:
        if self._plan.jobs:
            return job(self._plan, model, given, self.jobs.append)
        return prediction(self._plan, model, given)

    def _say(self, number: str | int, request: Request, payload: tuple[bytes, ...]) -> None:
        self._link.send(msgspec.structs.replace(request, id=number), payload)

    def _take(self) -> None:
        reply, _ = self._link.take()
        now = _now()
        one = self._under_way.get(reply.id)
        if one is None:
            return
        if isinstance(reply, Failure):
            one.counts.errors[reply.code] += 1
            self.messages.setdefault(reply.code, reply.message)
        else:
            try:
                more = one.exchange.send(reply)
            except StopIteration:
                one.counts.latencies.append(now - one.due)
            else:
                self._say(reply.id, *more)
                return
        del self._under_way[reply.id]
        self._timetable.answered(now)

    def _look(self, now: float) -> None:
        self._look_at = now + _LOOK_SECONDS
        if self._link.lost():
            self.gone = True
            self.messages.setdefault(DaemonUnavailable.code, "The daemon went away.")
            for one in self._under_way.values():
                one.counts.errors[DaemonUnavailable.code] += 1
            self._under_way.clear()
        self.interrupted = not self._watch(self._progress(now))

    def _progress(self, now: float) -> LoadTestProgress:
        seconds = now - self._start
        of_time = seconds / self._plan.seconds if self._plan.seconds else 0.0
        of_requests = self._sent / self._plan.requests if self._plan.requests else 0.0
        errors = sum(counts.errors.total() for counts in self.counts_by_model.values())
        fraction = min(1.0, max(of_time, of_requests))
        return LoadTestProgress(fraction, seconds, self._sent, len(self._under_way), errors)
