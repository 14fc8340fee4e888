"""Moves the zygote's memory into huge pages, which makes forking and ending workers faster.

A fork copies the entry of each page, and the end of a process visits each of them: 150 MB of
objects in small pages are 40,000 entries, which takes milliseconds each time. Collapsing them into
huge pages takes a third of a second, once. It is done page by page while no worker is started, so
that a worker started in between waits for one page at most.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path

HUGE = 2 << 20
# From Linux 6.1 on; madvise(2). Earlier kernels refuse, and nothing changes.
_COLLAPSE = 25
# After the last fork, and between two pages.
IDLE_SECONDS = 2.0
PAUSE_SECONDS = 0.01


class HugePages:
    """The zygote's private memory, one huge page after another.

    Attributes:
        pause: seconds to wait for a request before ``collapse_next`` is due; None for as long as
            no worker has been forked, and once all is done.
    """

    def __init__(self) -> None:
        self.pause: float | None = None
        self._left: Iterator[int] | None = None
        self._done = False
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def wait(self) -> None:
        """Wait after a fork: another may follow."""
        self.pause = None if self._done else IDLE_SECONDS

    def collapse_next(self) -> None:
        """Collapse the next page."""
        if self._left is None:
            self._left = huge_addresses(Path("/proc/self/maps").read_text("utf-8"))
        address = next(self._left, None)
        if address is None:
            self._done, self.pause = True, None
            return
        self._madvise(address, HUGE, _COLLAPSE)
        self.pause = PAUSE_SECONDS


def huge_addresses(maps: str) -> Iterator[int]:
    """The addresses of the huge pages that fit into writable anonymous memory.

    Args:
        maps: the content of ``/proc/PID/maps``.
    """
    for line in maps.splitlines():
        addresses, permissions, _, _, inode, *_ = line.split(maxsplit=5)
        if permissions != "rw-p" or inode != "0":
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        yield from range(-(-start // HUGE) * HUGE, end - HUGE + 1, HUGE)
