"""What a model starts besides its worker, and that nothing of it stays behind.

1. A worker adopts what its children leave behind: who starts a process, and that one another, and
   goes, leaves it to the worker and not to the system's first process.
2. A worker that ends by itself ends all its descendants first.
3. One that is killed leaves them to the daemon, which adopts as well, knows that none of its own
   children leads a session but workers, and ends the others.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
# The kernel ends a process within milliseconds, unless a driver holds it.
_PATIENCE_SECONDS = 1.0
_PAUSE_SECONDS = 0.001
# Children that have ended and that nobody asked about: so many may be somebody's still.
_UNCLAIMED = 100

_workers: set[int] = set()


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spare(worker: int) -> None:
    """Count a process among the workers."""
    _workers.add(worker)


def spare_no_longer(worker: int) -> None:
    """A worker has ended."""
    _workers.discard(worker)


def end_orphans() -> None:
    """In the daemon: end what workers that are gone have left behind; blocks until it is gone."""
    session = os.getsid(0)
    _end(lambda pid: pid not in _workers and _session(pid) not in (session, None))


def end_descendants() -> None:
    """In a worker: end every descendant, and theirs."""
    _end(lambda _: True)


def forget_the_dead() -> None:
    """In a worker: let go of children that ended long ago, if there are many.

    What was adopted nobody asks about, and each takes a process id.
    """
    dead = [pid for pid in _children() if _ended(pid)]
    for pid in dead[:-_UNCLAIMED]:
        _reap(pid)


def _end(is_meant: Callable[[int], bool]) -> None:
    """End the children that are meant, and those that they leave to us by that."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (meant := [pid for pid in _children() if is_meant(pid)]) and time.monotonic() < deadline:
        for pid in meant:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            _reap(pid)
        time.sleep(_PAUSE_SECONDS)


def _children() -> Iterator[int]:
    """This process's children, the oldest first; those of each of its threads."""
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            yield from map(int, listed.read_text("ascii").split())


def _ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # somebody has asked meanwhile
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def _session(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return None
