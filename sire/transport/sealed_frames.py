"""The frames of a payload in sealed memory of their own, which is passed on by its descriptor.

The memory can neither shrink nor be written to any more. So it is written once, by the process that
has the payload, and a process that receives it can map it, keep it and pass it on without a copy.
"""

import os
import weakref
from collections.abc import Sequence
from itertools import accumulate

from sire.protocol.content import Buffer
from sire.transport import sealed

# A cache line: at least the alignment of any dtype.
ALIGNMENT = 64


def offsets(start: int, lengths: Sequence[int], alignment: int) -> list[int]:
    """The offset of each frame in a body, and then the end of the body."""
    if alignment == 1:
        return list(accumulate(lengths, initial=start))
    found = []
    for length in lengths:
        found.append(-(-start // alignment) * alignment)
        start = found[-1] + length
    return [*found, start]


class SealedMemory:
    """Sealed memory with frames, each at an aligned offset.

    Args:
        descriptor: of the memory; closed with this object.
        lengths: bytes of each frame.
    """

    def __init__(self, descriptor: int, lengths: Sequence[int]) -> None:
        self.descriptor = descriptor
        self.lengths = lengths
        weakref.finalize(self, os.close, descriptor)

    @property
    def size(self) -> int:
        """Bytes up to the end of the last frame."""
        return offsets(0, self.lengths, ALIGNMENT)[-1]


class SealedFrames(tuple[Buffer, ...]):  # noqa: SLOT001 (tuples have no room for slots)
    """The frames in such memory, mapped.

    Attributes:
        memory: the memory; it is passed on instead of the frames.
    """

    memory: SealedMemory


def write(frames: Sequence[Buffer]) -> SealedMemory:
    """Write frames to memory, and seal it.

    Raises:
        SireError: the memory cannot be allocated.
    """
    lengths = [memoryview(frame).nbytes for frame in frames]
    *starts, size = offsets(0, lengths, ALIGNMENT)
    try:
        descriptor = sealed.create(zip(starts, frames, strict=True), size, final=True)
    except OSError as problem:
        raise sealed.not_allocated(size, problem) from None
    return SealedMemory(descriptor, lengths)


def map_frames(memory: SealedMemory) -> SealedFrames:
    """Map the frames of memory that was received.

    Raises:
        ProtocolError: its sender could still change it, it is too short, or it cannot be mapped.
    """
    *starts, size = offsets(0, memory.lengths, ALIGNMENT)
    sealed.check_final(memory.descriptor, size)
    body = memoryview(sealed.map_private(memory.descriptor, size)).toreadonly() if size else b""
    frames = SealedFrames(
        body[start : start + length] for start, length in zip(starts, memory.lengths, strict=True)
    )
    frames.memory = memory
    return frames
