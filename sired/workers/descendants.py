"""Ensures that no process that a model started outlives its worker.

1. A worker is a subreaper: it, and not the init process, adopts descendants whose parent has ended.
2. A worker that ends by itself kills all its descendants first.
3. The daemon is a subreaper as well, and adopts the descendants of killed workers. Of its own
   children only workers lead sessions, so it kills the others that do.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
# The kernel ends a process within milliseconds, unless a driver blocks it.
_PATIENCE_SECONDS = 1.0
_PAUSE_SECONDS = 0.001
# Ended children up to this number are kept, because a parent may still wait for them.
_MAX_ZOMBIES = 100

_workers: set[int] = set()


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def add_worker(worker: int) -> None:
    """Register the process of a worker, which ``end_orphans`` leaves alone."""
    _workers.add(worker)


def remove_worker(worker: int) -> None:
    """Unregister a worker that has ended."""
    _workers.discard(worker)


def end_orphans() -> None:
    """In the daemon: kill what ended workers have left behind, and wait until it has ended."""
    session = os.getsid(0)
    _end(lambda pid: pid not in _workers and _session(pid) not in (session, None))


def end_descendants() -> None:
    """In a worker: kill all descendants."""
    _end(lambda _: True)


def reap_zombies() -> None:
    """In a worker: reap children that have ended, except the latest ones.

    Adopted children are reaped by nothing else, and each occupies a process id.
    """
    dead = [pid for pid in _children() if _ended(pid)]
    for pid in dead[:-_MAX_ZOMBIES]:
        _reap(pid)


def _end(selects: Callable[[int], bool]) -> None:
    """Kill the selected children, and those that are adopted as a result."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := [pid for pid in _children() if selects(pid)]) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            _reap(pid)
        time.sleep(_PAUSE_SECONDS)


def _children() -> Iterator[int]:
    """The children of this process, per thread, the oldest first."""
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            yield from map(int, listed.read_text("ascii").split())


def _ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # it has been reaped meanwhile
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def _session(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return None
