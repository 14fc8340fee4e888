"""A message and its payload in one piece, as the body of a request or a response over HTTP.

A body has one message after the other. Each begins with the number of its frames, a little-endian
32-bit integer, and the number of bytes of each, 64-bit integers; the frames follow, of which the
first is the header. A message without frames is a heartbeat: its sender is still at work.
"""

import struct
from collections.abc import Callable, Sequence

from sire.errors import ProtocolError
from sire.protocol.content import Buffer

CONTENT_TYPE = "application/x-sire-message"
PATH = "/sire/messages"
# A server that works on a request sends one this often; a client waits several times as long.
HEARTBEAT_SECONDS = 5.0
HEARTBEAT = struct.pack("<I", 0)

_COUNT = struct.Struct("<I")
# More than any prediction has; a larger number is not from sire.
_MOST_FRAMES = 1 << 16


def prefix(frames: Sequence[Buffer]) -> bytes:
    """What stands before the frames of a message."""
    return struct.pack(f"<I{len(frames)}Q", len(frames), *map(len, frames))


def read_frames(read: Callable[[int], Buffer], largest: int | None = None) -> list[memoryview]:
    """Read the frames of one message; none of a heartbeat.

    Args:
        read: reads exactly this many bytes.
        largest: the most bytes that all frames may have; None for any number.

    Raises:
        ProtocolError: there are too many frames, or they are too large.
    """
    (count,) = _COUNT.unpack(read(_COUNT.size))
    if count > _MOST_FRAMES:
        raise ProtocolError(f"A message cannot have {count} frames; the limit is {_MOST_FRAMES}.")
    sizes = struct.unpack(f"<{count}Q", read(8 * count))
    if largest is not None and sum(sizes) > largest:
        raise ProtocolError(
            f"The frames of the message have {sum(sizes)} bytes, but only {largest} follow."
        )
    return [memoryview(read(size)) for size in sizes]


def frames_of(body: bytes) -> list[memoryview]:
    """The frames of a body that has one message.

    Raises:
        ProtocolError: it has not exactly one.
    """
    whole, at = memoryview(body), 0

    def read(size: int) -> memoryview:
        nonlocal at
        if size > len(whole) - at:
            raise ProtocolError(f"The body ends after {len(whole)} bytes, within a message.")
        at += size
        return whole[at - size : at]

    frames = read_frames(read, len(whole))
    if at != len(whole):
        raise ProtocolError(f"{len(whole) - at} bytes follow the message in the body.")
    return frames
