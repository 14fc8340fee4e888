"""What a device is, and what every probe of one kind of hardware can tell."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hardware:
    """One physical device as its driver describes it.

    ``index`` is CUDA's in PCI bus order, and 0 for the CPU.
    """

    kind: str
    index: int
    model: str
    uuid: str
    total_bytes: int
    cores: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How full and how busy one physical device is now; None where the driver does not say.

    ``by_process`` is device memory in bytes by pid; empty where the driver does not tell.
    """

    free_bytes: int
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    by_process: dict[int, int] = field(default_factory=dict)


class Probe(Protocol):
    """Finds and reads the hardware of one kind. Nothing here opens a CUDA context."""

    kind: str

    def find(self) -> list[Hardware]:
        """All devices of this kind; empty when there is no driver."""

    def read(self, hardware: Hardware) -> Reading | None:
        """Read one device; None when it has disappeared."""

    def free(self, hardware: Hardware) -> int | None:
        """Only its free bytes, which is quicker; None when it has disappeared."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device the scheduler may place models on: a physical one or a part of it.

    ``capacity_bytes`` is min(configured limits, total - reserve), less what its ``standby`` workers
    take: so many are kept ready without a model. ``bounded_by`` is the setting that bounds it most.
    """

    name: str
    hardware: Hardware
    capacity_bytes: int
    cores: tuple[int, ...] = ()
    standby: int = 0
    bounded_by: str = ""
