"""Memory that one large message after another is written to.

New memory has to be cleared by the kernel, page by page, before anything is written to it; that
takes longer than to write it. Who waits for the answer to each message can use the same again.
"""

import mmap
import os
import weakref
from collections.abc import Iterable

from sired.protocol.content import Buffer
from sired.transport import sealed

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


class _Memory:
    """One piece of it, unmapped and closed with the object."""

    def __init__(self, size: int) -> None:
        self.descriptor = sealed.allocate(size)
        weakref.finalize(self, os.close, self.descriptor)
        self.mapping = mmap.mmap(self.descriptor, size)
