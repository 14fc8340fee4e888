"""Devices, and the interface of the probes that read hardware."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hardware:
    """One physical device, as its driver describes it.

    Attributes:
        kind: cpu or cuda.
        index: CUDA's index in PCI bus order; 0 for the CPU.
        model: product name.
        uuid: of a GPU; "" for the CPU.
        total_bytes: of its memory.
        cores: CPU cores that this process may use; empty for a GPU.
        driver_bytes: of its memory, what the driver keeps for itself.
        instance: number of an instance of a partitioned GPU (MIG); None for a whole device.
    """

    kind: str
    index: int
    model: str
    uuid: str
    total_bytes: int
    cores: tuple[int, ...] = ()
    driver_bytes: int = 0
    instance: int | None = None

    @property
    def name(self) -> str:
        """Its name among all devices: cpu, cuda:0, or cuda:0.1 for an instance."""
        if self.kind == "cpu":
            return "cpu"
        whole = f"{self.kind}:{self.index}"
        return whole if self.instance is None else f"{whole}.{self.instance}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Free memory and load of one physical device; None for values that the driver lacks.

    Attributes:
        by_process: device memory in bytes by process id; empty if the driver does not report it.
    """

    free_bytes: int
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    by_process: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadingFailed:
    """Why a device does not respond.

    Attributes:
        reason: in the driver's words.
        gone: whether the device itself is gone, and with it everything in its memory. Otherwise
            only the driver fails to report on it, and what runs there goes on.
    """

    reason: str
    gone: bool


class Probe(Protocol):
    """Finds and reads the hardware of one kind, without opening a CUDA context.

    Attributes:
        kind: cpu or cuda.
    """

    kind: str

    @property
    def problems(self) -> list[str]:
        """Messages about hardware that ``find`` could not make available."""

    @property
    def incomplete(self) -> bool:
        """Whether ``find`` may find more if it is called again, as once a driver is loaded."""

    def find(self) -> list[Hardware]:
        """All devices of this kind; empty without a driver."""

    def read(self, hardware: Hardware) -> Reading | None:
        """Read one device; None if it does not respond."""

    def free(self, hardware: Hardware) -> int | None:
        """Its free bytes, which is faster than ``read``; None if it does not respond."""

    def by_process(self, hardware: Hardware) -> dict[int, int]:
        """Bytes of its memory by process id; empty if the driver does not report it."""

    def failure(self, hardware: Hardware) -> "ReadingFailed | None":
        """Why its last ``free`` was None."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that models are placed on: a physical one or a part of it.

    Attributes:
        capacity_bytes: min(configured limits, total - reserve), minus the memory of its standby
            workers.
        cores: that its workers run on.
        standby: number of workers kept ready without a model.
        bounded_by: the setting that determines the capacity.
    """

    name: str
    hardware: Hardware
    capacity_bytes: int
    cores: tuple[int, ...] = ()
    standby: int = 0
    bounded_by: str = ""
