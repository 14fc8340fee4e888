"""Moves the zygote's memory into huge pages, which makes forking and ending workers faster.

A fork copies the entry of each page, and the end of a process visits each of them: 150 MB of
objects in small pages are 40,000 entries, which takes milliseconds each time. Collapsing them into
huge pages takes a third of a second, once. It is done page by page while no worker is started, so
that a worker started in between waits for one page at most.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

HUGE = 2 << 20
# From Linux 6.1 on; madvise(2). Earlier kernels refuse, and nothing changes.
_COLLAPSE = 25
# After the last fork, and between two pages.
IDLE_SECONDS = 2.0
PAUSE_SECONDS = 0.01


def collapse_when_idle() -> None:
    """Begin once no worker has been forked for a while; call this in the zygote."""
    pages = HugePages()
    signal.signal(signal.SIGALRM, lambda *_: pages.collapse_next())
    os.register_at_fork(after_in_parent=pages.restart_timer, after_in_child=pages.end_in_worker)


class HugePages:
    """The zygote's private memory, one huge page after another.

    Workers inherit what runs at each fork, but neither need the timer nor could survive it, because
    they take SIGALRM for themselves: in a worker, and in what a worker forks, this does nothing.
    """

    def __init__(self) -> None:
        self._in_zygote = True
        self._left: Iterator[int] | None = None
        self._done = False
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def restart_timer(self) -> None:
        """Wait after a fork: another may follow."""
        if self._in_zygote and not self._done:
            signal.setitimer(signal.ITIMER_REAL, IDLE_SECONDS)

    def end_in_worker(self) -> None:
        """Leave SIGALRM to the worker; what the worker installs, its own children keep."""
        if self._in_zygote:  # of this process's parent
            self._in_zygote = False
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def collapse_next(self) -> None:
        """Collapse the next page, and schedule the one after it."""
        if self._left is None:
            self._left = huge_addresses(Path("/proc/self/maps").read_text("utf-8"))
        address = next(self._left, None)
        if address is None:
            self._done = True
            return
        self._madvise(address, HUGE, _COLLAPSE)
        signal.setitimer(signal.ITIMER_REAL, PAUSE_SECONDS)


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
