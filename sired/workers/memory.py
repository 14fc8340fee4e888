"""What this process holds of the machine's memory."""

import contextlib
import ctypes
import resource
from pathlib import Path

_KIB = 1024
# clear_refs(5): "reset the peak resident set size to the current one", proc(5).
_RESET_PEAK = b"5"
# A smaller rise of the high-water mark is not worth walking all mappings for.
_RISE_WORTH_A_LOOK = 1024 * 1024


def resident_bytes() -> tuple[int, int]:
    """Bytes in memory that only this process has, which its end gives back, and shared ones."""
    private = shared = 0
    with Path("/proc/self/smaps_rollup").open("rb") as rollup:
        for line in rollup:
            if line.startswith(b"Private_"):
                private += int(line.split()[1])
            elif line.startswith(b"Shared_"):
                shared += int(line.split()[1])
    return private * _KIB, shared * _KIB


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

    After loading, the process holds the larger of its private bytes and of what it held before
    plus the model's weights: weights in a mapped file come into memory only as they are read.

    The peak after that is ``private + rise of the high-water mark - rise of the shared bytes``,
    and at least what it holds. Weights that are read in later raise the mark from ``private``
    towards what is charged already, so they are not counted twice. Pages of libraries that the
    zygote has too raise the mark as well, but cost nothing: those are the shared bytes. They stay
    once they are there, so reading them after the peak reads what they were at the peak.
    """

    def __init__(self) -> None:
        self._before, _ = resident_bytes()
        self._private = self._shared = self._mark = self._seen = self._peak = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        give_back_freed()
        # Loading may have needed more for a moment than any inference will.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_bytes(_RESET_PEAK)
        self._private, self._shared = resident_bytes()
        self._mark = self._seen = highest_resident_bytes()
        self._peak = max(self._private, self._before + weight_bytes)
        return self._peak

    def peak(self) -> int:
        """The most bytes the process has held since it was settled."""
        mark = highest_resident_bytes()
        if mark - self._seen >= _RISE_WORTH_A_LOOK:
            self._seen = mark
            _, shared = resident_bytes()
            risen = mark - self._mark - max(0, shared - self._shared)
            self._peak = max(self._peak, self._private + risen)
        return self._peak
