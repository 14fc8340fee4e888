"""Messages between two processes, one packet of a SOCK_SEQPACKET socket each.

A message is a fixed prefix and a body: the lengths of the frames, the header in msgpack, the
frames. A small body is sent in the packet. A large one is sent as sealed memory by its descriptor:
it is written once and mapped by the receiver. Any other descriptor can be sent with a small
message.
"""

import array
import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from sire.errors import ProtocolError, error_text
from sire.protocol.content import Buffer
from sire.transport import sealed
from sire.transport.busy_polling import BusyPolling
from sire.transport.sealed_frames import (
    ALIGNMENT,
    SealedFrames,
    SealedMemory,
    map_frames,
    offsets,
)
from sire.transport.staging import Mapped, Staging
from sire.units import LARGEST_BYTES

# Up to this size, copying through the socket is faster than shared memory.
INLINE_LIMIT = 64 * 1024
# More than any message has; both are checked before anything is decoded.
_MOST_FRAMES = 1 << 20
_LARGEST_HEADER = 1 << 26
# sendmsg(2) takes 1,024 buffers at most.
_MOST_INLINE_FRAMES = 256
# Bytes of the body and of its header, number of frames, and use of the packet's descriptor.
_PREFIX = struct.Struct("<QQIB")
_NONE, _BODY, _PASSED, _FRAMES = range(4)
_LENGTH_SIZE = 8
_DESCRIPTOR = array.array("i").itemsize
# Space for exactly one: CMSG_SPACE would admit a second one.
_DESCRIPTOR_SPACE = socket.CMSG_LEN(_DESCRIPTOR)
# Plain integers: combining enumerations takes longer than the system call.
_NOW, _NO_SIGNAL = int(socket.MSG_DONTWAIT), int(socket.MSG_NOSIGNAL)
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)
_TRUNCATED = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)

Incoming = TypeVar("Incoming")
Message = tuple[Incoming, tuple[Buffer, ...]]


