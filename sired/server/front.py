"""The front socket: a ZeroMQ ROUTER, as far as clients can tell.

libzmq, in a thread of its own, accepts every connection there is, and aborts the process if it
finds no descriptor for one. Here a connection is accepted when the event loop gets to it and there
are descriptors left, one client's flood is read in turn with what others send, and large payloads
are received in the place where they stay.
"""

import asyncio
import itertools
import logging
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from sire.errors import DaemonUnavailable, InvalidInput, ProtocolError, SireError, error_text
from sire.protocol.content import Buffer
from sire.protocol.framing import (
    LARGEST_HEADER,
    decode_request,
    encode,
    failure,
    preamble,
    too_large,
)
from sire.protocol.jobs import Submit
from sire.protocol.message import Message, PayloadReference
from sire.protocol.replies import Done
from sire.protocol.requests import Predict, Request
from sired.server.connection import SCRATCH_BYTES, ClientConnection
from sired.server.failures import described, log_failure
from sired.server.unfinished import UnfinishedMessages
from sired.server.unread import UnreadReplies
from sired.server.zmtp import Decoder

log = logging.getLogger(__name__)

# More than a header of the largest size can describe. Each frame takes memory of its own.
MAX_FRAMES = 1 << 16
# Descriptors are counted again after this many connections.
ACCEPTED_PER_CALL = 16
# Connections that wait to be accepted.
_BACKLOG = 128
# For replies that are queued when the daemon ends.
_LINGER_SECONDS = 1.0


class Client(msgspec.Struct, frozen=True):
    """Where a reply goes: the connection, and the id that the client gave its request."""

    connection: bytes
    request_id: str | int


Handler = Callable[[Client, Request, tuple[Buffer, ...]], None]


