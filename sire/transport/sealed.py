"""Memory handed to another process by descriptor, sealed so that it cannot shrink.

Reading mapped memory that shrinks kills the reader with SIGBUS; the seals rule that out.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable

from sire.errors import ProtocolError
from sire.protocol.content import Buffer

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def create(parts: Iterable[tuple[int, Buffer]], size: int) -> int:
    """Write parts at their offsets into new memory of ``size`` bytes, seal it, return its fd."""
    descriptor = allocate(size)
    try:
        for offset, part in parts:
            _write(descriptor, part, offset)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def allocate(size: int) -> int:
    """New memory of ``size`` bytes that keeps its size; returns its descriptor."""
    descriptor = os.memfd_create("sire", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, part: Buffer, offset: int) -> None:
    rest = memoryview(part)
    # An array without elements has no bytes to cast to.
    rest = rest.cast("B") if rest.nbytes else memoryview(b"")
    while rest:  # Linux writes at most 2 GiB at a time
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def map_private(descriptor: int, size: int) -> mmap.mmap:
    """Map the first ``size`` bytes; the mapping lives as long as views of it.

    It is private: what writes to it all the same (a model that computes in place) writes to a copy
    of its own.

    Raises:
        ProtocolError: the memory may shrink, is shorter than that, or cannot be mapped.
    """
    _check(descriptor, size)
    return _map(descriptor, size, mmap.ACCESS_COPY)


def map_shared(descriptor: int, size: int) -> mmap.mmap:
    """Map all of it, of which there must be ``size`` bytes, as its sender sees and changes it.

    Raises:
        ProtocolError: as ``map_private``.
    """
    _check(descriptor, size)
    return _map(descriptor, 0, mmap.ACCESS_DEFAULT)


def _check(descriptor: int, size: int) -> None:
    if not _seals(descriptor) & fcntl.F_SEAL_SHRINK:
        raise ProtocolError("A payload came in memory that its sender could still take back.")
    if (length := os.fstat(descriptor).st_size) < size:
        raise ProtocolError(f"{length} bytes of shared memory came where {size} were announced.")


def _map(descriptor: int, size: int, access: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, size, access=access)
    except OSError as problem:  # larger than there is room for
        raise ProtocolError(
            f"The shared memory that came cannot be mapped: {problem.strerror}."
        ) from None


def _seals(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        return 0  # no memory at all
