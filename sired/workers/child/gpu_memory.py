"""Measures the GPU memory of this process."""

import fcntl
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pynvml

from sired.runtimes.base import InferenceRuntime
from sired.workers.child.cuda_context import may_have_context

# The content of the lock file once the driver is known to report memory per process.
_PER_PROCESS = b"by process"
_ASK_SECONDS = 0.25
# How often a load that waits for another one looks for its end, and reports that it waits.
_RETRY_SECONDS = 0.02
_REPORT_SECONDS = 1.0


class GpuLoadMeter:
    """Measures what this process allocates on a GPU between construction and ``settle``.

    If the driver does not report memory per process, as in many containers, the increase of the
    whole GPU is measured. Concurrent loads would count each other then, so each waits until the
    previous one is settled, and reports meanwhile that it is alive. A process that finds that the
    driver does report it, for itself or for the program that it has started, records that in the
    lock file, and no process waits from then on.

    Args:
        uuid: of the GPU.
        lock: the file that processes lock while they load onto this GPU.
        nvml: the driver's library as a Python module, or a substitute.
        held: bytes that the process held there before.
        waiting: called about once a second while it waits for another load.
    """

    def __init__(
        self,
        uuid: str,
        lock: Path,
        nvml: Any = pynvml,
        held: int = 0,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._nvml = nvml
        self._uuid = uuid
        self._held = held
        self._path = lock
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._per_process = self._is_per_process()
        if not self._per_process:
            self._wait(waiting)
        self._used_before = self._used()

    def settle(self) -> int:
        """Bytes that the process holds; 0 without a driver."""
        try:
            return self._measure()
        finally:
            # Closing is not sufficient: the model's descendants have the file open, too.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)

    def _is_per_process(self) -> bool:
        return os.pread(self._lock, len(_PER_PROCESS), 0) == _PER_PROCESS

    def _wait(self, waiting: Callable[[], None]) -> None:
        """Wait for the lock; a load that waits for long must not be taken for one that hangs."""
        report_at = time.monotonic() + _REPORT_SECONDS
        while not self._is_per_process():
            with suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_RETRY_SECONDS)
            if time.monotonic() >= report_at:
                report_at = time.monotonic() + _REPORT_SECONDS
                waiting()

    def by_driver(self, others: Sequence[int] = ()) -> int | None:
        """Bytes of this process and others by the driver; None if it does not report them."""
        used = self._used((os.getpid(), *others))
        if used is not None and not self._per_process:
            self._per_process = True
            # The descriptor is closed by the time that a program is measured.
            self._path.write_bytes(_PER_PROCESS)
        return used

    def _measure(self) -> int:
        if (own := self.by_driver()) is not None:
            return own
        # In a container the driver may not know this process's id. The increase of the whole GPU is
        # this process's, unless other processes changed theirs meanwhile.
        now = self._used()
        if now is None or self._used_before is None:
            return 0
        return self._held + max(0, now - self._used_before)

    def _used(self, pids: Sequence[int] = ()) -> int | None:
        """Bytes in use on the GPU, in total or by processes; None if they are not reported."""
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            handle = nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            if not pids:
                return int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except nvml.NVMLError:
            return None
        return sum(p.usedGpuMemory or 0 for p in processes if p.pid in pids) or None


def measured_context(
    uuid: str, lock: Path, open_context: Callable[[], None], nvml: Any = pynvml
) -> int:
    """Open a CUDA context; returns the bytes that it takes, 0 without a driver."""
    share = GpuLoadMeter(uuid, lock, nvml)
    open_context()
    return share.settle()


class GpuMeter:
    """Measures a worker on a GPU: construct it before loading, ``settle`` it after.

    A runtime knows its own allocator. The CUDA context, loaded kernels and other libraries are
    additional: the difference between the driver's and the runtime's figures, so the peak is that
    difference plus the runtime's peak. Kernels are loaded with the first requests, and not every
    library has an allocator that can be asked, so the driver is asked again after requests.

    A model that does not use the GPU, as a class may decide, holds nothing there: its weights are
    in main memory. It may begin to use the GPU with any request.

    Args:
        share: measures this process's memory on the GPU.
        runtime: that loads the model.
        clock: returns the time in seconds.
        uses_gpu: returns whether any of these processes may hold memory of the GPU.
    """

    def __init__(
        self,
        share: GpuLoadMeter,
        runtime: InferenceRuntime,
        clock: Callable[[], float] = time.monotonic,
        uses_gpu: Callable[[Sequence[int]], bool] = may_have_context,
    ) -> None:
        self._share = share
        self._runtime = runtime
        self._clock = clock
        self._uses_gpu = uses_gpu
        self._held = self._overhead = self._weights = 0
        self._ask_at = -math.inf

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading; returns the bytes that the process holds.

        What only the load needed, such as the weights in another precision, is returned before.
        """
        self._runtime.release_unused_memory()
        self._weights = weight_bytes
        least = weight_bytes if self.is_used_by(()) else 0
        inside = max(least, self._runtime.peak_device_memory())
        self._held = max(inside, self._share.settle())
        self._overhead = self._held - inside
        return self._held

    def forget_peak(self) -> None:
        """Count only what the process still holds: what it did so far was a trial."""
        self._runtime.release_unused_memory()
        # A library without a counter, unknown to the driver: it holds what it held before.
        if self._runtime.peak_device_memory() or self._share.by_driver() is not None:
            self._held = self.awake()

    def asleep(self, weight_bytes: int) -> int:  # noqa: ARG002
        """Bytes that the process still holds: its context, and what the runtime did not release."""
        return self.awake()

    def awake(self) -> int:
        """Bytes that the process holds once its weights are restored."""
        inside = self._runtime.peak_device_memory()
        return max(self._overhead + inside, self._share.by_driver() or 0)

    def held_by(self, others: Sequence[int]) -> int:
        """Bytes that this process and others hold; 0 if the driver does not report it."""
        return self._share.by_driver(others) or 0

    def is_used_by(self, others: Sequence[int]) -> bool:
        """Whether this process or one of the others may hold memory of the GPU."""
        return self._uses_gpu((os.getpid(), *others))

    def peak(self) -> int:
        """Peak of the bytes that the process has held.

        The driver, which takes up to a millisecond, is asked a few times a second at most.
        """
        inside, now = self._runtime.peak_device_memory(), self._clock()
        if now >= self._ask_at:
            self._ask_at = now + _ASK_SECONDS
            by_driver = self._share.by_driver() or 0
            self._overhead = max(self._overhead, by_driver - inside)
            self._held = max(self._held, by_driver)
            if not self._held and self._weights and self.is_used_by(()):
                self._held = self._weights
        return max(self._held, self._overhead + inside)
