"""The devices that models can be placed on: hardware found by probes, split by the settings."""

import contextlib
import time
from collections.abc import Sequence

from sire.units import format_bytes
from sired.config import DeviceSettings, Settings
from sired.devices.base import Device, Hardware, Probe, Reading, ReadingFailed

# A busy driver may fail to answer once.
SILENCE_SECONDS = 1.5


class Inventory:
    """Every device in use, GPUs first.

    If the settings define parts of a device, they replace the whole device.

    Attributes:
        devices: that models can be placed on.
        lost: names of devices that have been gone for a while.
        silent: why devices do not respond that are not gone, by name. What runs there goes on;
            nothing else is placed there.
    """

    def __init__(self, probes: Sequence[Probe], settings: Settings) -> None:
        self.devices: list[Device] = []
        self.lost: frozenset[str] = frozenset()
        self.silent: dict[str, str] = {}
        self._silent_since: dict[Hardware, float] = {}
        self._last_free: dict[Hardware, int] = {}
        self._settings = settings
        self._probes = probes
        self._probe_of: dict[str, Probe] = {}
        self._known: dict[str, Hardware] = {}
        self._matched: set[str] = set()
        self._unfit: list[str] = []
        self._renumbered: list[str] = []
        self.look_again()
        self._check_dram()

    @property
    def problems(self) -> list[str]:
        """Messages about hardware that cannot be used, and settings that do not match it."""
        return [
            *(problem for probe in self._probes for problem in probe.problems),
            *self._unfit,
            *self._renumbered,
            *(
                f"devices.{name}: {given.kind} {given.index} does not exist"
                for name, given in self._settings.devices.items()
                if name not in self._matched and given.enabled
            ),
        ]

    @property
    def incomplete(self) -> bool:
        """Whether looking again may find more devices, as once a driver has been loaded."""
        return any(probe.incomplete for probe in self._probes)

    def look_again(self) -> list[Device]:
        """Adopt hardware that was not there before, and return its devices.

        What is known keeps its name, whatever number its driver gives it now.
        """
        before, self._renumbered = len(self.devices), []
        uuids = {hardware.uuid for hardware in self._known.values()}
        for probe in self._probes:
            for hardware in probe.find():
                if hardware.name not in self._known and hardware.uuid not in uuids:
                    self._matched |= self._take(probe, hardware)
                elif self._known.get(hardware.name, hardware).uuid != hardware.uuid:
                    self._renumbered.append(
                        f"{hardware.model} ({hardware.uuid}) is {hardware.name} to its driver now, "
                        "which was another GPU when the daemon started. To use it: sire daemon "
                        "restart"
                    )
        found = self.devices[before:]
        self.devices.sort(key=lambda device: device.hardware.kind == "cpu")
        return found

    def _check_dram(self) -> None:
        dram, cpu = self._settings.tiers.dram, self._known.get("cpu")
        if dram > (total := cpu.total_bytes if cpu else 0):
            self._unfit.append(
                f"tiers.dram: {format_bytes(dram)} exceeds the {format_bytes(total)} of main memory"
            )

    def device(self, name: str) -> Device:
        """The device of that name, which must be one of ``devices``."""
        return next(device for device in self.devices if device.name == name)

    @property
    def can_lose(self) -> bool:
        """Whether a device can stop responding: the CPU cannot."""
        return any(device.hardware.kind != "cpu" for device in self.devices)

    def read(self) -> dict[str, Reading]:
        """Readings of every device that responds; a part has the reading of the whole device."""
        readings: dict[Hardware, Reading | None] = {}
        for device in self.devices:
            if device.hardware not in readings:
                probe = self._probe_of[device.hardware.kind]
                readings[device.hardware] = probe.read(device.hardware)
        found = {device.name: readings[device.hardware] for device in self.devices}
        return {name: reading for name, reading in found.items() if reading is not None}

    def free(self) -> dict[str, int]:
        """Free bytes by device, as drivers report them; 0 for devices that do not respond.

        A driver that fails to report once is taken to report what it did before.
        """
        probes, now = self._probe_of, time.monotonic()
        hardware = dict.fromkeys(device.hardware for device in self.devices)
        free = {one: probes[one.kind].free(one) for one in hardware}
        failures = {
            one: probes[one.kind].failure(one) for one, size in free.items() if size is None
        }
        self._silent_since = {one: self._silent_since.get(one, now) for one in failures}
        lasting = {
            one: failure
            for one, failure in failures.items()
            if failure and now - self._silent_since[one] >= SILENCE_SECONDS
        }
        self._tell_apart(lasting)
        for one, size in free.items():
            failure = failures.get(one)
            if size is not None:
                self._last_free[one] = size
            elif one in lasting or failure is None or failure.gone:
                self._last_free[one] = 0
        last = self._last_free
        return {device.name: last.get(device.hardware, 0) for device in self.devices}

    def _tell_apart(self, failures: dict[Hardware, ReadingFailed]) -> None:
        """Devices that are gone, and those on which the driver merely does not report."""
        failed = {
            device.name: failures[device.hardware]
            for device in self.devices
            if device.hardware in failures
        }
        self.lost = frozenset(name for name, failure in failed.items() if failure.gone)
        self.silent = {name: one.reason for name, one in failed.items() if not one.gone}

    def main_memory_free(self) -> int | None:
        """Free bytes of main memory, whether models run on the CPU or not.

        None if it cannot be determined now, for instance without free file descriptors.
        """
        with contextlib.suppress(OSError):
            cpu = self._known.get("cpu")
            return self._probe_of["cpu"].free(cpu) if cpu else None
        return None

    def used_by(self, name: str, pid: int) -> int:
        """Bytes that a process holds on a GPU; 0 if the driver does not report it."""
        hardware = self.device(name).hardware
        return self._probe_of[hardware.kind].by_process(hardware).get(pid, 0)

    def _take(self, probe: Probe, hardware: Hardware) -> set[str]:
        """Add the devices of one hardware unit; returns the names of settings that apply to it."""
        self._probe_of[hardware.kind] = probe
        self._known[hardware.name] = hardware
        if hardware.instance is not None:
            return self._take_instance(hardware)
        whole = hardware.name
        applicable = {
            name: given
            for name, given in self._settings.devices.items()
            if (given.kind, given.index) == (hardware.kind, hardware.index)
        }
        parts = {
            name: given for name, given in applicable.items() if name != whole and given.enabled
        }
        if parts:
            self._split(parts, hardware)
        else:
            given = applicable.get(whole, DeviceSettings(kind=hardware.kind))
            if given.enabled:
                self.devices.append(self._device(whole, hardware, given))
        return set(applicable)

    def _take_instance(self, hardware: Hardware) -> set[str]:
        """Add an instance of a partitioned GPU; settings of the GPU can only disable it."""
        gpu, name = f"{hardware.kind}:{hardware.index}", hardware.name
        applicable = {
            key: given for key, given in self._settings.devices.items() if key in {gpu, name}
        }
        if all(given.enabled for given in applicable.values()):
            given = applicable.get(name, DeviceSettings(kind=hardware.kind))
            self.devices.append(self._device(name, hardware, given))
        return set(applicable)

    def _split(self, parts: dict[str, DeviceSettings], hardware: Hardware) -> None:
        """Add the parts of a device in its place, except those without a size."""
        sized = {name: given for name, given in parts.items() if given.memory is not None}
        self._unfit += [
            f'devices.{name}: a part of a device needs its memory, such as memory = "2GiB"'
            for name in parts
            if name not in sized
        ]
        self.devices += [self._device(name, hardware, given) for name, given in sized.items()]
        wanted = sum(given.memory or 0 for given in sized.values())
        if wanted > (capacity := self._capacity(hardware)[0]):
            self._unfit.append(
                f"devices.{', devices.'.join(sized)}: {format_bytes(wanted)} exceeds the "
                f"{format_bytes(capacity)} of the device"
            )

    def _capacity(self, hardware: Hardware) -> tuple[int, str]:
        """Bytes of a whole device that models may use, and the setting that determines them."""
        total, kind = hardware.total_bytes, "cpu" if hardware.kind == "cpu" else "gpu"
        reserve = getattr(self._settings.memory, f"reserve_{kind}")
        percent = self._settings.limits.max_memory_percent
        room, bound = min(
            (total - hardware.driver_bytes - reserve, f"memory.reserve_{kind}"),
            (total * percent // 100, "limits.max_memory_percent"),
        )
        # Memory reserved for sleeping models is not part of the CPU's capacity.
        kept = self._settings.tiers.dram if kind == "cpu" else 0
        return max(1, room - kept), bound

    def _device(self, name: str, hardware: Hardware, given: DeviceSettings) -> Device:
        capacity, bound = self._capacity(hardware)
        if given.memory is not None and given.memory <= capacity:
            capacity, bound = given.memory, f"devices.{name}.memory"
        if unknown := set(given.cores) - set(hardware.cores):
            self._unfit.append(f"devices.{name}: the cores {sorted(unknown)} do not exist")
        cores = tuple(core for core in given.cores if core in hardware.cores)
        standby = self._standby(name, hardware, given, capacity)
        capacity -= standby * self._overhead(hardware)
        cores = cores or hardware.cores
        return Device(name, hardware, max(1, capacity), cores, standby, bound)

    def _overhead(self, hardware: Hardware) -> int:
        """Bytes that a worker without a model uses on a device."""
        memory = self._settings.memory
        return memory.cpu_process if hardware.kind == "cpu" else memory.cuda_context

    def _standby(self, name: str, hardware: Hardware, given: DeviceSettings, capacity: int) -> int:
        """Number of standby workers; 0 if they would leave no memory for models."""
        need = given.standby * self._overhead(hardware)
        if need < capacity:
            return given.standby
        self._unfit.append(
            f"devices.{name}: {given.standby} standby workers need {format_bytes(need)} of "
            f"{format_bytes(capacity)}, so none are started"
        )
        return 0
