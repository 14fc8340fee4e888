"""Many predictions in flight on one connection to the daemon.

1. At most ``MAX_IN_FLIGHT`` requests and ``MAX_BYTES_IN_FLIGHT`` are in flight. A request counts
   from when it is sent until its outcome is taken, so that memory is bounded for any input.
2. A request that finds the queue full has not failed. It is sent again after another is answered,
   or after a pause, and the limit of requests in flight is reduced (``CongestionWindow``).
3. A request waits for those sent before it, so its timeout starts when they are answered, as if
   each had been sent alone. The daemon gets the sum as its timeout; a request that exceeds its own
   is cancelled here.
4. When the daemon goes away or does not respond, all requests without an answer fail.
"""

import math
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sire.client.connection import Connection, largest_message
from sire.client.heartbeat import HEARTBEAT_ID
from sire.client.link import Link
from sire.client.pipeline.base import (
    CONTROL,
    MAX_BYTES_IN_FLIGHT,
    POLL_SECONDS,
    Outcome,
    PipelinedRequest,
    RequestPipeline,
)
from sire.client.pipeline.congestion import CongestionWindow
from sire.errors import (
    DaemonUnavailable,
    DeadlineExceeded,
    InvalidInput,
    QueueFull,
    SireError,
    error_from,
)
from sire.protocol.content import Buffer, size_of
from sire.protocol.framing import raise_failure, too_large
from sire.protocol.replies import ConfigReport, Failure
from sire.protocol.requests import Cancel, Predict, Request, ShowConfig
from sire.units import format_duration, parse_duration

MAX_IN_FLIGHT = 32

# The daemon reports missed deadlines itself, with the reason; this applies when it cannot.
_GRACE_SECONDS = 0.5
# A caller that did not check for this long was busy: answers that arrived meanwhile are in time.
_AWAY_SECONDS = 1.0
# A healthy daemon confirms at once; one that does not must not delay Ctrl-C.
_CANCEL_SECONDS = 0.3


@dataclass(slots=True)
class _InFlight:
    request: Predict
    frames: Sequence[Buffer]
    size: int
    timeout: float
    since: float
    queue_full: QueueFull | None = None


def open_link_pipeline(
    connection: Connection, waker: int | None = None, timeout: float | None = None
) -> "Pipeline":
    """Open a pipeline to the daemon of a connection, on a separate socket.

    Args:
        connection: determines the daemon's address and whether to start one.
        waker: a descriptor that interrupts ``Pipeline.pump`` when it becomes readable.
        timeout: seconds to wait for a daemon that is stopped; None for the limit of heartbeats.

    Raises:
        DaemonUnavailable: no daemon runs and none was started, it accepts no connections, or it
            does not respond.
    """
    link = connection.open_link()
    try:
        try:
            report = _configuration(link, timeout)
        except DaemonUnavailable:
            if not link.ended:
                raise
            # It died at that moment; the next one is asked.
            link.close()
            link = connection.open_link()
            report = _configuration(link, timeout)
    except BaseException:
        link.close()
        raise
    values = {setting.key: setting.value for setting in report.settings}
    default = parse_duration(values["defaults.timeout"])
    return Pipeline(link, default, largest_message(report), waker)


def _configuration(link: Link, timeout: float | None) -> ConfigReport:
    if not link.send(ShowConfig(id=CONTROL), seconds=timeout):
        raise link.connection_lost()
    report, _ = link.receive(CONTROL, None, due=timeout)
    if isinstance(report, Failure):
        raise_failure(report)
    assert isinstance(report, ConfigReport)
    return report


