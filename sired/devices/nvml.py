"""NVIDIA GPUs, through the driver's management library. Nothing here opens a CUDA context."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from sired.devices.base import Hardware, Reading

Value = TypeVar("Value")


class NvmlProbe:
    """Finds and reads GPUs; a machine without the driver has none.

    Args:
        nvml: the library's Python module, or one that behaves like it.
    """

    kind = "cuda"

    def __init__(self, nvml: Any = pynvml) -> None:
        self._nvml = nvml
        self._handles: dict[str, Any] = {}

    def find(self) -> list[Hardware]:
        """All GPUs by PCI bus address, the order CUDA is told to number them in."""
        try:
            self._nvml.nvmlInit()
            handles = [
                self._nvml.nvmlDeviceGetHandleByIndex(number)
                for number in range(self._nvml.nvmlDeviceGetCount())
            ]
            handles.sort(key=lambda handle: self._nvml.nvmlDeviceGetPciInfo(handle).busId)
            return [self._hardware(index, handle) for index, handle in enumerate(handles)]
        except self._nvml.NVMLError:
            return []

    def _hardware(self, index: int, handle: Any) -> Hardware:
        uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        self._handles[uuid] = handle
        return Hardware(
            kind="cuda",
            index=index,
            model=_text(self._nvml.nvmlDeviceGetName(handle)),
            uuid=uuid,
            total_bytes=self._nvml.nvmlDeviceGetMemoryInfo(handle).total,
        )

    def read(self, hardware: Hardware) -> Reading | None:
        """Read one GPU; None when it has fallen off the bus."""
        handle = self._handles[hardware.uuid]
        memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is None:
            return None
        usage = self._ask(self._nvml.nvmlDeviceGetUtilizationRates, handle)
        kind = self._nvml.NVML_TEMPERATURE_GPU
        temperature = self._ask(self._nvml.nvmlDeviceGetTemperature, handle, kind)
        milliwatts = self._ask(self._nvml.nvmlDeviceGetPowerUsage, handle)
        processes = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
        return Reading(
            free_bytes=memory.free,
            utilization_percent=None if usage is None else float(usage.gpu),
            temperature_celsius=None if temperature is None else float(temperature),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            by_process={p.pid: p.usedGpuMemory for p in processes if p.usedGpuMemory},
        )

    def _ask(self, function: Callable[..., Value], *arguments: Any) -> Value | None:
        """What the driver answers; None where it cannot say."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
