"""What this process holds of its device's memory."""

import ctypes
import resource

_KIB = 1024


def private_bytes() -> int:
    """Bytes of memory that only this process has: what its end gives back."""
    total = 0
    with open("/proc/self/smaps_rollup", "rb") as rollup:  # noqa: PTH123 (read in every worker)
        for line in rollup:
            if line.startswith((b"Private_Clean:", b"Private_Dirty:")):
                total += int(line.split()[1]) * _KIB
    return total


def highest_resident_bytes() -> int:
    """The most bytes this process ever had in memory, pages shared with others included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def give_back_freed() -> None:
    """Have the C library return memory that was freed, so that it is not counted as in use."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # another C library than glibc
        return


class CpuMeter:
    """Measures a worker on a CPU: construct it before loading, ``settle`` it after.

    After loading the process holds the larger of its private bytes and of what it held before
    plus the model's weights (a mapped file comes into memory only as it is read). Its peak is
    that plus the growth of the high-water mark of its resident memory since; while mapped
    weights come in, the mark grows by pages that are counted already, and these are taken off.
    """

    def __init__(self) -> None:
        self._before = private_bytes()
        self._held = 0
        self._not_yet_in = 0
        self._mark = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        give_back_freed()
        private = private_bytes()
        self._held = max(private, self._before + weight_bytes)
        self._not_yet_in = self._held - private
        self._mark = highest_resident_bytes()
        return self._held

    def peak(self) -> int:
        """The most bytes the process has held so far."""
        grown = highest_resident_bytes() - self._mark
        return self._held + max(0, grown - self._not_yet_in)
