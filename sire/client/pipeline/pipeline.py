"""Many predictions under way on one connection to the daemon.

1. As many are under way as ``MOST`` and ``MOST_BYTES`` allow, counted from when a request is sent
   until its answer is handed out: whatever is asked, little of it is held in memory.
2. A request that finds the queue full has not failed. It is sent again when another was answered,
   or after a pause, and so many are not under way again for a while (``pace``).
3. A request waits for those sent before it, so its timeout is counted from when they are answered,
   as if each had been sent alone. The daemon is told the sum; who had its share and gave no answer
   is withdrawn from here.
4. When the daemon goes away, whatever it has not answered has failed.
"""

import itertools
import math
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sire.client.connection import Connection, largest_message
from sire.client.link import Answer, Link
from sire.client.pipeline.congestion import CongestionWindow
from sire.errors import DeadlineExceeded, QueueFull, SireError, error_from
from sire.protocol.content import Buffer, size_of
from sire.protocol.framing import too_large
from sire.protocol.replies import ConfigReport, Failure
from sire.protocol.requests import Cancel, Predict, ShowConfig
from sire.units import format_duration, parse_duration

MOST = 32
MOST_BYTES = 64 * 1024**2
# Between two looks at whether the daemon is still there, and deadlines.
LOOK_SECONDS = 0.1

# The daemon says itself what is late, and why, if it can.
_GRACE_SECONDS = 0.5
# Who did not look for so long was busy elsewhere: what came meanwhile was not late.
_AWAY_SECONDS = 1.0
# A daemon that is well confirms at once; one that is not must not hold up Ctrl-C.
_WITHDRAW_SECONDS = 0.3
# Cancels and the first question go by a number that no prediction has.
_ASIDE = 0

Outcome = Answer | SireError


@dataclass(frozen=True, slots=True)
class PipelinedRequest:
    """A prediction to ask for; its frames must not change until it is answered."""

    request: Predict
    frames: Sequence[Buffer]

    @property
    def size(self) -> int:
        """Bytes in all frames."""
        return size_of(self.frames)


@dataclass(slots=True)
class _InFlight:
    request: Predict
    frames: Sequence[Buffer]
    size: int
    timeout: float
    since: float
    refusal: QueueFull | None = None


def open_pipeline(connection: Connection, waker: int | None = None) -> "Pipeline":
    """A pipeline to the daemon of a connection, on a socket of its own.

    Args:
        connection: it says where the daemon is, and whether to start one.
        waker: as for ``Pipeline``.

    Raises:
        DaemonUnavailable: none runs and none was started, or it takes no connections.
    """
    link = connection.open_link()
    try:
        link.send(ShowConfig(id=_ASIDE))
        report, _ = link.receive(_ASIDE, None)
        assert isinstance(report, ConfigReport)
    except BaseException:
        link.close()
        raise
    values = {setting.key: setting.value for setting in report.settings}
    timeout = parse_duration(values["defaults.timeout"])
    return Pipeline(link, timeout, largest_message(report), waker)


