"""What the daemon reports of its devices."""

import msgspec

from sire.protocol.message import Message


class GpuReadings(msgspec.Struct, frozen=True):
    """Readings of a GPU; None where the driver does not report them."""

    utilization_percent: float | None
    temperature_celsius: float | None
    power_watts: float | None


class DeviceInfo(msgspec.Struct, frozen=True):
    """One device as the scheduler sees it.

    Attributes:
        kind: cpu or cuda.
        total_bytes: memory of the hardware; ``capacity_bytes``: the part that sire may use.
        used_bytes: charged to instances; ``foreign_bytes``: used by other processes.
        free_bytes: available to a load without unloading anything.
        standby: number of ready workers without a model.
        bounded_by: the setting that limits the capacity.
    """

    name: str
    kind: str
    hardware: str
    uuid: str
    total_bytes: int
    capacity_bytes: int
    used_bytes: int
    foreign_bytes: int
    free_bytes: int
    available: bool
    cores: tuple[int, ...] = ()
    utilization_percent: float | None = None
    gpu: GpuReadings | None = None
    standby: int = 0
    bounded_by: str = ""


class GroupInfo(msgspec.Struct, frozen=True):
    """A group of models with a limit on memory.

    Attributes:
        memory_bytes: what its models may hold on all devices together.
        used_bytes: what they are charged now.
        models: number of models registered in it.
    """

    name: str
    memory_bytes: int
    used_bytes: int
    models: int


class DeviceList(Message, frozen=True, tag="devices_report"):
    """All devices, the placement strategy in force, and the groups that have a limit.

    Attributes:
        problems: hardware that cannot be used, and why.
    """

    devices: tuple[DeviceInfo, ...]
    strategy: str
    groups: tuple[GroupInfo, ...] = ()
    problems: tuple[str, ...] = ()
