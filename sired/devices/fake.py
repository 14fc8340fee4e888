"""A fake of NVIDIA's management library, for machines and tests without a GPU."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TypeVar

Value = TypeVar("Value")


GPU_IS_LOST, UNKNOWN = 15, 999


class NVMLError(Exception):
    """Raised by the library if a call fails; ``value`` is its code."""

    def __init__(self, message: str, value: int = UNKNOWN) -> None:
        super().__init__(message)
        self.value = value


class NVMLLibraryMismatchError(Exception):
    """Raised by the library's Python module if the driver lacks a function."""


@dataclass
class FakeGpu:
    """One fake GPU; None for values that its driver does not report.

    Attributes:
        processes: bytes of compute processes by process id.
        drawing: bytes of graphics processes by process id.
        reserved: bytes that the driver keeps for itself; part of neither free nor used.
        lost: whether it has fallen off the bus.
        compute_mode: 0 default, 2 prohibited, 3 one process.
        capability: the version of what it computes.
        remapped: correctable rows, uncorrectable ones, whether more wait, whether that failed.
        instances: of a partitioned GPU (MIG); None for one that is not.
        answers: what the driver waits for before it answers; None if it answers at once.
        error: what the driver answers to every call, such as "Unknown Error"; "" if it works.
    """

    name: str | None = "Fake GPU"
    uuid: str | None = "GPU-0"
    bus: int = 1
    total: int | None = 16 << 30
    free: int = 15 << 30
    reserved: int | None = 0
    utilization: int | None = 7
    temperature: int | None = 40
    milliwatts: int | None = 90_000
    processes: dict[int, int | None] | None = field(default_factory=dict)
    drawing: dict[int, int | None] | None = field(default_factory=dict)
    compute_mode: int | None = 0
    capability: tuple[int, int] = (9, 0)
    remapped: tuple[int, int, int, int] | None = (0, 0, 0, 0)
    instances: "list[FakeGpu] | None" = None
    lost: bool = False
    answers: threading.Event | None = None
    error: str = ""


class FakeNvml:
    """Implements the calls of ``pynvml`` that the probe makes, for fake GPUs.

    Args:
        gpus: in the library's order, which can differ from that of the bus.
        driver: whether a driver is loaded.

    Both can be changed at any time.
    """

    NVMLError = NVMLError
    NVMLLibraryMismatchError = NVMLLibraryMismatchError
    NVML_TEMPERATURE_GPU = 0
    nvmlMemory_v2 = 2  # noqa: N815

    def __init__(self, gpus: list[FakeGpu], *, driver: bool = True) -> None:
        self.gpus = gpus
        self.driver = driver

    def nvmlInit(self) -> None:  # noqa: D102, N802 (the names are the library's)
        if not self.driver:
            raise NVMLError("Driver Not Loaded", 9)

    def nvmlDeviceGetCount(self) -> int:  # noqa: D102, N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> FakeGpu:  # noqa: D102, N802
        return _responding(self.gpus[number])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: D102, N802
        everything = [unit for gpu in self.gpus for unit in (gpu, *(gpu.instances or ()))]
        return next(_responding(gpu) for gpu in everything if gpu.uuid == uuid)

    def nvmlDeviceGetComputeMode(self, gpu: FakeGpu) -> int:  # noqa: D102, N802
        return _reported(_responding(gpu).compute_mode)

    def nvmlDeviceGetCudaComputeCapability(  # noqa: D102, N802
        self, gpu: FakeGpu
    ) -> tuple[int, int]:
        return _responding(gpu).capability

    def nvmlDeviceGetRemappedRows(  # noqa: D102, N802
        self, gpu: FakeGpu
    ) -> tuple[int, int, int, int]:
        return _reported(_responding(gpu).remapped)

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:  # noqa: D102, N802
        return [int(_responding(gpu).instances is not None)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:  # noqa: D102, N802
        return 7 if gpu.instances is not None else 0

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: D102, N802
        self, gpu: FakeGpu, number: int
    ) -> FakeGpu:
        instances = _responding(gpu).instances or []
        if number >= len(instances):
            raise NVMLError("Not Found", 6)
        return instances[number]

    def nvmlDeviceGetPciInfo(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: D102, N802
        return SimpleNamespace(domain=0, bus=_responding(gpu).bus, device=0)

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:  # noqa: D102, N802
        return _reported(_responding(gpu).uuid)

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> bytes:  # noqa: D102, N802
        return _reported(_responding(gpu).name).encode()

    def nvmlDeviceGetMemoryInfo(  # noqa: D102, N802
        self, gpu: FakeGpu, version: int | None = None
    ) -> SimpleNamespace:
        total = _reported(_responding(gpu).total)
        if version is None:
            return SimpleNamespace(total=total, free=gpu.free, used=total - gpu.free)
        reserved = _reported(gpu.reserved)
        used = total - gpu.free - reserved
        return SimpleNamespace(total=total, free=gpu.free, used=used, reserved=reserved)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: D102, N802
        return SimpleNamespace(gpu=_reported(_responding(gpu).utilization))

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, _: int) -> int:  # noqa: D102, N802
        return _reported(_responding(gpu).temperature)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:  # noqa: D102, N802
        return _reported(_responding(gpu).milliwatts)

    def nvmlDeviceGetComputeRunningProcesses(  # noqa: D102, N802
        self, gpu: FakeGpu
    ) -> list[SimpleNamespace]:
        return _listed(_reported(_responding(gpu).processes))

    def nvmlDeviceGetGraphicsRunningProcesses(  # noqa: D102, N802
        self, gpu: FakeGpu
    ) -> list[SimpleNamespace]:
        return _listed(_reported(_responding(gpu).drawing))


def _responding(gpu: FakeGpu) -> FakeGpu:
    if gpu.answers is not None:
        gpu.answers.wait()
    if gpu.lost:
        raise NVMLError("GPU is lost", GPU_IS_LOST)
    if gpu.error:
        raise NVMLError(gpu.error)
    return gpu


def _reported(value: Value | None) -> Value:
    if value is None:
        raise NVMLError("not supported")
    return value


def _listed(processes: dict[int, int | None]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes.items()]
