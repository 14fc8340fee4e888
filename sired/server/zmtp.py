"""ZeroMQ's message transport protocol, ZMTP 3.1, as its listening side speaks it: bytes in and out.

Source: rfc.zeromq.org/spec/37 (ZMTP 3.1), with the NULL mechanism, over a stream socket.

1. Each side sends a greeting of 64 bytes: a signature, the version and the mechanism.
2. Each side sends the command READY, with its socket type.
3. Messages follow: frames of a flag byte, the size in 1 or 8 bytes, and the body.
"""

import mmap
import struct
from collections.abc import Iterator, Sequence

from sire.errors import ProtocolError
from sire.protocol.content import Buffer

# Signature (10 bytes), version 3.1, mechanism (20), as-server (1) and filler (31).
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)

_MORE, _LONG, _COMMAND = 1, 2, 4
_SIZE = struct.Struct(">Q")
_PROPERTY_SIZE = struct.Struct(">I")
# The socket types that a ROUTER talks to.
_PEERS = {b"REQ", b"DEALER", b"ROUTER"}
# A command longer than this is not one that a peer sends.
_LARGEST_COMMAND = 4096
# Bytes. A frame that arrives in pieces is received in place from this size on.
_IN_PLACE_FROM = 32 * 1024
# From this size on, memory is returned to the system as soon as the frame is dropped.
_MAPPED_FROM = 1024 * 1024


def ready(socket_type: bytes) -> bytes:
    """The command READY of a socket of a type."""
    properties = (b"Socket-Type", socket_type), (b"Identity", b"")
    body = b"".join(
        bytes((len(name),)) + name + _PROPERTY_SIZE.pack(len(value)) + value
        for name, value in properties
    )
    return _command(b"READY", body)


def _command(name: bytes, body: bytes) -> bytes:
    body = bytes((len(name),)) + name + body
    return bytes((_COMMAND, len(body))) + body


def encode(frames: Sequence[Buffer]) -> Iterator[memoryview]:
    """The bytes of a message, as buffers of which the large ones are the frames themselves."""
    head = bytearray()
    last = len(frames) - 1
    for number, frame in enumerate(frames):
        body = memoryview(frame)
        more = _MORE if number < last else 0
        if body.nbytes < 256:
            head += bytes((more, body.nbytes))
        else:
            head.append(more | _LONG)
            head += _SIZE.pack(body.nbytes)
        if body.nbytes < _IN_PLACE_FROM:
            head += body
        else:
            yield memoryview(head)
            yield body.cast("B")
            head = bytearray()
    if head:
        yield memoryview(head)