class Channel(Generic[Incoming]):
    """One end of a connection.

    Buffers sent may be overwritten at once; frames received stay valid as long as they are
    referenced, are aligned for any dtype, and are read-only.

    Args:
        line: a SOCK_SEQPACKET socket, which the channel owns.
        incoming: the type of the messages received.
        staging: reusable memory for large messages; the receiver reports when it is done with one.
        steady: whether the sender has such memory, which then stays mapped here. A write to a frame
            is then a write to that memory, not to a copy.
        busy_polling: whether and how long a ``receive`` stays awake; None for never.
        largest: the most bytes in a message received.
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
        # Details of an error that cannot be encoded must not prevent the report of the error.
        self._encoder = msgspec.msgpack.Encoder(enc_hook=str)
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(incoming)
        self._buffer = memoryview(bytearray(_PREFIX.size + INLINE_LIMIT))
        self._buffers = [self._buffer]

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._line.fileno()

    def close(self) -> None:
        """Close the socket: the peer reads an end of file."""
        self._keep(None)
        self._line.close()

    def shutdown(self) -> None:
        """Close the socket also for other processes that share this end."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self.close()

    def connected(self) -> bool:
        """Whether the peer has not disconnected; what it has sent stays to be received."""
        try:
            return bool(self._line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def try_send(self, message: Any, frames: Sequence[Buffer] = ()) -> bool:
        """Send without waiting; False if the peer has too many unread messages.

        Raises:
            OSError: the peer has disconnected.
            SireError: shared memory for a large message cannot be allocated.
        """
        try:
            self._send(message, frames, _NOW)
        except BlockingIOError:
            return False
        return True

    def send(self, message: Any, frames: Sequence[Buffer] = ()) -> None:
        """Send; blocks while the peer has too many unread messages.

        Raises:
            OSError: the peer has disconnected.
            SireError: shared memory for a large message cannot be allocated.
        """
        self._send(message, frames, 0)

    def try_pass(self, message: Any, descriptor: int) -> bool:
        """Send a message with a descriptor without waiting; False if the peer has too many unread.

        Raises:
            OSError: the peer has disconnected.
        """
        header = self._encoder.encode(message)
        prefix = _PREFIX.pack(len(header), len(header), 0, _PASSED)
        try:
            self._send_with_descriptor([prefix, header], descriptor, _NOW | _NO_SIGNAL)
        except BlockingIOError:
            return False
        return True

    def take_descriptor(self) -> int:
        """Take the descriptor of the last message; the caller owns it.

        Raises:
            ProtocolError: the message has none.
        """
        descriptor, self._passed = self._passed, None
        if descriptor is None:
            raise ProtocolError("A message lacks its descriptor.")
        return descriptor

    def held(self) -> bool:
        """Whether frames of the last large message received are still referenced.

        If not, its sender may write to that memory again.
        """
        return self._mapped is not None and self._mapped.held()

    def set_timeout(self, seconds: float | None) -> None:
        """Set how long ``send`` and ``receive`` wait before they raise BlockingIOError.

        None is for no limit. It applies to connecting the socket as well.
        """
        whole = 0 if seconds is None else int(seconds)
        rest = 0 if seconds is None else max(1, int((seconds - whole) * 1e6))
        limit = struct.pack("@ll", whole, rest)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _send(self, message: Any, frames: Sequence[Buffer], flags: int) -> None:
        flags |= _NO_SIGNAL
        header = self._encoder.encode(message)
        if isinstance(frames, SealedFrames) and self._send_sealed(header, frames.memory, flags):
            return
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
        """Send a body in shared memory by its descriptor."""
        *starts, size = offsets(len(head), lengths, ALIGNMENT)
        parts = [(0, head), *zip(starts, frames, strict=True)]
        prefix = _PREFIX.pack(size, header_size, len(frames), _BODY)
        if self._staging is not None and self._staging.fits(size):
            self._send_with_descriptor([prefix], self._staging.write(parts, size), flags)
            return
        try:
            descriptor = sealed.create(parts, size)
        except OSError as problem:
            raise sealed.not_allocated(size, problem) from None
        try:
            self._send_with_descriptor([prefix], descriptor, flags)
        finally:
            os.close(descriptor)

    def try_send_sealed(self, message: Any, memory: SealedMemory) -> bool:
        """Send a message with frames that lie in sealed memory; False if it cannot be sent now.

        Raises:
            OSError: the peer has disconnected.
        """
        try:
            return self._send_sealed(self._encoder.encode(message), memory, _NOW | _NO_SIGNAL)
        except BlockingIOError:
            return False

    def _send_sealed(self, header: bytes, memory: SealedMemory, flags: int) -> bool:
        """Send the memory that the frames lie in; False if what describes them is too long."""
        lengths = memory.lengths
        head = _lengths(len(lengths)).pack(*lengths) + header
        if len(head) > INLINE_LIMIT:
            return False
        prefix = _PREFIX.pack(len(head), len(header), len(lengths), _FRAMES)
        self._send_with_descriptor([prefix, head], memory.descriptor, flags)
        return True

    def _send_with_descriptor(self, packet: list[Buffer], descriptor: int, flags: int) -> None:
        passed = array.array("i", [descriptor])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
        self._line.sendmsg(packet, ancillary, flags)

    def try_receive(self) -> Message[Incoming] | None:
        """Receive one message without waiting; None if there is none.

        Raises:
            EOFError: the peer has disconnected, and all its messages have been received.
            ProtocolError: the packet is not a valid message.
        """
        try:
            return self._receive(_NOW)
        except BlockingIOError:
            return None

    def receive(self) -> Message[Incoming]:
        """Wait for one message.

        Raises:
            EOFError: the peer has disconnected, and all its messages have been received.
            BlockingIOError: none arrived within the time of ``set_timeout``.
            ProtocolError: the packet is not a valid message.
        """
        if self._busy_polling is None:
            return self._receive(0)
        message = self._busy_polling.poll(self.try_receive) or self._receive(0)
        self._busy_polling.end()
        return message

    def _receive(self, flags: int) -> Message[Incoming]:
        packet, descriptor, cut = self._take_packet(flags | _CLOSE_ON_EXEC)
        try:
            if cut or len(packet) < _PREFIX.size:
                raise ProtocolError(
                    f"A packet of {len(packet)} bytes is truncated.",
                    hint="Check the limit of open files: ulimit -n",
                )
            return self._unpack(packet, descriptor)
        finally:
            if descriptor is not None and descriptor != self._passed:
                os.close(descriptor)

    def _take_packet(self, flags: int) -> tuple[memoryview, int | None, bool]:
        """One packet, its descriptor, and whether it was truncated."""
        read = self._line.recvmsg_into
        try:
            size, ancillary, flags_out, _ = read(self._buffers, _DESCRIPTOR_SPACE, flags)
        except ConnectionResetError:
            # A peer that ended with unread messages is reported once, before its last messages.
            size, ancillary, flags_out, _ = read(self._buffers, _DESCRIPTOR_SPACE, flags)
        if size == 0:
            raise EOFError
        descriptor = _descriptor(ancillary) if ancillary else None
        return self._buffer[:size], descriptor, bool(flags_out & _TRUNCATED)

    def _unpack(self, packet: memoryview, descriptor: int | None) -> Message[Incoming]:
        size, header_size, count, along = _PREFIX.unpack_from(packet)
        start = count * _LENGTH_SIZE + header_size
        if not header_size or start > size:
            raise ProtocolError(f"A message of {size} bytes cannot have a header of {start}.")
        if size > self._largest or header_size > _LARGEST_HEADER or count > _MOST_FRAMES:
            raise ProtocolError(
                f"A message has {size} bytes, a header of {header_size} and {count} frames; the "
                f"limits are {self._largest}, {_LARGEST_HEADER} and {_MOST_FRAMES}."
            )
        if along == _FRAMES:
            return self._unpack_sealed(packet[_PREFIX.size :], start, count, descriptor)
        if along != _BODY:
            body = packet[_PREFIX.size :]
            message, parts = self._read(body, size, start, count, alignment=1)
            if along == _PASSED:
                self._keep(descriptor)
            # The buffer is reused for the next packet, so that frames are copied.
            return message, tuple(bytes(part) for part in parts)
        if descriptor is None:
            raise ProtocolError("A message lacks its shared memory.")
        try:
            keep = sealed.map_private if self._mapped is None else self._mapped.map
            mapping = keep(descriptor, size)
        except OSError as problem:
            raise ProtocolError(
                f"Shared memory of {size} bytes cannot be mapped: {problem.strerror}.",
                hint="Check the limit of open files: ulimit -n",
            ) from None
        body = memoryview(mapping).toreadonly()[:size]
        message, parts = self._read(body, size, start, count, alignment=ALIGNMENT)
        return message, tuple(parts)

    def _unpack_sealed(
        self, head: memoryview, start: int, count: int, descriptor: int | None
    ) -> Message[Incoming]:
        """A message of which the frames are in sealed memory."""
        if len(head) != start or descriptor is None:
            raise ProtocolError("A message lacks its sealed memory, or its header is truncated.")
        message = self._decoded(head[count * _LENGTH_SIZE :])
        memory = SealedMemory(sealed.kept(descriptor), _lengths(count).unpack_from(head))
        if memory.size > self._largest:
            raise ProtocolError(f"A payload has {memory.size} bytes; the limit is {self._largest}.")
        return message, map_frames(memory)

    def _keep(self, descriptor: int | None) -> None:
        if self._passed is not None:  # it was not taken
            os.close(self._passed)
        self._passed = descriptor

    def _read(
        self, body: memoryview, size: int, start: int, count: int, *, alignment: int
    ) -> tuple[Incoming, list[memoryview]]:
        """Decode the message in a body, and its frames, which start at or after ``start``."""
        if len(body) != size:
            raise ProtocolError(f"The body has {len(body)} bytes; the message specifies {size}.")
        lengths = _lengths(count).unpack_from(body)
        *starts, end = offsets(start, lengths, alignment)
        if end != size:
            raise ProtocolError(f"The frames end at byte {end} of {size}.")
        message = self._decoded(body[count * _LENGTH_SIZE : start])
        parts = zip(starts, lengths, strict=True)
        return message, [body[offset : offset + length] for offset, length in parts]

    def _decoded(self, header: memoryview) -> Incoming:
        try:
            return self._decoder.decode(header)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
            raise ProtocolError(
                f"The packet is not a valid message: {error_text(problem)}."
            ) from None


@lru_cache(maxsize=16)
def _lengths(count: int) -> struct.Struct:
    """The format of ``count`` frame lengths; most messages have one or two frames."""
    return struct.Struct(f"<{count}Q")


def _descriptor(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The descriptor in the ancillary data; None if there is none."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(data) >= _DESCRIPTOR:
            return array.array("i", data[:_DESCRIPTOR])[0]
    return None