class Pipeline:
    """Sends requests, and keeps their outcomes until they are asked for; for one thread.

    Args:
        link: a connection that nobody else uses; it is closed with the pipeline.
        timeout: seconds for requests that say none; ``math.inf`` for no limit.
        largest: bytes that a request may have; the daemon hangs up on who sends more.
        waker: a descriptor; ``pump`` returns as well when there is something to read.

    Attributes:
        gone: whether the daemon went away.
    """

    def __init__(self, link: Link, timeout: float, largest: int, waker: int | None = None) -> None:
        self.gone = False
        self._largest = largest
        self._link = link
        self._timeout = timeout
        self._numbers = itertools.count(_ASIDE + 1)
        self._pace = CongestionWindow(MOST)
        self._under_way: dict[int, _InFlight] = {}
        self._refused: deque[int] = deque()
        self._outcomes: dict[int, tuple[Outcome, int]] = {}
        self._bytes = 0
        self._unconfirmed = 0
        self._progress: dict[str, float] = {}
        self._looked = self._back = time.monotonic()
        self._poller = select.poll()
        for descriptor in (link.descriptor, waker):
            if descriptor is not None:
                self._poller.register(descriptor, select.POLLIN)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    @property
    def _accepted(self) -> int:
        return len(self._under_way) - len(self._refused)

    def room(self) -> bool:
        """Whether another request may be sent now."""
        held = len(self._under_way) + len(self._outcomes)
        return (
            held < MOST
            and self._bytes < MOST_BYTES
            and len(self._under_way) < self._pace.limit
            and not self._refused
        )

    def send(self, question: PipelinedRequest) -> int:
        """Send a request; returns its number, by which ``pop`` gives its outcome."""
        if self.gone:
            return self.fail(self._link.went_away())
        if question.size > self._largest:
            return self.fail(too_large(question.size, self._largest))
        number, asked = next(self._numbers), question.request
        timeout = self._timeout if asked.timeout is None else asked.timeout
        before = sum(one.request.model == asked.model for one in self._under_way.values())
        told = None if math.isinf(timeout) else timeout * (1 + before)
        request = msgspec.structs.replace(asked, id=number, timeout=told)
        one = _InFlight(request, question.frames, question.size, timeout, time.monotonic())
        self._link.send(request, question.frames)
        self._under_way[number] = one
        self._bytes += one.size
        return number

    def fail(self, error: SireError) -> int:
        """Stand in for a request that could not be made; ``pop`` gives its error."""
        number = next(self._numbers)
        self._outcomes[number] = error, 0
        return number

    def answered(self) -> list[int]:
        """The numbers of requests that have an outcome."""
        return list(self._outcomes)

    def pop(self, number: int) -> Outcome | None:
        """The outcome of a request, once; None where it has none yet."""
        outcome, size = self._outcomes.pop(number, (None, 0))
        self._bytes -= size
        return outcome

    def pump(self, seconds: float = 0.0) -> None:
        """Take the answers that have come; where there is none, wait so long for one."""
        self._send_again()
        if not self._link.ready()[1] and seconds > 0:
            if self._refused and self._accepted < self._pace.limit:
                seconds = max(0.0, min(seconds, self._pace.resume - time.monotonic()))
            self._poller.poll(math.ceil(seconds * 1e3))
        while self._link.ready()[1]:
            self._take()
        self._look()

    def withdraw(self, number: int) -> None:
        """Cancel a request, which has no outcome then; nothing happens when it was answered."""
        if (one := self._under_way.pop(number, None)) is None:
            return
        self._bytes -= one.size
        if number in self._refused:
            self._refused.remove(number)
        else:
            self._link.send(Cancel(id=_ASIDE, request=number))
            self._unconfirmed += 1

    def close(self) -> None:
        """Cancel what is under way, and wait a moment so that the messages leave before we do."""
        for number in [] if self.gone else list(self._under_way):
            self.withdraw(number)
        only = select.poll()
        only.register(self._link.descriptor, select.POLLIN)
        give_up = time.monotonic() + _WITHDRAW_SECONDS
        while self._unconfirmed and not self.gone and (left := give_up - time.monotonic()) > 0:
            if self._link.ready()[1]:
                self._take()
            else:
                only.poll(math.ceil(left * 1e3))
        self._link.close()

    def _take(self) -> None:
        reply, frames = self._link.take()
        if reply.id == _ASIDE:
            self._unconfirmed -= 1
            return
        number = int(reply.id or _ASIDE)
        if (one := self._under_way.get(number)) is None:
            return  # it was withdrawn
        if not isinstance(reply, Failure):
            self._settle(number, (reply, frames), size_of(frames))
            self._pace.answered()
            return
        error = error_from(reply.code, reply.message, reply.hint, reply.details)
        if isinstance(error, QueueFull):
            one.refusal = error
            self._refused.append(number)
            self._pace.refused(self._accepted, time.monotonic())
        else:
            self._settle(number, error)

    def _settle(self, number: int, outcome: Outcome, size: int = 0) -> None:
        one = self._under_way.pop(number)
        self._outcomes[number] = outcome, size
        self._bytes += size - one.size
        self._progress[one.request.model] = time.monotonic()

    def _send_again(self) -> None:
        while self._refused and self._accepted < self._pace.limit:
            if time.monotonic() < self._pace.resume:
                return
            one = self._under_way[self._refused.popleft()]
            self._link.send(one.request, one.frames)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        if now - self._looked > _AWAY_SECONDS:
            self._back = now
        self._looked = now
        if self._link.lost():
            self._lose()
            return
        oldest = {one.request.model: n for n, one in reversed(self._under_way.items())}
        for number in oldest.values():
            self._end_if_late(number, now)

    def _lose(self) -> None:
        self.gone = True
        self._refused.clear()
        for number in list(self._under_way):
            self._settle(number, self._link.went_away())

    def _end_if_late(self, number: int, now: float) -> None:
        one = self._under_way[number]
        model = one.request.model
        began = max(one.since, self._progress.get(model, 0.0), self._back)
        if now < began + one.timeout + _GRACE_SECONDS:
            return
        self.withdraw(number)
        self._progress[model] = now
        late = DeadlineExceeded(
            f"{model} gave no answer within {format_duration(one.timeout)}.",
            hint="Allow more with --timeout, or look at: sire ps",
        )
        self._outcomes[number] = one.refusal or late, 0
