"""A client's direct connection to a worker, which bypasses the daemon."""

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
from sire.client.heartbeat import daemon_stopped
from sire.errors import SireError
from sire.paths import Paths
from sire.protocol.content import Buffer, size_of
from sire.protocol.direct import FromDaemonOrWorker, OpenDirect, Opened
from sire.protocol.message import PROTOCOL_VERSION
from sire.protocol.replies import Prediction
from sire.protocol.requests import Predict
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.transport.channel import Channel
from sire.transport.staging import Staging


class DirectConnection:
    """Sends one request after another to one worker.

    Attributes:
        number: the daemon's number of the connection.
    """

    def __init__(
        self, channel: Channel[FromDaemonOrWorker], staging: Staging, opened: Opened
    ) -> None:
        self.number = opened.connection
        self._channel = channel
        self._staging = staging
        self._terms = opened
        self._timeout: float | None = OPENING_SECONDS

    def close(self) -> None:
        """Close the connection; the worker detects it."""
        self._channel.close()

    def accepts(self, request: Predict, payload: Sequence[Buffer]) -> bool:
        """Whether a request of this size is allowed; the daemon reports one that is not."""
        return len(request.tensors) <= MOST_TENSORS and (
            size_of(payload) <= self._terms.largest_bytes
        )

    def ask(
        self, request: Predict, payload: Sequence[Buffer]
    ) -> tuple[Prediction, list[memoryview]]:
        """Send one request and wait for its answer.

        Raises:
            ConnectionLost: the connection ended without an answer; the daemon knows why.
            DeadlineExceeded: no answer within the request's timeout.
            SireError: the error that the worker replied with.
        """
        timeout = self._terms.timeout if request.timeout is None else request.timeout
        self._set_timeout(timeout)
        sent = time.monotonic()
        self._send(run_of(request, sent), payload)
        answer, frames = self._receive(request.model, timeout)
        if isinstance(answer, WorkerError):
            self._staging.renew()
            raise failure_of(answer)
        if answer.input_held:
            self._staging.renew()
        return prediction_of(answer, time.monotonic() - sent, self._terms.model), frames

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
            raise too_late(model, timeout) from None
        except (EOFError, OSError, SireError):
            raise ConnectionLost(self.number) from None
        if not isinstance(answer, RunResult | WorkerError):
            raise ConnectionLost(self.number)
        return answer, [memoryview(frame) for frame in frames]

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._channel.set_timeout(seconds)


def open_direct(paths: Paths, model: str) -> DirectConnection | None:
    """Request a direct connection to a worker of a model; None if the daemon grants none now."""
    if daemon_stopped(paths):  # its answer would be awaited in vain
        return None
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    staging = Staging()
    channel: Channel[FromDaemonOrWorker] = Channel(end, FromDaemonOrWorker, staging=staging)
    try:
        # Of connecting, too: a stopped daemon accepts nothing.
        channel.set_timeout(OPENING_SECONDS)
        end.connect(os.fspath(paths.direct_socket))
        channel.send(OpenDirect(model, PROTOCOL_VERSION))
        answer, _ = channel.receive()
    except (OSError, EOFError, SireError, msgspec.MsgspecError):
        channel.close()
        return None
    if isinstance(answer, Opened):
        return DirectConnection(channel, staging, answer)
    channel.close()
    return None
