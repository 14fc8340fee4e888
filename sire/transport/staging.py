"""Memory that one large message after another is written to.

New memory has to be cleared by the kernel, page by page, before anything is written to it; that
takes longer than to write it. Who waits for the answer to each message can use the same again.
"""

import mmap
import os
import sys
import weakref
from collections.abc import Iterable

from sire.protocol.content import Buffer
from sire.transport import sealed

# Larger messages take long whatever is done; the memory is not worth keeping.
LARGEST = 64 * 1024 * 1024
_STEP = 64 * 1024


class Staging:
    """Writes messages to memory that it keeps; the message before must not be needed any more."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def suits(self, size: int) -> bool:
        """Whether a message of so many bytes may be written here."""
        return size <= LARGEST

    def write(self, parts: Iterable[tuple[int, Buffer]], size: int) -> int:
        """Write parts at their offsets; returns the descriptor of the memory, which stays ours."""
        if self._memory is None or len(self._memory.mapping) < size:
            self._memory = _Memory(-(-size // _STEP) * _STEP)
        mapping = self._memory.mapping
        for offset, part in parts:
            view = memoryview(part)
            if view.nbytes:
                mapping[offset : offset + view.nbytes] = view.cast("B")
        return self._memory.descriptor

    def renew(self) -> None:
        """Write to other memory from now on: somebody holds on to the last message."""
        self._memory = None


class Mapped:
    """The other side of it: the memory stays mapped, for the next message in it."""

    def __init__(self) -> None:
        self._mapping: mmap.mmap | None = None
        self._identity = (0, 0)

    def map(self, descriptor: int, size: int) -> mmap.mmap:
        """The memory of which this is a descriptor.

        Raises:
            ProtocolError: it may shrink, or is smaller than that.
        """
        there = os.fstat(descriptor)
        identity = there.st_dev, there.st_ino
        if self._mapping is None or identity != self._identity or len(self._mapping) < size:
            self._mapping = sealed.map_shared(descriptor, size)
            self._identity = identity
        return self._mapping

    def held(self) -> bool:
        """Whether anybody still refers to it; its sender then goes on with other memory."""
        # One of these is ours, one the argument; views and what was made of them count as more.
        if self._mapping is None or sys.getrefcount(self._mapping) == 2:
            return False
        self._mapping = None
        return True


class _Memory:
    """One piece of it, unmapped and closed with the object."""

    def __init__(self, size: int) -> None:
        self.descriptor = sealed.allocate(size)
        weakref.finalize(self, os.close, self.descriptor)
        self.mapping = mmap.mmap(self.descriptor, size)
