"""Reads NVIDIA GPUs through the driver's management library, without a CUDA context."""

import itertools
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pynvml

from sire.nvidia import GPUS, LOAD_UNIFIED_MEMORY, UNIFIED_MEMORY, lacks_unified_memory
from sired.devices.base import Hardware, Reading, ReadingFailed

Value = TypeVar("Value")

_MODPROBE_SECONDS = 10.0
# Compute modes in which a GPU takes no process, or one.
_PROHIBITED, _EXCLUSIVE = 2, 3
# Codes of NVML: not found, GPU is lost, reset required, GPU not found.
_GONE = frozenset({6, 15, 16, 28})


class NvmlProbe:
    """Finds and reads GPUs; a machine without the driver has none.

    Args:
        nvml: the library's Python module, or a substitute.
        visible: the GPUs to find, in the format of ``CUDA_VISIBLE_DEVICES``: indices in PCI bus
            order, or UUIDs or prefixes of them; None for all. Their indices do not change. As for
            CUDA, what follows an index that does not exist, such as -1, does not count.
        listed: the directory with an entry for each GPU of the machine.
    """

    kind = "cuda"

    def __init__(self, nvml: Any = pynvml, visible: str | None = None, listed: Path = GPUS) -> None:
        self.problems: list[str] = []
        self._used = self._refused = 0
        self._errors = (nvml.NVMLError, nvml.NVMLLibraryMismatchError)
        self._listed = listed
        self._failures: dict[str, ReadingFailed] = {}
        self._nvml = nvml
        self._visible = None if visible is None else [word.strip() for word in visible.split(",")]
        self._handles: dict[str, Any] = {}

    def find(self) -> list[Hardware]:
        """All GPUs in the order of their PCI bus addresses, which CUDA is configured to use.

        A GPU that does not report its UUID and memory is left out, but keeps its index. Of a
        partitioned GPU (MIG) there are its instances: CUDA offers a process one of them.
        ``problems`` says why GPUs that the machine has are not among them.
        """
        self.problems, self._used, self._refused = [], 0, 0
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
        except self._errors as failure:
            if present := self._present():
                self.problems.append(
                    f"{present} NVIDIA GPU{'s are' if present > 1 else ' is'} not used: NVML "
                    f"reports {failure}. See: nvidia-smi"
                )
            return []
        handles = [
            self._ask(self._nvml.nvmlDeviceGetHandleByIndex, number) for number in range(count)
        ]
        placed = [(self._address(handle), handle) for handle in handles if handle is not None]
        placed.sort(key=lambda place: place[0])
        found = [self._units(index, handle) for index, (_, handle) in enumerate(placed)]
        self._used = sum(map(bool, found))
        told = self._used + self._refused
        if count and (missing := max(count, self._present()) - told) > 0:
            self.problems.append(
                f"{missing} of the NVIDIA GPUs {'are' if missing > 1 else 'is'} not used: the "
                "driver does not report the memory. See: nvidia-smi"
            )
        units = [hardware for of_gpu in found for hardware in of_gpu]
        shown = [hardware for hardware in units if self._shown(hardware)]
        if hidden := len(units) - len(shown):
            self.problems.append(
                f"CUDA_VISIBLE_DEVICES={','.join(self._visible or ())}, with which the daemon was "
                f"started, hides {hidden} of {len(units)} GPUs. Show them all: unset it, then sire "
                "daemon restart"
            )
        return shown

    @property
    def incomplete(self) -> bool:
        """Whether there may be GPUs that ``find`` has not found."""
        return self._used < max(1, self._present())

    def _units(self, index: int, handle: Any) -> list[Hardware]:
        """A GPU, or the instances of one that is partitioned."""
        if not self._takes_processes(index, handle):
            return []
        mode = self._ask(self._nvml.nvmlDeviceGetMigMode, handle)
        if mode is None or not mode[0]:
            whole = self._hardware(index, handle)
            return [] if whole is None else [whole]
        most = self._ask(self._nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        ask = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex
        handles = [self._ask(ask, handle, number) for number in range(most)]
        instances = [one for one in handles if one is not None]
        if not instances:
            self._refused += 1
            self.problems.append(
                f"cuda:{index} is partitioned (MIG), and has no instances that can be used here. "
                "Make them: sudo nvidia-smi mig -cgi PROFILE -C"
            )
        found = [self._hardware(index, one, number) for number, one in enumerate(instances)]
        return [hardware for hardware in found if hardware is not None]

    def _takes_processes(self, index: int, handle: Any) -> bool:
        """Whether a GPU lets processes compute; reports what keeps it from it, or may do so."""
        mode = self._ask(self._nvml.nvmlDeviceGetComputeMode, handle)
        change = f"Change it: sudo nvidia-smi -i {index} --compute-mode=DEFAULT"
        if mode == _PROHIBITED:
            self._refused += 1
            self.problems.append(f"cuda:{index} is not used: it prohibits computing. {change}")
            return False
        if mode == _EXCLUSIVE:
            self.problems.append(
                f"cuda:{index} takes one process at a time, and so one model. {change}"
            )
        rows = self._ask(self._nvml.nvmlDeviceGetRemappedRows, handle)
        if rows is not None and rows[3]:
            self.problems.append(
                f"memory of cuda:{index} is damaged and cannot be remapped: replace the GPU"
            )
        return True

    def _present(self) -> int:
        """The number of GPUs that the driver's kernel module has found."""
        with suppress(OSError):
            return len(list(self._listed.iterdir()))
        return 0

    def _shown(self, hardware: Hardware) -> bool:
        words = self._visible
        if words is None:
            return True
        valid = itertools.takewhile(lambda word: not word.startswith("-"), words)
        return any(
            hardware.uuid.startswith(word)
            if word.startswith(("GPU-", "MIG-"))
            else word == str(hardware.index)
            for word in valid
        )

    def _address(self, handle: Any) -> tuple[int, int, int]:
        pci = self._ask(self._nvml.nvmlDeviceGetPciInfo, handle)
        return (pci.domain, pci.bus, pci.device) if pci else (0, 0, 0)

    def _hardware(self, index: int, handle: Any, instance: int | None = None) -> Hardware | None:
        uuid = _text(self._ask(self._nvml.nvmlDeviceGetUUID, handle) or "")
        memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, handle)
        if not uuid or memory is None:
            return None
        self._handles[uuid] = handle
        name = self._ask(self._nvml.nvmlDeviceGetName, handle)
        return Hardware(
            "cuda",
            index,
            _text(name or "NVIDIA GPU"),
            uuid,
            memory.total,
            driver_bytes=self._kept_by_driver(handle),
            instance=instance,
        )

    def _kept_by_driver(self, handle: Any) -> int:
        """Bytes that no process can have; 0 from drivers that do not tell (before 510)."""
        ask, version = self._nvml.nvmlDeviceGetMemoryInfo, self._nvml.nvmlMemory_v2
        memory = self._ask(partial(ask, version=version), handle)
        return 0 if memory is None else int(memory.reserved)

    def read(self, hardware: Hardware) -> Reading | None:
        """Read one GPU; None if it has fallen off the bus."""
        memory = self._memory(hardware)
        if memory is None:
            return None
        handle = self._handles[hardware.uuid]
        usage = self._ask(self._nvml.nvmlDeviceGetUtilizationRates, handle)
        kind = self._nvml.NVML_TEMPERATURE_GPU
        temperature = self._ask(self._nvml.nvmlDeviceGetTemperature, handle, kind)
        milliwatts = self._ask(self._nvml.nvmlDeviceGetPowerUsage, handle)
        return Reading(
            free_bytes=memory.free,
            utilization_percent=None if usage is None else float(usage.gpu),
            temperature_celsius=None if temperature is None else float(temperature),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            by_process=self._by_process(handle),
        )

    def by_process(self, hardware: Hardware) -> dict[int, int]:
        """Bytes by process id; empty if the driver does not report them."""
        return self._by_process(self._handles[hardware.uuid])

    def failure(self, hardware: Hardware) -> ReadingFailed | None:
        """Why its last ``free`` was None."""
        return self._failures.get(hardware.uuid)

    def free(self, hardware: Hardware) -> int | None:
        """Its free bytes; None if it has fallen off the bus, or the driver fails to tell."""
        memory = self._memory(hardware)
        return None if memory is None else int(memory.free)

    def _memory(self, hardware: Hardware) -> Any:
        """The memory of a GPU; None if it does not respond, also with a new handle."""
        ask, uuid = self._nvml.nvmlDeviceGetMemoryInfo, hardware.uuid
        self._failures.pop(uuid, None)
        with suppress(*self._errors):
            return ask(self._handles[uuid])
        try:
            handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
            memory = ask(handle)
        except self._errors as failure:
            gone = getattr(failure, "value", None) in _GONE
            self._failures[uuid] = ReadingFailed(str(failure), gone)
            return None
        self._handles[uuid] = handle  # it is back on the bus
        return memory

    def _by_process(self, handle: Any) -> dict[int, int]:
        """Bytes by process id; a process in both lists has the same value in both."""
        drawing = self._ask(self._nvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or []
        computing = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
        processes = (*drawing, *computing)
        return {one.pid: one.usedGpuMemory for one in processes if one.usedGpuMemory}

    def _ask(self, function: Callable[..., Value], *arguments: Any) -> Value | None:
        """The result of a driver call; None if it is not supported or fails."""
        with suppress(*self._errors):
            return function(*arguments)
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def make_unified_memory(device: Path = UNIFIED_MEMORY, listed: Path = GPUS) -> str:
    """Create the device file that CUDA needs, if it has not been since the machine was started.

    CUDA would run nvidia-modprobe itself, but workers cannot gain the privileges that it needs.

    Returns:
        Why CUDA cannot work; "" if the file is there, or the driver needs none (WSL2).
    """
    program = shutil.which("nvidia-modprobe")
    if program is not None and not device.exists():
        with suppress(OSError, subprocess.TimeoutExpired):  # CUDA reports the error
            subprocess.run([program, "-c=0", "-u"], check=False, timeout=_MODPROBE_SECONDS)
    if not lacks_unified_memory(device, listed):
        return ""
    return f"{device} is missing, so CUDA does not start. Load its module: {LOAD_UNIFIED_MEMORY}"
