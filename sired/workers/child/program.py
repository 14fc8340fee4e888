"""A model that other processes hold: what they take of the memory, and when they end."""

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence

from sired.workers.child.cpu_memory import CpuMeter, private_bytes
from sired.workers.child.gpu_memory import GpuMeter
from sired.workers.child.setup import leave

log = logging.getLogger("sired.worker")

# Looking at a large process takes milliseconds, so it is not done for every request.
_PAUSE_SECONDS = 1.0


class ProgramMeter:
    """Measures a worker together with the processes that hold its model.

    Args:
        own: measures the worker itself.
        processes: the ids of the others.
        elsewhere: bytes held by processes that nobody can look at.
    """

    def __init__(
        self,
        own: CpuMeter | GpuMeter,
        processes: Callable[[], Sequence[int]],
        elsewhere: int = 0,
    ) -> None:
        self._own = own
        self._processes = processes
        self._elsewhere = elsewhere
        self._peak = 0
        self._used = threading.Event()
        threading.Thread(target=self._watch, name="watch-memory", daemon=True).start()

    def settle(self, weight_bytes: int) -> int:  # noqa: ARG002 (weights are not in the worker)
        """Measure after loading: bytes that all of them hold from now on."""
        self._own.settle(0)
        self._peak = self._held()
        return self._peak

    def asleep(self, weight_bytes: int) -> int:  # noqa: ARG002 (what others hold does not sleep)
        """Bytes that all of them hold."""
        return self._held()

    def awake(self) -> int:
        """Bytes that all of them hold."""
        return self._held()

    def peak(self) -> int:
        """The most bytes they were seen to hold; what the latest request took is seen later."""
        self._used.set()
        return self._peak

    def _watch(self) -> None:
        while True:
            self._used.wait()
            self._used.clear()
            self._peak = max(self._peak, self._held())
            time.sleep(_PAUSE_SECONDS)

    def _held(self) -> int:
        pids = self._processes()
        if isinstance(self._own, GpuMeter):
            return max(self._elsewhere, self._own.held_by(pids) or self._own.peak())
        return self._own.peak() + sum(map(_private, pids)) + self._elsewhere


def _private(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        return private_bytes(pid)
    return 0


def end_with(pid: int) -> None:
    """End this process once another one has ended, which is a child of it."""
    descriptor = os.pidfd_open(pid)

    def watch() -> None:
        select.select([descriptor], [], [])
        said = "nobody could tell how"
        with contextlib.suppress(ChildProcessError):  # another thread was told first
            if how := os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT):
                said = _in_words(how)
        log.error("the program has ended: %s", said)
        leave(1)

    threading.Thread(target=watch, name="watch-program", daemon=True).start()


def _in_words(how: os.waitid_result) -> str:
    if how.si_code == os.CLD_EXITED:
        return f"exit code {how.si_status}"
    return f"killed by {signal.Signals(how.si_status).name}"
