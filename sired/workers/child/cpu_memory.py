"""What this process holds of the machine's memory."""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

_KIB = 1024
# clear_refs(5): "reset the peak resident set size to the current one", proc(5).
_RESET_PEAK = b"5"
# A smaller rise of the high-water mark is not worth a look.
_RISE_WORTH_A_LOOK = 1024 * 1024
_PAGE = resource.getpagesize()
# Of the 64 bits that tell of a page, the highest: it is mapped; proc_pid_pagemap(5).
_PRESENT = np.uint64(63)


def private_bytes(pid: int | str = "self") -> int:
    """Bytes in memory that only this process, or another one, has: what its end gives back.

    Takes milliseconds, because the kernel looks at every page of every mapping.
    """
    total = 0
    with Path(f"/proc/{pid}/smaps_rollup").open("rb") as rollup:
        for line in rollup:
            if line.startswith(b"Private_"):
                total += int(line.split()[1])
    return total * _KIB


def resident_bytes() -> tuple[int, int]:
    """Bytes in memory that belong to no file, and those of mapped files; both however shared."""
    _, resident, of_files, *_ = Path("/proc/self/statm").read_bytes().split()
    return (int(resident) - int(of_files)) * _PAGE, int(of_files) * _PAGE


def mappings() -> frozenset[bytes]:
    """Every mapping of this process, as the kernel describes it; takes half a millisecond."""
    return frozenset(Path("/proc/self/maps").read_bytes().splitlines())


# Those of the process that this module was imported in, which the workers forked from it have, too.
_INHERITED = mappings()


def files_among(found: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Where these mappings are of files that are no libraries."""
    places: dict[bytes, list[tuple[int, int]]] = {}
    others = {b"00:00 0"}
    for line in found:
        addresses, permissions, _, device, inode, *_ = line.split(maxsplit=5)
        file = device + b" " + inode
        start, _, end = addresses.partition(b"-")
        places.setdefault(file, []).append((int(start, 16), int(end, 16)))
        if b"x" in permissions:
            others.add(file)
    return (place for file, of in places.items() if file not in others for place in of)


def absent_bytes(places: Iterable[tuple[int, int]]) -> int:
    """Bytes of mappings that this process has not come to, and so does not hold yet."""
    absent = 0
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        for start, end in places:
            count = (end - start) // _PAGE
            entries = os.pread(pagemap.fileno(), 8 * count, 8 * (start // _PAGE))
            absent += count - int((np.frombuffer(entries, np.uint64) >> _PRESENT).sum())
    return absent * _PAGE


def highest_resident_bytes() -> int:
    """The most bytes this process had in memory, shared ones included, since the last reset.

    A forked process only: one that was executed is told the peak of what forked it, too. It is
    asked after every request, and VmHWM, which has no such flaw, takes twenty times as long.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def give_back_freed() -> None:
    """Have the C library return memory that was freed, so that it is not counted as in use."""
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


class CpuMeter:
    """Measures a worker on a CPU: construct it before loading, ``settle`` it after.

    After loading, the process holds its private bytes and those weights that it has not come to:
    weights in a mapped file come in only as they are used. So::

        held = private + min(weights, what is absent of files mapped since the fork)

    Inference raises the high-water mark of the resident bytes. Of that rise, pages of files count
    only up to the weights charged in advance: the others are libraries that the zygote has too,
    and what is read of files can be dropped by the kernel::

        peak = private + rise of the mark - rise of the file pages
                       + min(rise of the file pages, held - private)

    and at least what is held. File pages stay once they are there, so reading them after the peak
    reads what they were at the peak.
    """

    def __init__(self) -> None:
        self._private = self._held = self._peak = self._of_files = self._mark = self._seen = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        self._begin_anew()
        absent = absent_bytes(files_among(mappings() - _INHERITED))
        self._held = self._peak = self._private + min(weight_bytes, absent)
        return self._held

    def asleep(self, weight_bytes: int) -> int:
        """Bytes the process holds beside its weights, which stay where they are.

        What inference took and freed goes back to the system, and the peak begins anew.
        """
        self._begin_anew()
        self._held = self._peak = max(self._held, self._private)
        return max(0, self._held - weight_bytes)

    def awake(self) -> int:
        """Bytes the process holds, its weights with it."""
        return self._held

    def _begin_anew(self) -> None:
        """Look at everything as it is now."""
        give_back_freed()
        # Loading may have needed more for a moment than any inference will.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_bytes(_RESET_PEAK)
        self._private = private_bytes()
        self._of_files = resident_bytes()[1]
        self._mark = self._seen = highest_resident_bytes()

    def peak(self) -> int:
        """The most bytes the process has held since it was settled."""
        mark = highest_resident_bytes()
        if mark - self._seen >= _RISE_WORTH_A_LOOK:
            self._seen = mark
            of_files = max(0, resident_bytes()[1] - self._of_files)
            risen = mark - self._mark - of_files + min(of_files, self._held - self._private)
            self._peak = max(self._peak, self._private + risen)
        return self._peak
