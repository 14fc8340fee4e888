"""A client's own connection to a worker: what is asked over it does not pass through the daemon."""

import os
import socket
import time
from collections.abc import Sequence

import msgspec

from sire.errors import DeadlineExceeded, SireError, error_from
from sire.paths import Paths
from sire.protocol.content import Buffer, size_of
from sire.protocol.direct import FromDaemonOrWorker, OpenDirect, Opened
from sire.protocol.replies import Prediction
from sire.protocol.requests import PROTOCOL_VERSION, Predict
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.transport.channel import Channel
from sire.transport.staging import Staging

# The daemon answers at once, or it is not well and must not hold up the request.
_OPENING_SECONDS = 1.0


class ConnectionLost(Exception):
    """The request has no answer, and the connection is of no use any more.

    Attributes:
        connection: its number, if the request had been sent: the worker may have died of it.
    """

    def __init__(self, connection: int | None = None) -> None:
        super().__init__()
        self.connection = connection


class DirectConnection:
    """One request after another to one worker.

    Attributes:
        number: what the daemon calls it.
    """

    def __init__(
        self, channel: Channel[FromDaemonOrWorker], staging: Staging, opened: Opened
    ) -> None:
        self.number = opened.connection
        self._channel = channel
        self._staging = staging
        self._terms = opened
        self._waits: float | None = _OPENING_SECONDS

    def close(self) -> None:
        """Close it; the worker learns that nobody waits any more."""
        self._channel.close()

    def takes(self, payload: Sequence[Buffer]) -> bool:
        """Whether a request of this size is allowed; the daemon says so in better words."""
        return size_of(payload) <= self._terms.largest_bytes

    def ask(
        self, request: Predict, payload: Sequence[Buffer]
    ) -> tuple[Prediction, list[memoryview]]:
        """Send one request and wait for its answer.

        Raises:
            Ended: there is no answer; ask the daemon.
            DeadlineExceeded: there was none within the request's timeout.
            SireError: what the worker answered.
        """
        timeout = self._terms.timeout if request.timeout is None else request.timeout
        self._wait_at_most(timeout)
        sent = time.monotonic()
        run = RunModel(0, request.content_type, request.tensors, request.accept, sent)
        self._send(run, payload)
        answer, frames = self._receive(request.model, timeout)
        if isinstance(answer, WorkerError):
            self._staging.renew()
            raise self._failed(answer)
        if answer.input_held:
            self._staging.renew()
        latency = time.monotonic() - sent
        prediction = Prediction(
            content_type=answer.content_type,
            tensors=answer.tensors,
            compute_seconds=answer.compute_seconds,
            queue_seconds=max(0.0, latency - answer.compute_seconds),
        )
        return prediction, frames

    def _send(self, run: RunModel, payload: Sequence[Buffer]) -> None:
        try:
            self._channel.send(run, payload)
        except OSError:
            raise ConnectionLost from None

    def _receive(
        self, model: str, timeout: float
    ) -> tuple[RunResult | WorkerError, list[memoryview]]:
        try:
            answer, frames = self._channel.receive()
        except BlockingIOError:
            raise DeadlineExceeded(
                f"{model} did not answer within {timeout:g} s.",
                hint="Give it more time: --timeout",
                model=model,
            ) from None
        except (EOFError, OSError, SireError):
            raise ConnectionLost(self.number) from None
        if not isinstance(answer, RunResult | WorkerError):
            raise ConnectionLost(self.number)
        return answer, [memoryview(frame) for frame in frames]

    def _failed(self, answer: WorkerError) -> Exception:
        # Room is made by the daemon, and the request tried again.
        if answer.out_of_memory:
            return ConnectionLost()
        return error_from(answer.code, answer.message, answer.hint, answer.details)

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._waits:
            self._waits = seconds
            self._channel.set_timeout(seconds)


def open_direct(paths: Paths, model: str) -> DirectConnection | None:
    """Ask the daemon for a connection to a worker of a model; None if it gives none now."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    staging = Staging()
    channel: Channel[FromDaemonOrWorker] = Channel(line, FromDaemonOrWorker, staging=staging)
    try:
        line.connect(os.fspath(paths.direct_socket))
        channel.set_timeout(_OPENING_SECONDS)
        channel.send(OpenDirect(model, PROTOCOL_VERSION))
        answer, _ = channel.receive()
    except (OSError, EOFError, SireError, msgspec.MsgspecError):
        channel.close()
        return None
    if isinstance(answer, Opened):
        return DirectConnection(channel, staging, answer)
    channel.close()
    return None
