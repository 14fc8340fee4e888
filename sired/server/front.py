"""The front socket: a ZeroMQ ROUTER that plain REQ clients connect to.

The event loop drains it directly instead of through ``zmq.asyncio``, which costs a quarter of an
echo's throughput. ZeroMQ's descriptor is edge-triggered: after a wake-up everything must be read
until nothing is left, and after every send the socket must be checked again.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from sire.errors import DaemonUnavailable, InvalidInput, ProtocolError, SireError
from sire.protocol.content import Buffer
from sire.protocol.framing import (
    LARGEST_HEADER,
    decode_request,
    encode,
    failure,
    preamble,
    too_large,
)
from sire.protocol.replies import Done
from sire.protocol.requests import Message, Request
from sired.server.failures import described, log_failure

log = logging.getLogger(__name__)

# More than a header of the largest size can describe. Each frame takes memory of its own.
MAX_FRAMES = 1 << 16
# Requests read before the loop's other events get their turn.
READS_PER_TURN = 16
# Bytes. Smaller frames are copied, because tracking a borrowed frame takes longer.
BORROW_FROM = 16 * 1024

# A burst of connections is noticed after this many, not after the next second.
ACCEPTED_PER_CALL = 16
# Connections that may wait to be accepted: those are accepted also after the path was renamed.
_BACKLOG = 32

# Plain numbers: each use of zmq's enumerations costs as much as the call it is for.
_EVENTS, _RCVMORE = int(zmq.EVENTS), int(zmq.RCVMORE)
_POLLIN, _NOBLOCK, _SNDMORE = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.SNDMORE)
# Errors upon which a frame cannot be borrowed, but can still be copied.
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Client(msgspec.Struct, frozen=True):
    """Where a reply goes: the connection, and the id that the client gave its request."""

    connection: bytes
    request_id: str | int


Handler = Callable[[Client, Request, tuple[Buffer, ...]], None]


class Front:
    """Receives requests of one user, hands them to a handler, and sends replies.

    Args:
        path: the path of the socket.
        largest_message: bytes; a client that sends a larger frame loses its connection.
        listening: a descriptor that already listens at ``path``, to be taken over; None to create
            one. The path of a given one is kept when it is closed.
        owner: uid of the user that is served; all others are rejected, whatever the socket's mode
            permits. None for the user of this process.

    Attributes:
        crowded: called after every ``ACCEPTED_PER_CALL`` connections that ZeroMQ has accepted.
    """

    def __init__(
        self,
        path: Path,
        largest_message: int,
        listening: int | None = None,
        owner: int | None = None,
    ) -> None:
        self._path, self._aside = path, path.with_suffix(".away")
        self._largest_message = largest_message
        self.crowded: Callable[[], None] = lambda: None
        self._listening = listening
        self._owner = os.getuid() if owner is None else owner
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 1000)
        # Applies to each frame; the connection of a client that sends a larger one is closed.
        self._socket.set(zmq.MAXMSGSIZE, max(largest_message, LARGEST_HEADER))
        # A client that does not read its replies loses them: it must not delay the others.
        self._socket.set(zmq.SNDHWM, 1000)
        self._socket.set(zmq.BACKLOG, _BACKLOG)
        self._descriptor = int(self._socket.get(zmq.FD))
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(zmq.EVENT_ACCEPTED)
        self._accepted = 0
        # What tracks borrowed frames is created now, while there are descriptors for it.
        zmq.Frame(bytes(BORROW_FROM), copy=False)
        self._accepting = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Handler
        self._drain_scheduled = False
        self._header: zmq.Frame | None = None

    def open(self, loop: asyncio.AbstractEventLoop, handler: Handler) -> None:
        """Bind the socket, and pass each request to ``handler`` from now on.

        Raises:
            DaemonUnavailable: the socket cannot be bound.
        """
        self._loop = loop
        self._handler = handler
        if self._listening is not None:
            self._socket.set(zmq.USE_FD, self._listening)
        try:
            self._socket.bind(f"ipc://{self._path}")
        except zmq.ZMQError as problem:
            raise DaemonUnavailable(
                f"Cannot listen on {self._path}: {problem.strerror}.",
                hint="Check that nothing else is at that path and that the disk is not full.",
            ) from None
        loop.add_reader(self._descriptor, self._drain)
        loop.add_reader(int(self._monitor.get(zmq.FD)), self._count_accepted)
        self._count_accepted()
        self._schedule_drain()

    def accept(self, wanted: bool) -> None:
        """Accept new clients, or make them wait; established connections are kept.

        ZeroMQ accepts every connection, and unbinding would end all of them. So the socket's path
        is renamed: clients retry, and succeed once the path is restored.

        Raises:
            OSError: the socket's path cannot be renamed.
        """
        if wanted != self._accepting:
            old, new = (self._path, self._aside) if self._accepting else (self._aside, self._path)
            old.rename(new)
            self._accepting = wanted

    def close(self) -> None:
        """Send the replies that are queued, and close the socket."""
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_reader(int(self._monitor.get(zmq.FD)))
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self._context.term()
        if self._listening is not None:
            self.accept(wanted=True)
            return
        for place in (self._path, self._aside):
            place.unlink(missing_ok=True)

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Send a reply; it is dropped if the client has disconnected."""
        frames = [b"", encode(message), *payload]
        more = _NOBLOCK | _SNDMORE
        try:
            self._socket.send(client.connection, more)
            last = frames.pop()
            for frame in frames:
                self._send(frame, more)
            self._send(last, _NOBLOCK)
        except zmq.Again:
            log.warning("a client does not read its replies; a reply was dropped")
        self._schedule_drain()

    def _send(self, frame: Buffer, flags: int) -> None:
        """Send one frame; every message that was started must be completed."""
        try:
            self._socket.send(frame, flags, copy=len(frame) < BORROW_FROM)
        except zmq.ZMQError as problem:
            if problem.errno not in _OUT_OF_RESOURCES:
                raise
            self._socket.send(frame, flags)

    def peer_pid(self) -> int | None:
        """The pid of the process that sent the message being handled; None if it is unknown.

        Valid only until the handler returns.
        """
        _, pid = _credentials(self._header)
        return pid or None

    def done(self, client: Client) -> None:
        """Reply that a request without a result is done."""
        self.reply(client, Done(id=client.request_id))

    def fail(self, client: Client, error: SireError) -> None:
        """Reply with an error."""
        self.reply(client, failure(error, client.request_id))

    def started(self, client: Client) -> None:
        """Do nothing: clients are not notified that a worker has started a prediction."""

    def _count_accepted(self) -> None:
        """Count the connections that ZeroMQ reports; its descriptor is edge-triggered."""
        while int(self._monitor.getsockopt(_EVENTS)) & _POLLIN:
            self._monitor.recv_multipart(_NOBLOCK)
            self._accepted += 1
            if self._accepted >= ACCEPTED_PER_CALL:
                self._accepted = 0
                self.crowded()

    def _schedule_drain(self) -> None:
        # Sending may have consumed the edge that announced a message. One drain at a time: if each
        # reply scheduled one, a single client's flood would keep the loop from everything else.
        if self._loop is not None and not self._drain_scheduled and self._readable():
            self._drain_scheduled = True
            self._loop.call_soon(self._drain)

    def _readable(self) -> bool:
        return bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)

    def _drain(self) -> None:
        self._drain_scheduled = True  # until this one ends, no other is needed
        try:
            for _ in range(READS_PER_TURN):
                if not self._readable():
                    break
                self._take(self._receive())
        finally:
            self._drain_scheduled = False
        self._schedule_drain()

    def _receive(self) -> list[Buffer]:
        """Receive one message's frames; payloads are not copied.

        Of a message with more than ``MAX_FRAMES`` frames, one more than that is returned.
        """
        frames: list[Buffer] = [self._socket.recv(_NOBLOCK), self._socket.recv(_NOBLOCK)]
        more = bool(self._socket.getsockopt(_RCVMORE))
        while more:
            frame = self._socket.recv(_NOBLOCK, copy=False)
            if len(frames) == 2:
                self._header = frame
            if len(frames) <= MAX_FRAMES:
                frames.append(frame.buffer)
            more = frame.more
        return frames

    def _take(self, frames: list[Buffer]) -> None:
        """Check one message's envelope and header, and pass the request to the handler."""
        connection = bytes(frames[0])
        if len(frames) < 3 or frames[1]:
            error = ProtocolError(
                f"A message of {len(frames) - 1} frames has no header.",
                hint="Send the header, then the payload, from a REQ socket.",
            )
            self.fail(Client(connection, ""), error)
            return
        if (uid := _credentials(self._header)[0]) != self._owner:
            log.warning("a request from uid %s was rejected", uid)
            rejection = DaemonUnavailable(f"This daemon serves uid {self._owner} only.")
            self.fail(Client(connection, ""), rejection)
            return
        try:
            request = decode_request(memoryview(frames[2]))
        except ProtocolError as error:
            header = memoryview(frames[2])[:LARGEST_HEADER]
            self.fail(Client(connection, preamble(header).id), error)
            return
        client = Client(connection, request.id)
        try:
            self._check_size(frames[3:], len(frames))
            self._handler(client, request, tuple(frames[3:]))
        except SireError as error:
            log_failure(described(request), error, 0.0)
            self.fail(client, error)
        except Exception as problem:
            log.exception("a %s request failed unexpectedly", type(request).__name__)
            self.fail(client, SireError(f"Unexpected {type(problem).__name__}: {problem}"))

    def _check_size(self, payload: list[Buffer], count: int) -> None:
        if count > MAX_FRAMES:
            raise InvalidInput(
                f"The message has more than {MAX_FRAMES} frames, which is the limit.",
                hint="Send less at a time.",
            )
        if (size := sum(map(len, payload))) > self._largest_message:
            raise too_large(size, self._largest_message)


def _credentials(frame: zmq.Frame | None) -> tuple[int | None, int | None]:
    """Uid and pid of the process that sent a frame, as reported by the kernel."""
    try:
        address = str(frame.get("Peer-Address")) if frame is not None else ""
    except zmq.ZMQError:
        return None, None
    fields = address.rsplit(":", 3)[1:]  # …:uid:gid:pid
    if len(fields) != 3 or not all(field.isdecimal() for field in fields):
        return None, None
    return int(fields[0]), int(fields[2])
