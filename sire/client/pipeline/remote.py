"""Many predictions in flight to a remote daemon, on several connections at once.

A connection over HTTP carries one request at a time, so each has a thread. A request that finds the
queue full is sent again after a pause, until its timeout; meanwhile its connection sends no others.
"""

import os
import select
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from sire.client.pipeline.base import (
    MAX_BYTES_IN_FLIGHT,
    Outcome,
    PipelinedRequest,
    RequestPipeline,
)
from sire.client.remote.connection import RemoteConnection
from sire.errors import Cancelled, QueueFull, SireError
from sire.protocol.content import size_of

_CONNECTIONS = 8
# Those that wait for a connection to become free.
_MOST_IN_FLIGHT = 2 * _CONNECTIONS
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _InFlight:
    prediction: PipelinedRequest
    cancelled: threading.Event = field(default_factory=threading.Event)
    connection: RemoteConnection | None = None


class RemotePipeline(RequestPipeline):
    """Sends requests on connections of its own.

    Args:
        client: determines the gateway.
        waker: a descriptor that interrupts ``pump`` when it becomes readable.
    """

    def __init__(self, client: RemoteConnection, waker: int | None = None) -> None:
        super().__init__()
        self._address = client.address
        self._threads = ThreadPoolExecutor(_CONNECTIONS, "sire-remote")
        self._idle: deque[RemoteConnection] = deque()
        self._in_flight: dict[int, _InFlight] = {}
        self._arrived: deque[tuple[int, Outcome]] = deque()
        self._arrival = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = select.poll()
        for descriptor in (self._arrival, waker):
            if descriptor is not None:
                self._poller.register(descriptor, select.POLLIN)

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return not self._in_flight

    def has_room(self) -> bool:
        """Whether another request may be sent now."""
        held = len(self._in_flight) + len(self._outcomes)
        return held < _MOST_IN_FLIGHT and self._bytes < MAX_BYTES_IN_FLIGHT

    def send(self, prediction: PipelinedRequest) -> int:
        """Send a request; returns its number, which ``pop`` takes.

        Like one that is sent alone, it has its timeout from when those before it are answered.
        """
        request = prediction.request
        if request.timeout is not None:
            before = sum(
                one.prediction.request.model == request.model for one in self._in_flight.values()
            )
            request = msgspec.structs.replace(request, timeout=request.timeout * (1 + before))
        number = next(self._numbers)
        one = _InFlight(PipelinedRequest(request, prediction.frames))
        self._in_flight[number] = one
        self._bytes += prediction.size
        self._threads.submit(self._run, number, one)
        return number

    def pump(self, seconds: float = 0.0) -> None:
        """Receive available answers; wait up to ``seconds`` for one if there are none."""
        if not self._arrived and seconds > 0:
            self._poller.poll(seconds * 1e3)
        with suppress(BlockingIOError):
            os.eventfd_read(self._arrival)
        while self._arrived:
            number, outcome = self._arrived.popleft()
            if (one := self._in_flight.pop(number, None)) is None:
                continue  # it was cancelled
            size = 0 if isinstance(outcome, SireError) else size_of(outcome[1])
            self._bytes += size - one.prediction.size
            self._outcomes[number] = outcome, size

    def cancel(self, number: int) -> None:
        """Cancel a request, which then has no outcome; does nothing if it was answered."""
        if (one := self._in_flight.pop(number, None)) is None:
            return
        self._bytes -= one.prediction.size
        one.cancelled.set()
        if (connection := one.connection) is not None:
            connection.interrupt()

    def close(self) -> None:
        """Cancel requests in flight, and end the threads."""
        for number in list(self._in_flight):
            self.cancel(number)
        self._threads.shutdown()
        while self._idle:
            self._idle.pop().close()
        os.close(self._arrival)

    # The following run in the threads.

    def _run(self, number: int, one: _InFlight) -> None:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = RemoteConnection(self._address)
        one.connection = connection
        try:
            outcome: Outcome = self._answer(connection, one)
        except SireError as error:
            outcome = error
        one.connection = None
        if one.cancelled.is_set():
            connection.close()
        else:
            self._idle.append(connection)
        self._arrived.append((number, outcome))
        os.eventfd_write(self._arrival, 1)

    @staticmethod
    def _answer(connection: RemoteConnection, one: _InFlight) -> Outcome:
        """The answer to a request, which is sent again while the queue is full."""
        request, pause = one.prediction.request, _FIRST_PAUSE_SECONDS
        began = time.monotonic()
        while not one.cancelled.is_set():
            try:
                return connection.predict(request, one.prediction.frames)
            except QueueFull:
                waited = time.monotonic() - began + pause
                if request.timeout is not None and waited > request.timeout:
                    raise
            one.cancelled.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return Cancelled("The request was cancelled.")
