"""Has the zygote's memory lie in huge pages, which are forked, looked at and given back sooner.

A fork copies the entry of each page, and the end of a process visits each of them: with 150 MB of
objects and small pages that is 40,000 of them, milliseconds each time. To bring them together takes
a third of a second once. It is done piece by piece while nobody wants a worker, so that who comes
in between waits for one piece at most.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

HUGE = 2 << 20
# From Linux 6.1 on; madvise(2). Earlier kernels refuse, and everything stays as it was.
_COLLAPSE = 25
# After the last fork, and between two pieces.
QUIET_SECONDS = 2.0
PAUSE_SECONDS = 0.01


def gather_when_quiet() -> None:
    """Begin once no worker has been forked for a while; call this in the zygote."""
    pieces = Pieces()
    signal.signal(signal.SIGALRM, lambda *_: pieces.gather_one())
    os.register_at_fork(
        after_in_parent=pieces.wait_for_quiet,
        # Timers are not inherited; handlers are.
        after_in_child=lambda: signal.signal(signal.SIGALRM, signal.SIG_DFL),
    )


class Pieces:
    """This process' memory of its own, a huge page after another."""

    def __init__(self) -> None:
        self._left: Iterator[int] | None = None
        self._done = False
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def wait_for_quiet(self) -> None:
        """Somebody was just forked: others may follow."""
        if not self._done:
            signal.setitimer(signal.ITIMER_REAL, QUIET_SECONDS)

    def gather_one(self) -> None:
        """Bring the next piece into a huge page, and go on soon."""
        if self._left is None:
            self._left = huge_places(Path("/proc/self/maps").read_text("utf-8"))
        place = next(self._left, None)
        if place is None:
            self._done = True
            return
        self._madvise(place, HUGE, _COLLAPSE)
        signal.setitimer(signal.ITIMER_REAL, PAUSE_SECONDS)


def huge_places(maps: str) -> Iterator[int]:
    """Where huge pages fit into memory that may be written to and is of no file."""
    for line in maps.splitlines():
        addresses, permissions, _, _, inode, *_ = line.split(maxsplit=5)
        if permissions != "rw-p" or inode != "0":
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        yield from range(-(-start // HUGE) * HUGE, end - HUGE + 1, HUGE)