class Front:
    """Receives requests of one user, hands them to a handler, and sends replies.

    Args:
        path: the path of the socket.
        largest_message: bytes; a client that sends a larger message loses its connection.
        listening: a descriptor that already listens at ``path``, to be taken over; None to create
            one. The path of a given one is kept when it is closed.
        held: bytes of all messages together that have begun and not ended, and of all replies that
            clients leave unread.
        owner: uid of the user that is served; all others are rejected, whatever the socket's mode
            permits. None for the user of this process.

    Attributes:
        crowded: called after every ``ACCEPTED_PER_CALL`` connections.
        gone: called with a connection that has ended.
        claim: returns the payload that a request refers to instead of sending it.
    """

    def __init__(
        self,
        path: Path,
        largest_message: int,
        listening: int | None = None,
        owner: int | None = None,
        held: int = 256 << 20,
    ) -> None:
        self._path = path
        self._largest_message = largest_message
        self.crowded: Callable[[], None] = lambda: None
        self.gone: Callable[[bytes], None] = lambda _: None
        self.claim: Callable[[PayloadReference], tuple[Buffer, ...]] = lambda _: ()
        self._given = listening is not None
        self._listener = socket.socket(socket.AF_UNIX, fileno=listening)
        self._owner = os.getuid() if owner is None else owner
        self._connections: dict[bytes, ClientConnection] = {}
        self._numbers = itertools.count(1)
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._unfinished, self._unread = UnfinishedMessages(held), UnreadReplies(held)
        self._accepting = False
        self._accepted = 0
        self._loop: asyncio.AbstractEventLoop
        self._handler: Handler

    def open(self, loop: asyncio.AbstractEventLoop, handler: Handler) -> None:
        """Bind the socket, and pass each request to ``handler`` from now on.

        Raises:
            DaemonUnavailable: the socket cannot be bound.
        """
        self._loop = loop
        self._handler = handler
        try:
            if not self._given:
                self._path.unlink(missing_ok=True)  # stale: this process holds the lock
                self._listener.bind(str(self._path))
                self._listener.listen(_BACKLOG)
        except OSError as problem:
            raise DaemonUnavailable(
                f"Cannot listen on {self._path}: {problem.strerror}.",
                hint="Check that nothing else is at that path and that the disk is not full.",
            ) from None
        self._listener.setblocking(False)
        self.accept(wanted=True)

    def accept(self, wanted: bool) -> None:
        """Accept new clients, or make them wait; established connections are kept."""
        self._unread.descriptors_short = not wanted
        if wanted != self._accepting:
            self._accepting = wanted
            if wanted:
                self._loop.add_reader(self._listener, self._accept)
            else:
                self._loop.remove_reader(self._listener)

    def close(self) -> None:
        """Send the replies that are queued, and close the socket."""
        self.accept(wanted=False)
        self._listener.close()
        deadline = time.monotonic() + _LINGER_SECONDS
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.flush(deadline)
            connection.close()
        if not self._given:
            self._path.unlink(missing_ok=True)

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Send a reply; it is dropped if the client has disconnected."""
        connection = self._connections.get(client.connection)
        if connection is not None and not connection.send((b"", encode(message), *payload)):
            log.warning("a client does not read its replies; a reply was dropped")

    def peer_pid(self, connection: bytes) -> int | None:
        """The pid of the process behind a connection; None if it is unknown."""
        peer = self._connections.get(connection)
        return None if peer is None else peer.pid or None

    def done(self, client: Client) -> None:
        """Reply that a request without a result is done."""
        self.reply(client, Done(id=client.request_id))

    def fail(self, client: Client, error: SireError) -> None:
        """Reply with an error."""
        self.reply(client, failure(error, client.request_id))

    def started(self, client: Client) -> None:
        """Do nothing: clients are not notified that a worker has started a prediction."""

    def _accept(self) -> None:
        try:
            line, _ = self._listener.accept()
        except BlockingIOError:  # the client has gone away meanwhile
            return
        except OSError as problem:  # resumed by the check of descriptors, each second
            log.warning("no connection can be accepted: %s", problem.strerror)
            self.accept(wanted=False)
            return
        name = next(self._numbers).to_bytes(8)
        self._connections[name] = ClientConnection(
            self._loop,
            line,
            Decoder(self._largest_message + LARGEST_HEADER, MAX_FRAMES),
            self._scratch,
            self._unfinished,
            self._unread,
            partial(self._take, name),
            partial(self._forget, name),
        )
        self._accepted += 1
        if self._accepted >= ACCEPTED_PER_CALL:
            self._accepted = 0
            self.crowded()

    def _forget(self, name: bytes) -> None:
        if self._connections.pop(name, None) is not None:
            self.gone(name)

    def _take(self, name: bytes, frames: list[Buffer]) -> None:
        """Check one message's envelope and header, and pass the request to the handler."""
        if len(frames) < 2 or frames[0]:
            error = ProtocolError(
                f"A message of {len(frames)} frames has no header.",
                hint="Send the header, then the payload, from a REQ socket.",
            )
            self.fail(Client(name, ""), error)
            return
        if (uid := self._connections[name].uid) != self._owner:
            log.warning("a request from uid %s was rejected", uid)
            rejection = DaemonUnavailable(f"This daemon serves uid {self._owner} only.")
            self.fail(Client(name, ""), rejection)
            return
        try:
            request = decode_request(memoryview(frames[1]))
        except ProtocolError as error:
            header = memoryview(frames[1])[:LARGEST_HEADER]
            self.fail(Client(name, preamble(header).id), error)
            return
        client = Client(name, request.id)
        try:
            payload = self._payload(request, tuple(frames[2:]))
            self._check_size(payload)
            self._handler(client, request, payload)
        except SireError as error:
            log_failure(described(request), error, 0.0)
            self.fail(client, error)
        except Exception as problem:
            log.exception("a %s request failed unexpectedly", type(request).__name__)
            self.fail(
                client, SireError(f"Unexpected {type(problem).__name__}: {error_text(problem)}")
            )

    def _payload(self, request: Request, sent: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
        """The payload of a request: what was sent, or what it refers to."""
        if not isinstance(request, Predict | Submit) or request.payload is None:
            return sent
        if sent:
            raise ProtocolError("The request has a payload, and refers to another one.")
        return self.claim(request.payload)

    def _check_size(self, payload: tuple[Buffer, ...]) -> None:
        if len(payload) + 2 > MAX_FRAMES:
            raise InvalidInput(
                f"The message has more than {MAX_FRAMES} frames, which is the limit.",
                hint="Send less at a time.",
            )
        if (size := sum(map(len, payload))) > self._largest_message:
            raise too_large(size, self._largest_message)
