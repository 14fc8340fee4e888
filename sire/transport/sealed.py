"""Memory passed to another process by descriptor, sealed so that it cannot shrink.

Reading mapped memory that was truncated raises SIGBUS; the seals prevent that.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable

from sire.errors import ProtocolError, SireError
from sire.protocol.content import Buffer

_NAMES = {
    fcntl.F_SEAL_SHRINK: "F_SEAL_SHRINK",
    fcntl.F_SEAL_GROW: "F_SEAL_GROW",
    fcntl.F_SEAL_WRITE: "F_SEAL_WRITE",
}
# The unit in which fstat(2) counts what is allocated.
_BLOCK = 512
_FINAL = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def create(parts: Iterable[tuple[int, Buffer]], size: int, *, final: bool = False) -> int:
    """Write parts at their offsets into new sealed memory of ``size`` bytes; returns its fd.

    If ``final``, no process can write to it afterwards.
    """
    descriptor = allocate(size, seals=0 if final else _SEALS)
    try:
        for offset, part in parts:
            _write(descriptor, part, offset)
        if final:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_WRITE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def allocate(size: int, *, seals: int = _SEALS) -> int:
    """Allocate memory of ``size`` bytes, which the seals fix; returns its descriptor."""
    descriptor = os.memfd_create("sire", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
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


def kept(descriptor: int) -> int:
    """Another descriptor of the same memory.

    Raises:
        ProtocolError: there is none left.
    """
    try:
        return os.dup(descriptor)
    except OSError as problem:
        raise ProtocolError(
            f"The memory of a payload cannot be kept open: {problem.strerror}.",
            hint="Check the limit of open files: ulimit -n",
        ) from None


def check_final(descriptor: int, size: int) -> None:
    """Check that no process can write to memory any more or change its size, and that it is there.

    Reading a page that was never written could fail, which ends a process.

    Raises:
        ProtocolError: one could, or fewer than ``size`` bytes were written.
    """
    if missing := _FINAL & ~_seals(descriptor):
        names = ", ".join(name for seal, name in _NAMES.items() if seal & missing)
        raise ProtocolError(
            f"The payload's memory lacks the seals {names}: its sender could still change it.",
            hint="Write the payload to a memfd, add the seals, and only then pass its descriptor.",
        )
    written = os.fstat(descriptor).st_blocks * _BLOCK
    if written < size:
        raise ProtocolError(f"Of the payload's {size} bytes only {written} were written.")


def not_allocated(size: int, problem: OSError) -> SireError:
    """The error of shared memory that could not be allocated; ``size`` in bytes."""
    return SireError(
        f"Shared memory of {size} bytes cannot be allocated: {problem.strerror}.",
        hint="Check the limit of open files: ulimit -n",
    )


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
