"""What this process holds of its GPU's memory."""

import os
from typing import Any

import pynvml

from sired.runtimes.base import InferenceRuntime


class GpuMeter:
    """Measures a worker on a GPU: construct it before loading, ``settle`` it after.

    A runtime knows its own allocator. The CUDA context, the kernels loaded and what other
    libraries take come on top: what the driver counts after loading beyond what the runtime does.
    They are taken to stay as large, so the peak is that plus the peak of the runtime.

    Args:
        uuid: of the GPU.
        runtime: the one that loads the model.
        nvml: the driver's library as a Python module, or one that behaves like it.
    """

    def __init__(self, uuid: str, runtime: InferenceRuntime, nvml: Any = pynvml) -> None:
        self._runtime = runtime
        self._nvml = nvml
        self._uuid = uuid
        self._used_by_others = self._used()
        self._held = self._outside = 0

    def settle(self, weight_bytes: int) -> int:
        """Measure after loading: bytes the process holds from now on."""
        inside = max(weight_bytes, self._runtime.peak_device_memory())
        self._held = max(inside, self._by_driver())
        self._outside = self._held - inside
        return self._held

    def asleep(self, weight_bytes: int) -> int:  # noqa: ARG002
        """Bytes the process still holds: its context, and what the runtime could not give back."""
        return self.awake()

    def awake(self) -> int:
        """Bytes the process holds once its weights are back."""
        inside = self._runtime.peak_device_memory()
        return max(self._outside + inside, self._used(os.getpid()) or 0)

    def peak(self) -> int:
        """The most bytes the process has held so far."""
        return max(self._held, self._outside + self._runtime.peak_device_memory())

    def _by_driver(self) -> int:
        """What the driver charges this process; 0 where there is none to ask."""
        if (own := self._used(os.getpid())) is not None:
            return own
        # In a container the driver may not know our number. What the whole GPU has more than
        # before is ours, unless somebody else came or went meanwhile.
        now = self._used()
        if now is None or self._used_by_others is None:
            return 0
        return max(0, now - self._used_by_others)

    def _used(self, pid: int | None = None) -> int | None:
        """Bytes in use on the GPU, by one process or in all; None if the driver does not say."""
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            handle = nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            if pid is None:
                return int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except nvml.NVMLError:
            return None
        return next((p.usedGpuMemory for p in processes if p.pid == pid and p.usedGpuMemory), None)
