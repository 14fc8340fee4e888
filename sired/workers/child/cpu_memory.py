"""Measures the main memory of this process."""

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
# Smaller increases of the high-water mark are ignored.
_MINIMUM_RISE = 1024 * 1024
_PAGE = resource.getpagesize()
# The highest of the 64 bits of a page's entry: the page is present; proc_pid_pagemap(5).
_PRESENT = np.uint64(63)


def private_bytes(pid: int | str = "self") -> int:
    """Private bytes of a process, which are released when it ends.

    Takes milliseconds, because the kernel visits every page of every mapping.
    """
    found = _rollup(pid)
    return found[b"Private_Clean:"] + found[b"Private_Dirty:"]


def _rollup(pid: int | str = "self") -> dict[bytes, int]:
    """The figures of /proc/PID/smaps_rollup, in bytes."""
    with Path(f"/proc/{pid}/smaps_rollup").open("rb") as rollup:
        next(rollup)  # the addresses
        return {name: int(size) * _KIB for name, size, _ in map(bytes.split, rollup)}


class Inherited:
    """The memory that workers share with the process that they were forked from.

    When that process ends, what its last worker had in common with it is private to the worker,
    although the model has not taken it. It is not counted: the next load would find it shared.

    Attributes:
        parent: the id of that process; 0 for a worker that was not forked from one.
        shared: bytes of memory that was shared with it when this was last counted.
    """

    parent = 0
    shared = 0

    @classmethod
    def take(cls) -> None:
        """Note what workers will inherit from this process; call it once all is imported."""
        cls.parent, cls.shared = os.getpid(), _rollup()[b"Anonymous:"]

    @classmethod
    def without(cls, found: dict[bytes, int]) -> int:
        """This process's private bytes without those that became so by the end of the other one.

        Args:
            found: the figures of ``smaps_rollup``.
        """
        private, shared = (
            found[b"Private_Clean:"] + found[b"Private_Dirty:"],
            found[b"Shared_Dirty:"],
        )
        if cls.parent and os.getppid() != cls.parent:
            return max(0, private - max(0, cls.shared - shared))
        cls.shared = shared  # the rest has been written to, and is this process's own
        return private


def resident_bytes() -> tuple[int, int]:
    """Resident bytes of anonymous memory and of mapped files, including shared ones."""
    _, resident, of_files, *_ = Path("/proc/self/statm").read_bytes().split()
    return (int(resident) - int(of_files)) * _PAGE, int(of_files) * _PAGE


def mappings() -> frozenset[bytes]:
    """The lines of /proc/self/maps; takes half a millisecond."""
    return frozenset(Path("/proc/self/maps").read_bytes().splitlines())


# Of the process that imported this module; the workers forked from it inherit them.
_INHERITED = mappings()


def inherited_mappings() -> frozenset[bytes]:
    """The lines of /proc/self/maps that this process had when it was forked."""
    return _INHERITED


def files_among(found: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """The address ranges of mapped files that are not libraries."""
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
    """Bytes of these ranges that are not resident yet."""
    absent = 0
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        for start, end in places:
            count = (end - start) // _PAGE
            entries = os.pread(pagemap.fileno(), 8 * count, 8 * (start // _PAGE))
            absent += count - int((np.frombuffer(entries, np.uint64) >> _PRESENT).sum())
    return absent * _PAGE


def highest_resident_bytes() -> int:
    """Peak resident bytes of this process, including shared ones, since the last reset.

    Valid in a forked process only: after exec, it includes the peak of the parent. It is read after
    every request; VmHWM, which does not have this flaw, takes twenty times as long.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def release_freed() -> None:
    """Have the C library return freed memory to the system, so that it is not counted."""
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


class CpuMeter:
    """Measures a worker on a CPU: construct it before loading, ``settle`` it after.

    After loading, the process holds its private bytes, and will hold the weights that it has not
    accessed yet: weights in a mapped file become resident only when they are used. So::

        held = private + min(weights, non-resident bytes of files mapped since the fork)

    Inference raises the high-water mark of the resident bytes. Of that increase, pages of files
    count only up to the weights charged in advance: the others are libraries shared with the
    zygote, and the kernel can drop pages of files::

        peak = private + increase of the mark - increase of the file pages
                       + min(increase of the file pages, held - private)

    and at least what is held. File pages stay resident, so their number after the peak is that at
    the peak.
    """

    def __init__(self) -> None:
        self._private = self._held = self._peak = self._of_files = self._mark = self._seen = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        self._reset()
        absent = absent_bytes(files_among(mappings() - _INHERITED))
        self._held = self._peak = self._private + min(weight_bytes, absent)
        return self._held

    def forget_peak(self) -> None:
        """Count only what the process still holds: what it did so far was a trial."""
        if self.peak() > self._held:
            self._count_again()

    def _count_again(self) -> None:
        self._reset()
        self._held = self._peak = max(self._held, self._private)

    def asleep(self, weight_bytes: int) -> int:
        """Bytes that the process holds besides its weights, which stay in place.

        Freed memory of inference is returned to the system, and the peak is reset.
        """
        self._count_again()
        return max(0, self._held - weight_bytes)

    def awake(self) -> int:
        """Bytes that the process holds, including its weights."""
        return self._held

    def _reset(self) -> None:
        """Reset the peak, and measure the current state."""
        release_freed()
        # Loading can need more memory temporarily than any inference.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_bytes(_RESET_PEAK)
        self._private = Inherited.without(_rollup())
        self._of_files = resident_bytes()[1]
        self._mark = self._seen = highest_resident_bytes()

    def peak(self) -> int:
        """Peak of the bytes that the process has held since ``settle``."""
        mark = highest_resident_bytes()
        if mark - self._seen >= _MINIMUM_RISE:
            self._seen = mark
            of_files = max(0, resident_bytes()[1] - self._of_files)
            risen = mark - self._mark - of_files + min(of_files, self._held - self._private)
            self._peak = max(self._peak, self._private + risen)
        return self._peak
