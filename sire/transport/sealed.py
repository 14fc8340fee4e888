"""Memory passed to another process by descriptor, sealed so that it cannot shrink.

Reading mapped memory that was truncated raises SIGBUS; the seals prevent that.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable

from sire.errors import ProtocolError
from sire.protocol.content import Buffer

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def create(parts: Iterable[tuple[int, Buffer]], size: int) -> int:
    """Write parts at their offsets into new sealed memory of ``size`` bytes; returns its fd."""
    descriptor = allocate(size)
    try:
        for offset, part in parts:
            _write(descriptor, part, offset)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def allocate(size: int) -> int:
    """Allocate memory of a fixed ``size`` in bytes; returns its descriptor."""
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

    The mapping is private: a model that computes in place writes to its own copy.

    Raises:
        ProtocolError: the memory may shrink, is shorter than ``size``, or cannot be mapped.
    """
    _check(descriptor, size)
    return _map(descriptor, size, mmap.ACCESS_COPY)


def map_shared(descriptor: int, size: int) -> mmap.mmap:
    """Map the whole memory, at least ``size`` bytes, shared with its sender.

    Raises:
        ProtocolError: the memory may shrink, is shorter than ``size``, or cannot be mapped.
    """
    _check(descriptor, size)
    return _map(descriptor, 0, mmap.ACCESS_DEFAULT)


def _check(descriptor: int, size: int) -> None:
    if not _seals(descriptor) & fcntl.F_SEAL_SHRINK:
        raise ProtocolError("The payload is in shared memory that its sender could still truncate.")
    if (length := os.fstat(descriptor).st_size) < size:
        raise ProtocolError(f"The shared memory has {length} bytes; the message specifies {size}.")


def _map(descriptor: int, size: int, access: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, size, access=access)
    except OSError as problem:  # larger than the address space allows
        raise ProtocolError(
            f"The shared memory received cannot be mapped: {problem.strerror}."
        ) from None


def _seals(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        return 0  # not a memfd
