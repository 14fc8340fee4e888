"""What this process holds of the machine's memory."""

import contextlib
import ctypes
import resource
from pathlib import Path

_KIB = 1024
# clear_refs(5): "reset the peak resident set size to the current one", proc(5).
_RESET_PEAK = b"5"
# A smaller rise of the high-water mark is not worth a look.
_RISE_WORTH_A_LOOK = 1024 * 1024
_PAGE = resource.getpagesize()


def private_bytes() -> int:
    """Bytes in memory that only this process has: what its end gives back.

    Takes milliseconds, because the kernel looks at every page of every mapping.
    """
    total = 0
    with Path("/proc/self/smaps_rollup").open("rb") as rollup:
        for line in rollup:
            if line.startswith(b"Private_"):
                total += int(line.split()[1])
    return total * _KIB


def resident_bytes() -> tuple[int, int]:
    """Bytes in memory that belong to no file, and those of mapped files; both however shared."""
    _, resident, of_files, *_ = Path("/proc/self/statm").read_bytes().split()
    return (int(resident) - int(of_files)) * _PAGE, int(of_files) * _PAGE


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

    After loading, the process holds its private bytes and those weights that loading has not
    brought into memory: weights in a mapped file come in only as they are read. So::

        held = private + max(0, weights - rise of the resident bytes while loading)

    Inference raises the high-water mark of the resident bytes. Of that rise, pages of files count
    only up to the weights charged in advance: the others are libraries that the zygote has too,
    and what is read of files can be dropped by the kernel::

        peak = private + rise of the mark - rise of the file pages
                       + min(rise of the file pages, held - private)

    and at least what is held. File pages stay once they are there, so reading them after the peak
    reads what they were at the peak.
    """

    def __init__(self) -> None:
        self._before = sum(resident_bytes())
        self._private = self._held = self._peak = self._of_files = self._mark = self._seen = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        anonymous = self._begin_anew()
        brought_in = anonymous + self._of_files - self._before
        self._held = self._peak = self._private + max(0, weight_bytes - max(0, brought_in))
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

    def _begin_anew(self) -> int:
        """Look at everything as it is now; returns the bytes that belong to no file."""
        give_back_freed()
        # Loading may have needed more for a moment than any inference will.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_bytes(_RESET_PEAK)
        self._private = private_bytes()
        anonymous, self._of_files = resident_bytes()
        self._mark = self._seen = highest_resident_bytes()
        return anonymous

    def peak(self) -> int:
        """The most bytes the process has held since it was settled."""
        mark = highest_resident_bytes()
        if mark - self._seen >= _RISE_WORTH_A_LOOK:
            self._seen = mark
            of_files = max(0, resident_bytes()[1] - self._of_files)
            risen = mark - self._mark - of_files + min(of_files, self._held - self._private)
            self._peak = max(self._peak, self._private + risen)
        return self._peak
