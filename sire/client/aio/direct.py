"""A direct connection to a worker, for an event loop."""

import asyncio
import math
import os
import socket
import time
from collections.abc import Sequence

import msgspec

from sire.client.direct.exchange import (
    MOST_TENSORS,
    OPENING_SECONDS,
    ConnectionLost,
    failure_of,
    prediction_of,
    run_of,
    too_late,
)
from sire.client.link import Answer
from sire.errors import SireError
from sire.paths import Paths
from sire.protocol.content import Buffer, size_of
from sire.protocol.direct import FromDaemonOrWorker, OpenDirect, Opened
from sire.protocol.message import PROTOCOL_VERSION
from sire.protocol.requests import Predict
from sire.protocol.runs import RunResult, WorkerError
from sire.transport.busy_polling import BusyPolling
from sire.transport.channel import Channel
from sire.transport.staging import Staging

# Writing more to shared memory would hold up the event loop for milliseconds.
_MOST_BYTES = 16 << 20
# While nothing else is in progress, waiting for a fast model without the event loop's selector.
_POLL_SECONDS = 300e-6

_Message = tuple[FromDaemonOrWorker, tuple[Buffer, ...]]


class AsyncDirectConnection:
    """Sends one request after another to one worker.

    Attributes:
        usable: whether it is open, and no answer is awaited any more.
    """

    def __init__(self, line: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.usable = True
        self._loop = loop
        self._staging = Staging()
        self._channel: Channel[FromDaemonOrWorker] = Channel(
            line, FromDaemonOrWorker, staging=self._staging
        )
        self._terms = Opened(0, 0.0, 0)
        self._polling = BusyPolling(_POLL_SECONDS)
        self._awaited: asyncio.Future[_Message] | None = None
        loop.add_reader(self._channel.fileno(), self._receive)

    def close(self) -> None:
        """Close the connection; the worker detects it."""
        if self.usable:
            self.usable = False
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()

    async def open(self, model: str) -> bool:
        """Request a worker of a model; whether the daemon grants one now."""
        try:
            request = OpenDirect(model, PROTOCOL_VERSION)
            answer, _ = await self._exchange(request, (), OPENING_SECONDS)
        except (ConnectionLost, TimeoutError, SireError):
            answer = None
        if isinstance(answer, Opened):
            self._terms = answer
            return True
        self.close()
        return False

    def accepts(self, request: Predict, payload: Sequence[Buffer]) -> bool:
        """Whether a request of this size is allowed here."""
        most = min(self._terms.largest_bytes, _MOST_BYTES)
        return len(request.tensors) <= MOST_TENSORS and size_of(payload) <= most

    async def ask(
        self, request: Predict, payload: Sequence[Buffer], *, alone: bool = False
    ) -> Answer:
        """Send one request and wait for its answer; if this is cancelled, the connection closes.

        Args:
            request: the prediction.
            payload: its frames.
            alone: whether nothing else waits for the event loop, so that it may be held up for
                0.3 ms, if the answers before took less than that.

        Raises:
            ConnectionLost: the connection ended without an answer; the daemon knows why.
            DeadlineExceeded: no answer within the request's timeout.
            SireError: the error that the worker replied with.
        """
        timeout = self._terms.timeout if request.timeout is None else request.timeout
        sent = time.monotonic()
        try:
            answer, frames = await self._exchange(
                run_of(request, sent), payload, timeout, poll=alone
            )
        except TimeoutError:
            raise too_late(request.model, timeout) from None
        if isinstance(answer, WorkerError):
            self._staging.renew()
            raise failure_of(answer)
        if not isinstance(answer, RunResult):
            raise self._lost(self._terms.connection)
        if answer.input_held:
            self._staging.renew()
        return prediction_of(answer, time.monotonic() - sent, self._terms.model), [
            memoryview(frame) for frame in frames
        ]

    async def _exchange(
        self,
        message: msgspec.Struct,
        payload: Sequence[Buffer],
        seconds: float,
        *,
        poll: bool = False,
    ) -> _Message:
        """Send a message and wait for the next one.

        Raises:
            ConnectionLost: it could not be sent, or the connection ended.
            TimeoutError: none arrived in time; the connection is closed, since it still may.
        """
        try:
            sent = self._channel.try_send(message, payload)
        except OSError:
            sent = False
        if not sent:
            raise self._lost()
        if poll and (found := self._poll(seconds)) is not None:
            return found
        self._awaited = self._loop.create_future()
        late: asyncio.TimerHandle | None = None
        if math.isfinite(seconds):
            late = self._loop.call_later(seconds, self._late)
        try:
            return await self._awaited
        except BaseException:
            self.close()
            raise
        finally:
            if late is not None:
                late.cancel()
            self._awaited = None
            self._polling.end()

    def _poll(self, seconds: float) -> _Message | None:
        """The next message, if it arrives while this polls.

        Raises:
            ConnectionLost: the connection ended.
        """
        try:
            found = self._polling.poll(self._channel.try_receive, seconds)
        except (EOFError, OSError, SireError):
            raise self._lost(self._terms.connection or None) from None
        if found is not None:
            self._polling.end()
        return found

    def _receive(self) -> None:
        awaited = self._awaited
        try:
            message = self._channel.try_receive()
        except (EOFError, OSError, SireError):
            message = None
            self.close()
        else:
            if message is None:
                return
        if awaited is None or awaited.done():
            self.close()  # the worker has ended it, or speaks out of turn
        elif message is None:
            awaited.set_exception(ConnectionLost(self._terms.connection or None))
        else:
            awaited.set_result(message)

    def _late(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(TimeoutError())

    def _lost(self, connection: int | None = None) -> ConnectionLost:
        self.close()
        return ConnectionLost(connection)


async def open_direct(paths: Paths, model: str) -> AsyncDirectConnection | None:
    """Request a direct connection to a worker of a model; None if the daemon grants none now."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        end.connect(os.fspath(paths.direct_socket))
    except OSError:  # none listens, or too many connections wait to be accepted
        end.close()
        return None
    connection = AsyncDirectConnection(end, asyncio.get_running_loop())
    return connection if await connection.open(model) else None
