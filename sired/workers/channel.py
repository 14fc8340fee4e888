"""The private line between daemon and worker: one system call a message, payload beside it.

A packet is a fixed prefix, the header, and the payload frames. A payload too large for a packet
travels in one sealed memfd whose descriptor is passed along: it is written once and mapped by
the other side, and the seals make sure that it cannot shrink under the reader (that would kill
the daemon with SIGBUS).
"""

import array
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from sired.errors import ProtocolError
from sired.protocol.content import Buffer

INLINE_LIMIT = 64 * 1024
# Room for the prefix, a header of the largest inline size and the largest inline payload.
_PACKET_LIMIT = 3 * INLINE_LIMIT
_PREFIX = struct.Struct("<II")  # bytes of the header, number of frames
_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_NEEDED_SEALS = fcntl.F_SEAL_SHRINK
_DESCRIPTOR_SPACE = socket.CMSG_SPACE(array.array("i").itemsize)
# Plain numbers: combining enumerations takes longer than the system call.
_NOW, _NO_SIGNAL = int(socket.MSG_DONTWAIT), int(socket.MSG_NOSIGNAL)
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)

Incoming = TypeVar("Incoming")


class Channel(Generic[Incoming]):
    """One end of the line.

    Args:
        line: a SOCK_SEQPACKET socket; the channel owns it.
        incoming: the type of the messages received.
    """

    def __init__(self, line: socket.socket, incoming: Any) -> None:
        self._line = line
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(incoming)
        self._buffer = bytearray(_PACKET_LIMIT)
        self._buffers = [self._buffer]

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._line.fileno()

    def close(self) -> None:
        """Close the line: the other side reads an end of file."""
        self._line.close()

    def try_send(self, message: Any, frames: Sequence[Buffer] = ()) -> bool:
        """Send without waiting; False when the other side has too much unread.

        Raises:
            OSError: the other side is gone.
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
        """
        self._send(message, frames, 0)

    def _send(self, message: Any, frames: Sequence[Buffer], flags: int) -> None:
        header = self._encoder.encode(message)
        views = [memoryview(frame).cast("B") for frame in frames]
        prefix = _PREFIX.pack(len(header), len(views))
        lengths = b"".join(_LENGTH.pack(view.nbytes) for view in views)
        flags |= _NO_SIGNAL
        if len(header) + len(lengths) + sum(view.nbytes for view in views) <= INLINE_LIMIT:
            self._line.sendmsg([prefix, lengths, header, *views], (), flags)
            return
        descriptor = _sealed([header, *views])
        try:
            passed = array.array("i", [descriptor])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
            self._line.sendmsg([prefix, lengths], ancillary, flags)
        finally:
            os.close(descriptor)

    def try_receive(self) -> tuple[Incoming, tuple[Buffer, ...]] | None:
        """Take one message without waiting; None when there is none.

        Raises:
            EOFError: the other side is gone.
            ProtocolError: what came is no message.
        """
        try:
            return self._receive(_NOW)
        except BlockingIOError:
            return None

    def receive(self) -> tuple[Incoming, tuple[Buffer, ...]]:
        """Wait for one message; raises as ``try_receive`` does."""
        return self._receive(0)

    def _receive(self, flags: int) -> tuple[Incoming, tuple[Buffer, ...]]:
        try:
            size, ancillary, _, _ = self._line.recvmsg_into(
                self._buffers, _DESCRIPTOR_SPACE, flags | _CLOSE_ON_EXEC
            )
        except ConnectionError:
            raise EOFError from None
        descriptor = _descriptor(ancillary)
        try:
            if size == 0:
                raise EOFError
            return self._unpack(memoryview(self._buffer)[:size], descriptor)
        except (struct.error, msgspec.DecodeError) as problem:
            raise ProtocolError(f"The packet of {size} bytes is no message: {problem}.") from None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _unpack(
        self, packet: memoryview, descriptor: int | None
    ) -> tuple[Incoming, tuple[Buffer, ...]]:
        header_length, count = _PREFIX.unpack_from(packet)
        start = _PREFIX.size + count * _LENGTH.size
        if count > len(packet):
            raise ProtocolError(f"A packet of {len(packet)} bytes cannot tell of {count} frames.")
        lengths = [
            _LENGTH.unpack_from(packet, _PREFIX.size + i * _LENGTH.size)[0] for i in range(count)
        ]
        if descriptor is None:
            # The buffer is used again for the next packet: what is handed out is a copy.
            body = memoryview(bytes(packet[start:]))
            header, *frames = _cut(body, [header_length, *lengths], alignment=1)
        else:
            body = _map(descriptor)
            header, *frames = _cut(body, [header_length, *lengths], alignment=_ALIGNMENT)
        return self._decoder.decode(header), tuple(frames)


def _cut(body: memoryview, lengths: Sequence[int], *, alignment: int) -> list[memoryview]:
    parts, start = [], 0
    for length in lengths:
        if start + length > len(body):
            raise ProtocolError(f"{len(body)} bytes came where {start + length} were announced.")
        parts.append(body[start : start + length])
        start = _aligned(start + length, alignment)
    return parts


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _sealed(frames: Sequence[Buffer]) -> int:
    """A sealed memfd that holds the frames, each at an aligned offset."""
    descriptor = os.memfd_create("sire", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        offset = 0
        for frame in frames:
            _write(descriptor, memoryview(frame), offset)
            offset = _aligned(offset + memoryview(frame).nbytes, _ALIGNMENT)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data.nbytes:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _map(descriptor: int) -> memoryview:
    size = os.fstat(descriptor).st_size
    if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _NEEDED_SEALS or size == 0:
        raise ProtocolError("A payload came in memory that its sender could still take back.")
    return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))


def _descriptor(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The descriptor that was passed along, if one was."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            passed = array.array("i")
            passed.frombytes(data[: passed.itemsize])
            return passed[0]
    return None