class Decoder:
    """Cuts what a client sends into messages.

    Args:
        largest: bytes of a message's frames together; a larger message is a ProtocolError.
        most_frames: frames of a message; of those after that only the first is kept.

    Attributes:
        answer: bytes to send to the client: what the protocol itself demands.
        greeted: whether the client has completed its part of the handshake.
    """

    def __init__(self, largest: int, most_frames: int) -> None:
        self.answer = b""
        self.greeted = False
        self._largest, self._most = largest, most_frames
        self._signed = False
        self._frames: list[Buffer] = []
        self._size = 0
        self._rest = b""
        # The frame that is received in place, how much of it is there, and whether others follow.
        self._body: memoryview | None = None
        self._filled, self._more = 0, False

    @property
    def in_place(self) -> bool:
        """Whether a large frame is being received."""
        return self._body is not None

    @property
    def unfinished(self) -> int:
        """Bytes of the message that has begun and not ended, as far as they are announced."""
        return self._size + (0 if self._body is None else len(self._body))

    def target(self, scratch: memoryview) -> memoryview:
        """Where to receive the next bytes: in the frame they belong to, or in ``scratch``."""
        if self._body is not None:
            return self._body[self._filled :]
        return scratch[len(self._rest) :]

    def messages(self, scratch: memoryview, count: int, most: int) -> Iterator[list[Buffer]]:
        """The messages that are complete, ``most`` at a time.

        Args:
            scratch: what was passed to ``target``.
            count: of the bytes received; 0 if ``pending``.
            most: messages to return; the rest of what was received is kept.

        Raises:
            ProtocolError: this is not ZMTP 3, or not a socket type that a ROUTER talks to, or a
                message is too large.
        """
        if self._body is not None:
            self._filled += count
            if self._filled == len(self._body):
                body, self._body = self._body, None
                if (message := self._complete(body, more=self._more)) is not None:
                    yield message
            return
        kept = len(self._rest)
        scratch[:kept] = self._rest
        data = scratch[: kept + count]
        at = 0
        try:
            while most and (cut := self._cut(data, at)) is not None:
                message, at = cut
                if message is not None:
                    most -= 1
                    yield message
        finally:
            self._rest = bytes(data[at:]) if self._body is None else b""

    def _cut(self, data: memoryview, at: int) -> tuple[list[Buffer] | None, int] | None:
        """Take one step of the protocol.

        Returns:
            The message that is complete with it, if one is, and where the next step begins; None if
            not all of the step's bytes are there.
        """
        if not self._signed:
            return self._check_greeting(data, at)
        if len(data) < at + 2:
            return None
        flags, size, start = data[at], data[at + 1], at + 2
        if flags & _LONG:
            start = at + 1 + _SIZE.size
            if len(data) < start:
                return None
            (size,) = _SIZE.unpack_from(data, at + 1)
        if size > (_LARGEST_COMMAND if flags & _COMMAND else self._largest - self._size):
            raise ProtocolError(f"A message is larger than {self._largest} bytes.")
        end = start + size
        if end > len(data):
            if size >= _IN_PLACE_FROM:
                self._receive_in_place(data[start:], size, more=bool(flags & _MORE))
            return None
        if flags & _COMMAND or not self.greeted:
            self._obey(bytes(data[start:end]))
            return None, end
        return self._complete(bytes(data[start:end]), more=bool(flags & _MORE)), end

    def _check_greeting(self, data: memoryview, at: int) -> tuple[None, int] | None:
        if len(data) < len(GREETING):
            return None
        if data[0] != 0xFF or data[9] != 0x7F or data[10] < 3 or data[12:32] != GREETING[12:32]:
            raise ProtocolError("The client does not speak ZMTP 3 with the NULL mechanism.")
        self._signed = True
        self.answer += ready(b"ROUTER")
        return None, at + len(GREETING)

    def _obey(self, command: bytes) -> None:
        length = command[0] if command else 0
        name, body = command[1 : 1 + length], command[1 + length :]
        if not self.greeted:
            if name != b"READY" or _properties(body).get(b"socket-type") not in _PEERS:
                raise ProtocolError("The client is not a REQ, DEALER or ROUTER socket.")
            self.greeted = True
        elif name == b"PING":  # a time to live of two bytes, and a context to be returned
            self.answer += _command(b"PONG", body[2:])

    def _receive_in_place(self, begun: memoryview, size: int, *, more: bool) -> None:
        try:
            memory = mmap.mmap(-1, size) if size >= _MAPPED_FROM else bytearray(size)
        except (OSError, MemoryError):
            raise ProtocolError(f"There is no memory for a frame of {size} bytes.") from None
        self._body = memoryview(memory)
        self._body[: len(begun)] = begun
        self._filled, self._more = len(begun), more

    def _complete(self, frame: Buffer, *, more: bool) -> list[Buffer] | None:
        """Add a frame to the message; returns the message if this was its last one."""
        if len(self._frames) <= self._most:
            self._frames.append(frame)
        self._size += len(frame)
        if more:
            return None
        message, self._frames, self._size = self._frames, [], 0
        return message


def _properties(body: bytes) -> dict[bytes, bytes]:
    """The metadata of READY, by names in lower case.

    Raises:
        ProtocolError: it is cut off.
    """
    found = {}
    at = 0
    try:
        while at < len(body):
            name_end = at + 1 + body[at]
            start = name_end + _PROPERTY_SIZE.size
            (size,) = _PROPERTY_SIZE.unpack_from(body, name_end)
            found[body[at + 1 : name_end].lower()] = body[start : start + size]
            at = start + size
    except (IndexError, struct.error):
        raise ProtocolError("The client's READY command is cut off.") from None
    return found