class Pipeline(RequestPipeline):
    """Sends requests, and keeps their outcomes until they are taken; for one thread.

    Args:
        link: a connection that is not shared; it is closed with the pipeline.
        timeout: seconds for requests that specify none; ``math.inf`` for no limit.
        largest: bytes that a request may have; the daemon disconnects clients that send more.
        waker: a descriptor that interrupts ``pump`` when it becomes readable.
    """

    def __init__(self, link: Link, timeout: float, largest: int, waker: int | None = None) -> None:
        super().__init__()
        self._reason: SireError = link.connection_lost()
        self._largest = largest
        self._link = link
        self._timeout = timeout
        self._window = CongestionWindow(MAX_IN_FLIGHT)
        self._in_flight: dict[int, _InFlight] = {}
        self._rejected: deque[int] = deque()
        self._unconfirmed = 0
        self._progress: dict[str, float] = {}
        self._checked = self._back = time.monotonic()
        self._poller = select.poll()
        for descriptor in (link.descriptor, waker):
            if descriptor is not None:
                self._poller.register(descriptor, select.POLLIN)

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return not self._in_flight

    @property
    def _accepted(self) -> int:
        return len(self._in_flight) - len(self._rejected)

    def has_room(self) -> bool:
        """Whether another request may be sent now."""
        held = len(self._in_flight) + len(self._outcomes)
        return (
            held < MAX_IN_FLIGHT
            and self._bytes < MAX_BYTES_IN_FLIGHT
            and len(self._in_flight) < self._window.limit
            and not self._rejected
        )

    def send(self, prediction: PipelinedRequest) -> int:
        """Send a request; returns its number, which ``pop`` takes."""
        if self.disconnected:
            return self.fail(self._reason)
        if prediction.size > self._largest:
            return self.fail(too_large(prediction.size, self._largest))
        number, request = next(self._numbers), prediction.request
        timeout = self._timeout if request.timeout is None else request.timeout
        before = sum(one.request.model == request.model for one in self._in_flight.values())
        total = None if math.isinf(timeout) else timeout * (1 + before)
        request = msgspec.structs.replace(request, id=number, timeout=total)
        one = _InFlight(request, prediction.frames, prediction.size, timeout, time.monotonic())
        try:
            sent = self._link.send(request, prediction.frames)
        except InvalidInput as error:
            return self.fail(error)
        except DaemonUnavailable as error:
            self._fail_all(error)
            return self.fail(error)
        if not sent:
            self._fail_all(self._reason)
            return self.fail(self._reason)
        if not self._in_flight:
            self._link.resume()
        self._in_flight[number] = one
        self._bytes += one.size
        return number

    def pump(self, seconds: float = 0.0) -> None:
        """Receive available answers; wait up to ``seconds`` for one if there are none."""
        if self.disconnected:
            return
        self._send_again()
        if not self._link.ready()[1] and seconds > 0:
            if self._rejected and self._accepted < self._window.limit:
                seconds = max(0.0, min(seconds, self._window.resume - time.monotonic()))
            self._poller.poll(math.ceil(seconds * 1e3))
        while not self.disconnected and self._link.ready()[1]:
            self._take()
        self._check()

    def cancel(self, number: int) -> None:
        """Cancel a request, which then has no outcome; does nothing if it was answered."""
        if (one := self._in_flight.pop(number, None)) is None:
            return
        self._bytes -= one.size
        if number in self._rejected:
            self._rejected.remove(number)
        else:
            self._unconfirmed += self._tell(Cancel(id=CONTROL, request=number))

    def _tell(self, request: Request, frames: Sequence[Buffer] = ()) -> bool:
        """Send a message if the connection takes it at once; ``_check`` reports a lost one."""
        try:
            return self._link.ready()[0] and self._link.send(request, frames, seconds=0.0)
        except DaemonUnavailable:
            return False

    def close(self) -> None:
        """Cancel requests in flight, and wait briefly so that the cancellations are sent."""
        if self.disconnected:
            return
        for number in list(self._in_flight):
            self.cancel(number)
        only = select.poll()
        only.register(self._link.descriptor, select.POLLIN)
        give_up = time.monotonic() + _CANCEL_SECONDS
        while self._unconfirmed and (left := give_up - time.monotonic()) > 0:
            if self._link.ready()[1]:
                self._take()
            else:
                only.poll(math.ceil(left * 1e3))
        self._link.close()

    def _take(self) -> None:
        reply, frames = self._link.take()
        if reply.id == HEARTBEAT_ID:
            return
        if reply.id == CONTROL:
            self._unconfirmed -= 1
            return
        if reply.id == "" and isinstance(reply, Failure):  # a header that could not be read
            self._fail_all(error_from(reply.code, reply.message, reply.hint, reply.details))
            return
        number = int(reply.id or CONTROL)
        if (one := self._in_flight.get(number)) is None:
            return  # it was cancelled
        if not isinstance(reply, Failure):
            self._settle(number, (reply, frames), size_of(frames))
            self._window.on_answer()
            return
        error = error_from(reply.code, reply.message, reply.hint, reply.details)
        if isinstance(error, QueueFull):
            one.queue_full = error
            self._rejected.append(number)
            self._window.on_queue_full(self._accepted, time.monotonic())
        else:
            self._settle(number, error)

    def _settle(self, number: int, outcome: Outcome, size: int = 0) -> None:
        one = self._in_flight.pop(number)
        self._outcomes[number] = outcome, size
        self._bytes += size - one.size
        self._progress[one.request.model] = time.monotonic()

    def _send_again(self) -> None:
        while self._rejected and self._accepted < self._window.limit:
            if time.monotonic() < self._window.resume:
                return
            one = self._in_flight[self._rejected[0]]
            if not self._tell(one.request, one.frames):
                return
            self._rejected.popleft()

    def _check(self) -> None:
        now = time.monotonic()
        if self.disconnected or now - self._checked < POLL_SECONDS:
            return
        if now - self._checked > _AWAY_SECONDS:
            self._back = now
        self._checked = now
        if not self._in_flight:
            if self._link.lost():
                self._fail_all(self._link.connection_lost())
            return
        try:
            self._link.check()
        except DaemonUnavailable as error:
            self._fail_all(error)
            return
        oldest = {one.request.model: n for n, one in reversed(self._in_flight.items())}
        for number in oldest.values():
            if not self.disconnected:
                self._cancel_if_late(number, now)

    def _fail_all(self, error: SireError) -> None:
        self.disconnected, self._reason = True, error
        self._rejected.clear()
        self._link.abandon(self._in_flight)
        for number in list(self._in_flight):
            self._settle(number, error)

    def _cancel_if_late(self, number: int, now: float) -> None:
        one = self._in_flight[number]
        model = one.request.model
        began = max(one.since, self._progress.get(model, 0.0), self._back)
        if now < began + one.timeout:
            return
        if stopped := self._link.stopped(one.timeout):
            self._fail_all(stopped)
            return
        if now < began + one.timeout + _GRACE_SECONDS:
            return
        self.cancel(number)
        self._progress[model] = now
        late = DeadlineExceeded(
            f"{model} did not answer within {format_duration(one.timeout)}.",
            hint="Increase it with --timeout, or see: sire ps",
        )
        self._outcomes[number] = one.queue_full or late, 0
