"""What this process holds of its GPU's memory."""

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pynvml

from sired.runtimes.base import InferenceRuntime

# What is in the lock file once the driver was seen to tell of each process.
_TELLS = b"by process"


class GpuLoadMeter:
    """What this process comes to hold of a GPU between construction and ``settle``.

    Where the driver does not tell what each process holds, which is so in many containers, the
    rise of the whole GPU is measured. Two loads at once would then count each other, so each waits
    until the one before it is settled. Who finds that the driver does tell writes that down, and
    nobody waits from then on.

    Args:
        uuid: of the GPU.
        lock: a file that all who load onto this GPU lock.
        nvml: the driver's library as a Python module, or one that behaves like it.
        held: bytes that the process held there before.
    """

    def __init__(self, uuid: str, lock: Path, nvml: Any = pynvml, held: int = 0) -> None:
        self._nvml = nvml
        self._uuid = uuid
        self._held = held
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.pread(self._lock, len(_TELLS), 0) != _TELLS:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._used_before = self._used()

    def settle(self) -> int:
        """Bytes that the process holds by now; 0 where there is no driver to ask."""
        try:
            return self._measure()
        finally:
            # Closing alone would not do: what the model started has the file open, too.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)

    def by_driver(self, others: Sequence[int] = ()) -> int | None:
        """Bytes that the driver says this process holds, with others; None if it does not say."""
        return self._used((os.getpid(), *others))

    def _measure(self) -> int:
        if (own := self.by_driver()) is not None:
            os.pwrite(self._lock, _TELLS, 0)
            return own
        # In a container the driver may not know our number. What the whole GPU has more than
        # before is ours, unless somebody else came or went meanwhile.
        now = self._used()
        if now is None or self._used_before is None:
            return 0
        return self._held + max(0, now - self._used_before)

    def _used(self, pids: Sequence[int] = ()) -> int | None:
        """Bytes in use on the GPU, by some processes or in all; None if the driver does not say."""
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
    """Open a CUDA context; returns the bytes it takes, 0 where there is no driver to ask."""
    share = GpuLoadMeter(uuid, lock, nvml)
    open_context()
    return share.settle()


class GpuMeter:
    """Measures a worker on a GPU: construct it before loading, ``settle`` it after.

    A runtime knows its own allocator. The CUDA context, the kernels loaded and what other
    libraries take come on top: what the driver counts after loading beyond what the runtime does.
    They are taken to stay as large, so the peak is that plus the peak of the runtime.

    Args:
        share: of the GPU, which is this process's.
        runtime: the one that loads the model.
    """

    def __init__(self, share: GpuLoadMeter, runtime: InferenceRuntime) -> None:
        self._share = share
        self._runtime = runtime
        self._held = self._outside = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        inside = max(weight_bytes, self._runtime.peak_device_memory())
        self._held = max(inside, self._share.settle())
        self._outside = self._held - inside
        return self._held

    def asleep(self, weight_bytes: int) -> int:  # noqa: ARG002
        """Bytes the process still holds: its context, and what the runtime could not give back."""
        return self.awake()

    def awake(self) -> int:
        """Bytes the process holds once its weights are back."""
        inside = self._runtime.peak_device_memory()
        return max(self._outside + inside, self._share.by_driver() or 0)

    def held_by(self, others: Sequence[int]) -> int:
        """Bytes that this process and these hold now; 0 where the driver does not say."""
        return self._share.by_driver(others) or 0

    def peak(self) -> int:
        """The most bytes the process has held so far."""
        return max(self._held, self._outside + self._runtime.peak_device_memory())
