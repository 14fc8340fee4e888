"""A private line between two processes: one packet of a SOCK_SEQPACKET socket per message.

A message is a fixed prefix and a body: the frames' lengths, the header in msgpack, the frames. A
small body travels in the packet. A large one travels in one sealed piece of memory whose
descriptor is passed along: it is written once and mapped by the other side. Any other descriptor
can be passed along with a small message.
"""

import array
import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Generic, TypeVar

import msgspec

from sire.errors import ProtocolError, SireError, error_text
from sire.protocol.content import Buffer
from sire.transport import sealed
from sire.transport.busy_polling import BusyPolling
from sire.transport.staging import Mapped, Staging
from sire.units import LARGEST_BYTES

# Up to here, copying through the socket is quicker than setting up shared memory.
INLINE_LIMIT = 64 * 1024
# More than any message has. Both are known before anything is made of what came.
_MOST_FRAMES = 1 << 20
_LARGEST_HEADER = 1 << 26
# sendmsg(2) takes 1,024 buffers at most.
_MOST_INLINE_FRAMES = 256
# Bytes of the body and of its header, number of frames, and what the packet's descriptor is.
_PREFIX = struct.Struct("<QQIB")
_NONE, _BODY, _PASSED = range(3)
_LENGTH_SIZE = 8
# A cache line: more than any dtype asks for.
_ALIGNMENT = 64
_DESCRIPTOR = array.array("i").itemsize
# Room for exactly one: CMSG_SPACE would let a second one in.
_DESCRIPTOR_SPACE = socket.CMSG_LEN(_DESCRIPTOR)
# Plain numbers: combining enumerations takes longer than the system call.
_NOW, _NO_SIGNAL = int(socket.MSG_DONTWAIT), int(socket.MSG_NOSIGNAL)
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)
_CUT = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)

Incoming = TypeVar("Incoming")
Message = tuple[Incoming, tuple[Buffer, ...]]


