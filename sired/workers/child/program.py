"""Supervises the other processes that hold a model: measures their memory, and ends with them."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from sired.runtimes.support.exit_status import described, wait_for_exit
from sired.workers.child.cpu_memory import CpuMeter, private_bytes
from sired.workers.child.gpu_memory import GpuMeter
from sired.workers.child.setup import exit_process

log = logging.getLogger("sired.worker")

# Measuring a large process takes milliseconds, so it is not done for every request.
_INTERVAL_SECONDS = 1.0


class ProgramMeter:
    """Measures a worker together with the processes that hold its model.

    Args:
        own: measures the worker itself.
        processes: returns the ids of the others.
        external: bytes held by processes that cannot be measured.
    """

    def __init__(
        self,
        own: CpuMeter | GpuMeter,
        processes: Callable[[], Sequence[int]],
        external: int = 0,
    ) -> None:
        self._own = own
        self._processes = processes
        self._external = external
        self._peak = 0
        self._used = threading.Event()
        threading.Thread(target=self._watch, name="watch-memory", daemon=True).start()

    def settle(self, weight_bytes: int) -> int:  # noqa: ARG002 (weights are not in the worker)
        """Measure after loading; returns the bytes that all processes hold."""
        self._own.settle(0)
        self._peak = self._held()
        return self._peak

    def forget_peak(self) -> None:
        """Count only what all processes hold now."""
        self._peak = self._held()

    def asleep(self, weight_bytes: int) -> int:  # noqa: ARG002 (other processes do not sleep)
        """Bytes that all processes hold."""
        return self._held()

    def awake(self) -> int:
        """Bytes that all processes hold."""
        return self._held()

    def peak(self) -> int:
        """Peak of the measured bytes; the latest request is measured with a delay."""
        self._used.set()
        return self._peak

    def _watch(self) -> None:
        while True:
            self._used.wait()
            self._used.clear()
            self._peak = max(self._peak, self._held())
            time.sleep(_INTERVAL_SECONDS)

    def _held(self) -> int:
        pids = self._processes()
        if isinstance(self._own, GpuMeter):
            held = max(self._external, self._own.held_by(pids) or self._own.peak())
            # Nothing is held only where that is certain; how much it is otherwise is unknown.
            return held or int(self._own.is_used_by(pids))
        return self._own.peak() + sum(map(_private, pids)) + self._external


def _private(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended
        return private_bytes(pid)
    return 0


def end_with(pid: int) -> None:
    """End this process when one of its child processes has ended."""
    pidfd = os.pidfd_open(pid)

    def watch() -> None:
        status = "exit code unknown"
        with contextlib.suppress(ChildProcessError):  # another thread has reaped it
            if (code := wait_for_exit(pidfd)) is not None:
                status = described(code)
        log.error("the program has ended: %s", status)
        exit_process(1)

    threading.Thread(target=watch, name="watch-program", daemon=True).start()
