"""Reusable memory for large messages.

The kernel clears new memory page by page, which takes longer than writing the message. A sender
that waits for the answer to each message can reuse its memory.
"""

import mmap
import os
import sys
import weakref
from collections.abc import Iterable

from sire.protocol.content import Buffer
from sire.transport import sealed

# For larger messages the gain does not justify keeping the memory.
LARGEST = 64 * 1024 * 1024
_STEP = 64 * 1024


class Staging:
    """Writes messages to reusable memory; the previous message must not be needed any more."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def fits(self, size: int) -> bool:
        """Whether a message of ``size`` bytes can be written here."""
        return size <= LARGEST

    def write(self, parts: Iterable[tuple[int, Buffer]], size: int) -> int:
        """Write parts at their offsets; returns the descriptor of the memory, still owned here."""
        if self._memory is None or len(self._memory.mapping) < size:
            self._memory = _Memory(-(-size // _STEP) * _STEP)
        mapping = self._memory.mapping
        for offset, part in parts:
            view = memoryview(part)
            if view.nbytes:
                mapping[offset : offset + view.nbytes] = view.cast("B")
        return self._memory.descriptor

    def renew(self) -> None:
        """Use new memory from now on, because the last message is still referenced."""
        self._memory = None


class Mapped:
    """The receiving side: keeps the memory mapped for the next message."""

    def __init__(self) -> None:
        self._mapping: mmap.mmap | None = None
        self._identity = (0, 0)

    def map(self, descriptor: int, size: int) -> mmap.mmap:
        """Map the memory of a descriptor, or return its existing mapping.

        Raises:
            ProtocolError: it may shrink, or is smaller than ``size`` bytes.
        """
        status = os.fstat(descriptor)
        identity = status.st_dev, status.st_ino
        if self._mapping is None or identity != self._identity or len(self._mapping) < size:
            self._mapping = sealed.map_shared(descriptor, size)
            self._identity = identity
        return self._mapping

    def held(self) -> bool:
        """Whether the mapping is still referenced; its sender then has to use new memory."""
        # One reference is this object's, one the argument's; each view adds one.
        if self._mapping is None or sys.getrefcount(self._mapping) == 2:
            return False
        self._mapping = None
        return True


class _Memory:
    """One block of memory, unmapped and closed with the object."""

    def __init__(self, size: int) -> None:
        self.descriptor = sealed.allocate(size)
        weakref.finalize(self, os.close, self.descriptor)
        self.mapping = mmap.mmap(self.descriptor, size)