class Channel(Generic[Incoming]):
    """One end of the line.

    What is sent may be overwritten at once; frames received stay valid as long as they are
    referenced, begin at addresses that suit any dtype, and cannot be written to.

    Args:
        line: a SOCK_SEQPACKET socket; the channel owns it.
        incoming: the type of the messages received.
        staging: memory that large messages are written to, instead of new memory for each; the
            other side says when it is done with one.
        steady: the other side has such memory: it stays mapped here. What writes to a frame writes
            to that memory, then, and not to a copy.
        busy_polling: whether and how long a ``receive`` stays awake; None for never.
        largest: bytes of the largest message taken.
    """

    def __init__(
        self,
        line: socket.socket,
        incoming: Any,
        *,
        staging: Staging | None = None,
        steady: bool = False,
        busy_polling: BusyPolling | None = None,
        largest: int = LARGEST_BYTES,
    ) -> None:
        self._line = line
        self._staging = staging
        self._busy_polling = busy_polling
        self._largest = largest
        self._mapped = Mapped() if steady else None
        self._passed: int | None = None
        # What a runtime put into an error's details must not keep the error from being told.
        self._encoder = msgspec.msgpack.Encoder(enc_hook=str)
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(incoming)
        self._buffer = memoryview(bytearray(_PREFIX.size + INLINE_LIMIT))
        self._buffers = [self._buffer]

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._line.fileno()

    def close(self) -> None:
        """Close the line: the other side reads an end of file."""
        self._keep(None)
        self._line.close()

    def shutdown(self) -> None:
        """Close the line for whoever else holds our end of it, too."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self.close()

    def try_send(self, message: Any, frames: Sequence[Buffer] = ()) -> bool:
        """Send without waiting; False when the other side has too much unread.

        Raises:
            OSError: the other side is gone.
            SireError: it is large, and there is no memory to share.
        """
        try:
            self._send(message, frames, _NOW)
        except BlockingIOError:
            return False
        return True

    def send(self, message: Any, frames: Sequence[Buffer] = ()) -> None:
        """Send, waiting for room if need be.

        Raises:
            OSError: the other side is gone.
            SireError: it is large, and there is no memory to share.
        """
        self._send(message, frames, 0)

    def try_pass(self, message: Any, descriptor: int) -> bool:
        """Send a message and a descriptor along, without waiting; False as for ``try_send``.

        Raises:
            OSError: the other side is gone.
        """
        header = self._encoder.encode(message)
        prefix = _PREFIX.pack(len(header), len(header), 0, _PASSED)
        try:
            self._send_along([prefix, header], descriptor, _NOW | _NO_SIGNAL)
        except BlockingIOError:
            return False
        return True

    def take_descriptor(self) -> int:
        """The descriptor that came with the last message; it is the caller's now.

        Raises:
            ProtocolError: none came.
        """
        descriptor, self._passed = self._passed, None
        if descriptor is None:
            raise ProtocolError("A message announced a descriptor that did not come.")
        return descriptor

    def held(self) -> bool:
        """Whether somebody still holds on to frames of the last large message received.

        Unless somebody does, its sender may write to that memory again.
        """
        return self._mapped is not None and self._mapped.held()

    def set_timeout(self, seconds: float | None) -> None:
        """Let every later ``receive`` wait so long, then raise BlockingIOError; None for ever."""
        whole = 0 if seconds is None else int(seconds)
        rest = 0 if seconds is None else max(1, int((seconds - whole) * 1e6))
        self._line.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", whole, rest)
        )

    def _send(self, message: Any, frames: Sequence[Buffer], flags: int) -> None:
        flags |= _NO_SIGNAL
        header = self._encoder.encode(message)
        lengths = [memoryview(frame).nbytes for frame in frames]
        head = _lengths(len(lengths)).pack(*lengths) + header
        size = len(head) + sum(lengths)
        if size <= INLINE_LIMIT and len(frames) <= _MOST_INLINE_FRAMES:
            prefix = _PREFIX.pack(size, len(header), len(frames), _NONE)
            self._line.sendmsg([prefix + head, *frames], (), flags)
        else:
            self._send_large(head, len(header), frames, lengths, flags)

    def _send_large(
        self,
        head: bytes,
        header_size: int,
        frames: Sequence[Buffer],
        lengths: Sequence[int],
        flags: int,
    ) -> None:
        """Send a body in memory that is passed along."""
        *offsets, size = _offsets(len(head), lengths, _ALIGNMENT)
        parts = [(0, head), *zip(offsets, frames, strict=True)]
        prefix = _PREFIX.pack(size, header_size, len(frames), _BODY)
        if self._staging is not None and self._staging.suits(size):
            self._send_along([prefix], self._staging.write(parts, size), flags)
            return
        try:
            descriptor = sealed.create(parts, size)
        except OSError as problem:
            raise SireError(
                f"No shared memory of {size} bytes could be made: {problem.strerror}.",
                hint="Is the limit of open files reached? See: ulimit -n",
            ) from None
        try:
            self._send_along([prefix], descriptor, flags)
        finally:
            os.close(descriptor)

    def _send_along(self, packet: list[Buffer], descriptor: int, flags: int) -> None:
        passed = array.array("i", [descriptor])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
        self._line.sendmsg(packet, ancillary, flags)

    def try_receive(self) -> Message[Incoming] | None:
        """Take one message without waiting; None when there is none.

        Raises:
            EOFError: the other side is gone, and all it had sent has been taken.
            ProtocolError: what came is no message.
        """
        try:
            return self._receive(_NOW)
        except BlockingIOError:
            return None

    def receive(self) -> Message[Incoming]:
        """Wait for one message; raises as ``try_receive`` does."""
        if self._busy_polling is None:
            return self._receive(0)
        message = self._busy_polling.watch(self.try_receive) or self._receive(0)
        self._busy_polling.end()
        return message

    def _receive(self, flags: int) -> Message[Incoming]:
        packet, descriptor, cut = self._take_packet(flags | _CLOSE_ON_EXEC)
        try:
            if cut or len(packet) < _PREFIX.size:
                raise ProtocolError(
                    f"A packet of {len(packet)} bytes is not whole.",
                    hint="Is the limit of open files reached? See: ulimit -n",
                )
            return self._unpack(packet, descriptor)
        finally:
            if descriptor is not None and descriptor != self._passed:
                os.close(descriptor)

    def _take_packet(self, flags: int) -> tuple[memoryview, int | None, bool]:
        """One packet, the descriptor that came with it, and whether something was cut off."""
        read = self._line.recvmsg_into
        try:
            size, ancillary, said, _ = read(self._buffers, _DESCRIPTOR_SPACE, flags)
        except ConnectionResetError:
            # A peer that ended with messages unread is reported once, ahead of its last words.
            size, ancillary, said, _ = read(self._buffers, _DESCRIPTOR_SPACE, flags)
        if size == 0:
            raise EOFError
        descriptor = _descriptor(ancillary) if ancillary else None
        return self._buffer[:size], descriptor, bool(said & _CUT)

    def _unpack(self, packet: memoryview, descriptor: int | None) -> Message[Incoming]:
        size, header_size, count, along = _PREFIX.unpack_from(packet)
        start = count * _LENGTH_SIZE + header_size
        if not header_size or start > size:
            raise ProtocolError(f"A message of {size} bytes cannot begin with {start}.")
        if size > self._largest or header_size > _LARGEST_HEADER or count > _MOST_FRAMES:
            raise ProtocolError(
                f"A message of {size} bytes, {header_size} of them its header, in {count} frames: "
                f"{self._largest}, {_LARGEST_HEADER} and {_MOST_FRAMES} are the limits."
            )
        if along != _BODY:
            body = packet[_PREFIX.size :]
            message, parts = self._read(body, size, start, count, alignment=1)
            if along == _PASSED:
                self._keep(descriptor)
            # The buffer is used again for the next packet: what is handed out is a copy.
            return message, tuple(bytes(part) for part in parts)
        if descriptor is None:
            raise ProtocolError("A message announced shared memory that did not come.")
        try:
            keep = sealed.map_private if self._mapped is None else self._mapped.map
            mapping = keep(descriptor, size)
        except OSError as problem:
            raise ProtocolError(
                f"Shared memory of {size} bytes cannot be mapped: {problem.strerror}.",
                hint="Is the limit of open files reached? See: ulimit -n",
            ) from None
        body = memoryview(mapping).toreadonly()[:size]
        message, parts = self._read(body, size, start, count, alignment=_ALIGNMENT)
        return message, tuple(parts)

    def _keep(self, descriptor: int | None) -> None:
        if self._passed is not None:  # nobody took it
            os.close(self._passed)
        self._passed = descriptor

    def _read(
        self, body: memoryview, size: int, start: int, count: int, *, alignment: int
    ) -> tuple[Incoming, list[memoryview]]:
        """The message at the head of a body, and its frames, the first one not before ``start``."""
        if len(body) != size:
            raise ProtocolError(f"{len(body)} bytes came where {size} were announced.")
        lengths = _lengths(count).unpack_from(body)
        *offsets, end = _offsets(start, lengths, alignment)
        if end != size:
            raise ProtocolError(f"Frames up to byte {end} were announced in {size} bytes.")
        try:
            message = self._decoder.decode(body[count * _LENGTH_SIZE : start])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
            raise ProtocolError(f"What came is no message: {error_text(problem)}.") from None
        parts = zip(offsets, lengths, strict=True)
        return message, [body[offset : offset + length] for offset, length in parts]


@lru_cache(maxsize=16)
def _lengths(count: int) -> struct.Struct:
    """The lengths of so many frames: a message has one or two most of the time."""
    return struct.Struct(f"<{count}Q")


def _offsets(start: int, lengths: Sequence[int], alignment: int) -> list[int]:
    """Where in a body each frame begins, and then where the body ends."""
    if alignment == 1:
        return list(accumulate(lengths, initial=start))
    offsets = []
    for length in lengths:
        offsets.append(-(-start // alignment) * alignment)
        start = offsets[-1] + length
    return [*offsets, start]


def _descriptor(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The descriptor that was passed along, if one was."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(data) >= _DESCRIPTOR:
            return array.array("i", data[:_DESCRIPTOR])[0]
    return None
