"""The event loop of a load test: send requests when due, receive replies, report progress."""

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
from sire_cli.loadtest.plan import LoadInput, LoadPlan, arrival_schedule, choices
from sire_cli.loadtest.report import LoadCounts

# Interval of checks for interruption and for a lost daemon, and of progress reports.
_POLL_SECONDS = 0.1
# A healthy daemon confirms at once; an unhealthy one must not delay Ctrl-C.
_WITHDRAW_SECONDS = 0.3

_now = time.perf_counter


@dataclass(frozen=True, slots=True)
class LoadTestProgress:
    """The progress of a load test.

    Attributes:
        fraction: of its duration or of its requests, from 0 to 1.
        seconds: since its start.
        requests: number sent; ``open`` of them have no reply yet, ``errors`` failed.
    """

    fraction: float
    seconds: float
    requests: int
    open: int
    errors: int


# Called ten times per second; returns whether to continue.
OnProgress = Callable[[LoadTestProgress], bool]


@dataclass(frozen=True, slots=True)
class _OpenExchange:
    counts: LoadCounts
    due: float
    exchange: Exchange


class Driver:
    """Executes a plan on one socket, in one thread.

    Threads would contend for the interpreter lock, and processes for the cores that the daemon and
    its workers need; either would distort the measurement.

    Attributes:
        counts_by_model: requests, latencies and errors of each model.
        messages: the message of the first error of each code.
        late: seconds from when each request was due to when it had been sent.
        jobs: the ids of the accepted jobs.
        interrupted: whether ``on_progress`` ended the run.
        daemon_lost: whether the daemon disappeared.
        withdrawn: number of requests without a reply when the run was ended.
    """

    def __init__(self, link: Link, plan: LoadPlan, on_progress: OnProgress) -> None:
        self.counts_by_model = {model: LoadCounts() for model in plan.models}
        self.messages: dict[str, str] = {}
        self.late = array("d")
        self.jobs: list[str] = []
        self.interrupted = self.daemon_lost = False
        self.withdrawn = 0
        self._link = link
        self._plan = plan
        self._on_progress = on_progress
        self._choices = choices(plan)
        self._numbers = itertools.count(1)
        self._sent = 0
        self._open: dict[str | int, _OpenExchange] = {}

    def run(self) -> float:
        """Execute the plan; returns the number of seconds it took."""
        self._start = self._next_poll = now = _now()
        self._end = self._start + (self._plan.seconds or math.inf)
        self._schedule = arrival_schedule(self._plan, self._start)
        while not self._finished(now):
            room, answered = self._link.ready()
            due = self._due() if room else math.inf
            if due <= now:
                self._send_next(due)
            if answered:
                self._receive()
            elif due > now:
                self._link.wait(
                    min(due, self._next_poll, self._end if now < self._end else due) - now
                )
            now = _now()
            if now >= self._next_poll:
                self._poll(now)
        return now - self._start

    def withdraw(self) -> None:
        """Cancel open requests, and wait briefly for the daemon to confirm."""
        self.withdrawn = len(self._open)
        for number in self._open:
            self._link.send(Cancel(id=0, request=number))
        deadline = _now() + _WITHDRAW_SECONDS
        while self._open and (left := deadline - _now()) > 0:
            if not self._link.ready()[1]:
                self._link.wait(left)
                continue
            reply, _ = self._link.take()
            one = self._open.pop(reply.id, None)
            if one and not isinstance(reply, Failure):
                with suppress(StopIteration):
                    one.exchange.send(reply)  # the reply may contain the id of an accepted job

    def _finished(self, now: float) -> bool:
        if self.interrupted or self.daemon_lost:
            return True
        unfinished = self._open or self._due() < math.inf
        return not unfinished and (self._plan.requests is not None or now >= self._end)

    def _due(self) -> float:
        """The time to send the next request; infinite if there is none."""
        due = self._schedule.due
        complete = self._sent == self._plan.requests or due >= self._end
        return math.inf if complete else due

    def _send_next(self, due: float) -> None:
        model, load_input = next(self._choices)
        one = _OpenExchange(self.counts_by_model[model], due, self._exchange(model, load_input))
        number = next(self._numbers)
        self._send(number, *next(one.exchange))
        now = _now()
        self.late.append(now - due)
        self._sent += 1
        one.counts.requests += 1
        self._schedule.sent()
        if self._plan.jobs or self._plan.results:
            self._open[number] = one
        else:
            self._schedule.answered(now)

    def _exchange(self, model: str, load_input: LoadInput) -> Exchange:
        if self._plan.jobs:
            return job(self._plan, model, load_input, self.jobs.append)
        return prediction(self._plan, model, load_input)

    def _send(self, number: str | int, request: Request, payload: tuple[bytes, ...]) -> None:
        self._link.send(msgspec.structs.replace(request, id=number), payload)

    def _receive(self) -> None:
        reply, _ = self._link.take()
        now = _now()
        one = self._open.get(reply.id)
        if one is None:
            return
        if isinstance(reply, Failure):
            one.counts.errors[reply.code] += 1
            self.messages.setdefault(reply.code, reply.message)
        else:
            try:
                message = one.exchange.send(reply)
            except StopIteration:
                one.counts.latencies.append(now - one.due)
            else:
                self._send(reply.id, *message)
                return
        del self._open[reply.id]
        self._schedule.answered(now)

    def _poll(self, now: float) -> None:
        self._next_poll = now + _POLL_SECONDS
        try:
            self._link.check()
        except DaemonUnavailable as problem:
            self.daemon_lost = True
            self.messages.setdefault(DaemonUnavailable.code, problem.message)
            for one in self._open.values():
                one.counts.errors[DaemonUnavailable.code] += 1
            self._open.clear()
        self.interrupted = not self._on_progress(self._progress(now))

    def _progress(self, now: float) -> LoadTestProgress:
        seconds = now - self._start
        time_fraction = seconds / self._plan.seconds if self._plan.seconds else 0.0
        request_fraction = self._sent / self._plan.requests if self._plan.requests else 0.0
        errors = sum(counts.errors.total() for counts in self.counts_by_model.values())
        fraction = min(1.0, max(time_fraction, request_fraction))
        return LoadTestProgress(fraction, seconds, self._sent, len(self._open), errors)
