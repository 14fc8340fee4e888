"""A stand-in for NVIDIA's management library, for machines and tests without a GPU."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TypeVar

Value = TypeVar("Value")


class NVMLError(Exception):
    """What the library raises when it cannot answer."""


@dataclass
class FakeGpu:
    """One made-up GPU; None for what its driver does not tell. ``lost`` takes it off the bus.

    ``processes`` compute and ``drawing`` ones draw: bytes by pid.
    """

    name: str | None = "Fake GPU"
    uuid: str | None = "GPU-0"
    bus: int = 1
    total: int | None = 16 << 30
    free: int = 15 << 30
    utilization: int | None = 7
    temperature: int | None = 40
    milliwatts: int | None = 90_000
    processes: dict[int, int | None] | None = field(default_factory=dict)
    drawing: dict[int, int | None] | None = field(default_factory=dict)
    lost: bool = False


class FakeNvml:
    """Answers the calls of ``pynvml`` that the probe makes, about made-up GPUs.

    Args:
        gpus: in the order the library lists them, which need not be that of the bus.
        driver: whether there is a driver at all.
    """

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, gpus: list[FakeGpu], *, driver: bool = True) -> None:
        self._gpus = gpus
        self._driver = driver

    def nvmlInit(self) -> None:  # noqa: D102, N802 (the names are the library's)
        if not self._driver:
            raise NVMLError("driver not loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: D102, N802
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> FakeGpu:  # noqa: D102, N802
        return _answering(self._gpus[number])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: D102, N802
        return next(_answering(gpu) for gpu in self._gpus if gpu.uuid == uuid)

    def nvmlDeviceGetPciInfo(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: D102, N802
        return SimpleNamespace(domain=0, bus=_answering(gpu).bus, device=0)

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:  # noqa: D102, N802
        return _told(_answering(gpu).uuid)

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> bytes:  # noqa: D102, N802
        return _told(_answering(gpu).name).encode()

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: D102, N802
        total = _told(_answering(gpu).total)
        return SimpleNamespace(total=total, free=gpu.free, used=total - gpu.free)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: D102, N802
        return SimpleNamespace(gpu=_told(_answering(gpu).utilization))

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, _: int) -> int:  # noqa: D102, N802
        return _told(_answering(gpu).temperature)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:  # noqa: D102, N802
        return _told(_answering(gpu).milliwatts)

    def nvmlDeviceGetComputeRunningProcesses(  # noqa: D102, N802
        self, gpu: FakeGpu
    ) -> list[SimpleNamespace]:
        return _listed(_told(_answering(gpu).processes))

    def nvmlDeviceGetGraphicsRunningProcesses(  # noqa: D102, N802
        self, gpu: FakeGpu
    ) -> list[SimpleNamespace]:
        return _listed(_told(_answering(gpu).drawing))


def _answering(gpu: FakeGpu) -> FakeGpu:
    if gpu.lost:
        raise NVMLError("GPU is lost")
    return gpu


def _told(value: Value | None) -> Value:
    if value is None:
        raise NVMLError("not supported")
    return value


def _listed(processes: dict[int, int | None]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes.items()]
