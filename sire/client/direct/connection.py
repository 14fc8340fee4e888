"""A client's direct connection to a worker, which bypasses the daemon."""

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

# A healthy daemon answers at once; one that does not must not delay the request.
_OPENING_SECONDS = 1.0
# Requests with more may have a header over the daemon's limit: there they always get its error.
_MOST_TENSORS = 4096


class ConnectionLost(Exception):
    """The request has no answer, and the connection cannot be used any more.

    Attributes:
        connection: its number if the request was sent, and so may have crashed the worker.
    """

    def __init__(self, connection: int | None = None) -> None:
        super().__init__()
        self.connection = connection


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
        self._timeout: float | None = _OPENING_SECONDS

    def close(self) -> None:
        """Close the connection; the worker detects it."""
        self._channel.close()

    def accepts(self, request: Predict, payload: Sequence[Buffer]) -> bool:
        """Whether a request of this size is allowed; the daemon reports one that is not."""
        return len(request.tensors) <= _MOST_TENSORS and (
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
                hint="Increase it with --timeout.",
                model=model,
            ) from None
        except (EOFError, OSError, SireError):
            raise ConnectionLost(self.number) from None
        if not isinstance(answer, RunResult | WorkerError):
            raise ConnectionLost(self.number)
        return answer, [memoryview(frame) for frame in frames]

    def _failed(self, answer: WorkerError) -> Exception:
        # The daemon makes room and tries the request again.
        if answer.out_of_memory:
            return ConnectionLost()
        return error_from(answer.code, answer.message, answer.hint, answer.details)

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._channel.set_timeout(seconds)


def open_direct(paths: Paths, model: str) -> DirectConnection | None:
    """Request a direct connection to a worker of a model; None if the daemon grants none now."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    staging = Staging()
    channel: Channel[FromDaemonOrWorker] = Channel(end, FromDaemonOrWorker, staging=staging)
    try:
        # Of connecting, too: a stopped daemon accepts nothing.
        channel.set_timeout(_OPENING_SECONDS)
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
