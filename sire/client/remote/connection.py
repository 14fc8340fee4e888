"""A client of the daemon of another machine: its requests go through a gateway, over HTTP."""

import http.client
import itertools
import select
import socket
import ssl
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress

import msgspec

from sire.client.daemon_client import DaemonClient, own_timeout
from sire.client.link import Answer
from sire.client.remote.address import GatewayAddress
from sire.client.remote.errors import connection_failed, refusal
from sire.errors import Cancelled, DaemonUnavailable, DeadlineExceeded
from sire.protocol.body import CONTENT_TYPE, HEARTBEAT_SECONDS, PATH, prefix, read_frames
from sire.protocol.content import Buffer
from sire.protocol.framing import decode_reply, encode_request, raise_failure
from sire.protocol.replies import Failure, Part, Reply
from sire.protocol.requests import Request
from sire.units import format_duration

_CONNECT_SECONDS = 10.0
# A gateway that is at work sends heartbeats; one that sends nothing for this long is not.
_SILENCE_SECONDS = 4 * HEARTBEAT_SECONDS
# The gateway reports missed deadlines itself; this applies when it cannot.
_GRACE_SECONDS = 2.0
# Gateways close idle connections after 75 s.
_IDLE_SECONDS = 30.0
_LONGEST_REFUSAL = 1 << 20
# Smaller requests are copied into one piece.
_COPIED_BYTES = 64 << 10


class RemoteConnection(DaemonClient):
    """A connection to a gateway, opened by the first request.

    Args:
        address: of the gateway.
    """

    def __init__(self, address: GatewayAddress) -> None:
        self.address = address
        self._ids = itertools.count(1)
        self._http: http.client.HTTPConnection | None = None
        self._used = 0.0
        self._interrupted = False

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def interrupt(self) -> None:
        """Cancel the request in progress, and have every other fail; for other threads."""
        self._interrupted = True
        if (connection := self._http) is not None and (line := connection.sock) is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _replies(
        self, request: Request, payload: Sequence[Buffer], timeout: float | None
    ) -> Generator[Answer, None, None]:
        """Send a request and yield its replies; all but the last are parts."""
        self._died = False
        complete = False
        request = msgspec.structs.replace(request, id=next(self._ids))
        try:
            frames = [encode_request(request), *payload]
            response = self._response(frames, _Deadline(request, timeout))
            while True:
                reply, received = self._receive(response, _Deadline(request, timeout))
                if not isinstance(reply, Part):
                    break
                yield reply, received
            response.read()
            complete, self._used = not response.will_close, time.monotonic()
            if isinstance(reply, Failure):
                raise_failure(reply)
            yield reply, received
        finally:
            # The gateway cancels what nothing waits for.
            if not complete:
                self.close()

    def _response(
        self, frames: Sequence[Buffer], deadline: "_Deadline"
    ) -> http.client.HTTPResponse:
        """Send a request; returns the response once its first line has arrived."""
        connection = self._connected(deadline)
        headers = {
            "content-type": CONTENT_TYPE,
            "content-length": str(sum(map(len, frames)) + len(first := prefix(frames))),
        }
        if self.address.key:
            headers["authorization"] = f"Bearer {self.address.key}"
        try:
            self._patient(deadline)
            # One that refuses the body answers before it has all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                path = f"{self.address.path}{PATH}"
                connection.request("POST", path, _pieces([first, *frames]), headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise refusal(response.status, response.read(_LONGEST_REFUSAL), self.address.url)
        except (OSError, http.client.HTTPException) as problem:
            raise self._failed(problem, deadline) from None
        return response

    def _receive(self, response: http.client.HTTPResponse, deadline: "_Deadline") -> Answer:
        """The next message that is not a heartbeat."""
        read = _reader(response)
        try:
            while True:
                self._patient(deadline)
                if frames := read_frames(read):
                    return self._decoded(frames)
        except (OSError, http.client.HTTPException) as problem:
            raise self._failed(problem, deadline) from None

    @staticmethod
    def _decoded(frames: list[memoryview]) -> tuple[Reply, list[memoryview]]:
        return decode_reply(frames[0]), frames[1:]

    def _connected(self, deadline: "_Deadline") -> http.client.HTTPConnection:
        if self._http is not None and self._stale(self._http):
            self.close()
        if self._http is None:
            self._http = self._connect(deadline)
        if self._interrupted:
            raise Cancelled("The request was cancelled.")
        return self._http

    def _stale(self, connection: http.client.HTTPConnection) -> bool:
        """Whether the gateway may have closed an idle connection."""
        if time.monotonic() - self._used > _IDLE_SECONDS or connection.sock is None:
            return True
        return bool(select.select([connection.sock], [], [], 0)[0])

    def _connect(self, deadline: "_Deadline") -> http.client.HTTPConnection:
        address = self.address
        seconds = min(_CONNECT_SECONDS, deadline.left)
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=seconds)
        try:
            connection.connect()
        except OSError as problem:
            raise connection_failed(address.url, problem) from None
        return connection

    def _patient(self, deadline: "_Deadline") -> None:
        """Set how long the next bytes may take."""
        if self._http is not None and (line := self._http.sock) is not None:
            line.settimeout(min(_SILENCE_SECONDS, max(deadline.left, 0.001)))

    def _failed(self, problem: Exception, deadline: "_Deadline") -> Exception:
        """What to raise when the connection has failed."""
        if isinstance(problem, TimeoutError):
            if deadline.left <= 0:
                return deadline.exceeded()
            return DaemonUnavailable(
                f"The gateway at {self.address.url} has sent nothing for "
                f"{format_duration(_SILENCE_SECONDS)}.",
                hint="Is its process stopped, or its machine away?",
            )
        self._died = True
        return DaemonUnavailable(
            f"The gateway at {self.address.url} closed the connection before it answered.",
            hint="It may have been restarted. Try again.",
        )


class _Deadline:
    """When a reply has to be there: by the caller's timeout, and soon after the request's own."""

    def __init__(self, request: Request, timeout: float | None) -> None:
        own = own_timeout(request)
        limits = [] if timeout is None else [timeout]
        if own is not None:
            limits.append(own + _GRACE_SECONDS)
        self._seconds = min(limits, default=float("inf"))
        self._at = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._at - time.monotonic()

    def exceeded(self) -> DeadlineExceeded:
        """The error of a reply that is late."""
        return DeadlineExceeded(f"No reply within {format_duration(self._seconds)}.")


def _pieces(frames: Sequence[Buffer]) -> Sequence[Buffer]:
    """What to write at once: everything, unless copying it would take longer."""
    return [b"".join(frames)] if sum(map(len, frames)) < _COPIED_BYTES else frames


def _reader(response: http.client.HTTPResponse) -> Callable[[int], bytearray]:
    """Reads exactly as many bytes of a response as are asked for, into memory of their own."""

    def read(size: int) -> bytearray:
        buffer = bytearray(size)
        view, at = memoryview(buffer), 0
        while at < size:
            if not (count := response.readinto(view[at:])):
                raise http.client.IncompleteRead(bytes(buffer[:at]), size - at)
            at += count
        return buffer

    return read
