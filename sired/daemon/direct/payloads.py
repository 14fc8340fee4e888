"""Payloads that clients keep in memory of their own until a request refers to them.

A client connects to the second socket, and sends the descriptor of each large payload over that
connection. Nothing is received before a request refers to it: until then the payload and its
descriptor are in the kernel's queue, charged to the client, and go with the connection.
"""

import asyncio
import resource
import select
import socket
import weakref

import msgspec

from sire.errors import ProtocolError
from sire.protocol.content import Buffer, size_of
from sire.protocol.direct import PayloadFollows
from sire.protocol.framing import too_large
from sire.protocol.message import PayloadReference
from sire.transport.channel import Channel
from sire.transport.sealed_frames import SealedFrames, SealedMemory
from sired.daemon.engine.numbers import first_number

# The part of the limit on descriptors that connections for payloads may use. As many payloads are
# kept open, of which each takes two descriptors; others are copied.
_SHARE = 16
_MOST = 256


class _Connection(msgspec.Struct, eq=False):
    """A client's connection for payloads."""

    number: int
    line: socket.socket
    channel: Channel[PayloadFollows]


class PassedPayloads:
    """The connections over which clients pass payloads.

    Args:
        loop: the event loop.
        largest: the most bytes of a payload that a request may refer to.

    Attributes:
        copying: whether payloads are copied instead of kept open, because descriptors are short.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, largest: int) -> None:
        self.copying = False
        self._loop = loop
        self._largest = largest
        self._connections: dict[int, _Connection] = {}
        self._by_descriptor: dict[int, int] = {}
        self._held: weakref.WeakSet[SealedMemory] = weakref.WeakSet()
        # The event loop would report each payload; this reports only clients that disconnect.
        self._hangups = select.epoll()
        self._next = first_number()
        loop.add_reader(self._hangups.fileno(), self._left)

    def add(self, line: socket.socket) -> int | None:
        """Take a connection; returns its number, or None if there are enough of them."""
        if len(self._connections) >= _most():
            return None
        number, self._next = self._next, self._next + 1
        channel: Channel[PayloadFollows] = Channel(line, PayloadFollows)
        self._connections[number] = _Connection(number, line, channel)
        self._by_descriptor[line.fileno()] = number
        self._hangups.register(line.fileno(), select.EPOLLRDHUP | select.EPOLLHUP)
        return number

    def claim(self, reference: PayloadReference) -> tuple[Buffer, ...]:
        """Take the payload that a request refers to; earlier ones of its connection are dropped.

        Raises:
            InvalidInput: it is larger than the limit.
            ProtocolError: it is not there, or its memory could still be changed.
        """
        connection = self._connections.get(reference.connection)
        while connection is not None and (received := _next_of(connection)) is not None:
            message, frames = received
            if message.number == reference.number:
                return self._kept(frames)
        raise ProtocolError(
            f"Payload {reference.number} was not passed over connection {reference.connection}.",
            hint="Pass its descriptor before the request is sent, and keep the connection open.",
        )

    def _kept(self, frames: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
        """The frames, or copies of them if no more descriptors are to be kept."""
        if (size := size_of(frames)) > self._largest:
            raise too_large(size, self._largest)
        enough = self.copying or len(self._held) >= _most()
        if enough or not isinstance(frames, SealedFrames):
            return tuple(map(bytes, frames))
        self._held.add(frames.memory)
        return frames

    def close(self) -> None:
        """Close the connections."""
        self._loop.remove_reader(self._hangups.fileno())
        self._hangups.close()
        for connection in self._connections.values():
            connection.channel.close()
        self._connections.clear()

    def _left(self) -> None:
        for descriptor, _ in self._hangups.poll(0):
            connection = self._connections.pop(self._by_descriptor.pop(descriptor))
            self._hangups.unregister(descriptor)
            connection.channel.close()


def _most() -> int:
    """How many connections, and how many payloads, may be open at a time."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if limit == resource.RLIM_INFINITY else min(_MOST, limit // _SHARE)


def _next_of(connection: _Connection) -> tuple[PayloadFollows, tuple[Buffer, ...]] | None:
    try:
        return connection.channel.try_receive()
    except (EOFError, OSError):
        return None
