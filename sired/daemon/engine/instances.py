"""The processes behind the brain's instances: what they are started with, what is learned of them.

The brain decides about numbers and bytes; here an instance's number stands for a registered model
on a device, and what happens to it is counted and kept.
"""

import logging

from sire.errors import SireError
from sire.paths import Paths
from sire.spec import ModelSpec, Signature
from sire.units import format_bytes, format_duration
from sired.config.settings import DaemonSettings
from sired.daemon.host.log_setup import DECIDED, of_worker
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.event_log import EventLog
from sired.devices.base import Device
from sired.devices.inventory import Inventory
from sired.scheduler.instructions import Evicted, Learn, StartWorker
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.workers.control_groups import ControlGroups
from sired.workers.messages import (
    DeviceGrant,
    DirectFailed,
    LoadModel,
    ModelReady,
    Slept,
    Woke,
)

log = logging.getLogger(__name__)


def grant(device: Device, paths: Paths, memory: int = 0) -> DeviceGrant:
    """What a worker is told of the device it may use, and of so many bytes there."""
    return DeviceGrant(
        name=device.name,
        kind=device.hardware.kind,
        uuid=device.hardware.uuid,
        cores=device.cores,
        memory_bytes=memory,
        load_lock=str(paths.load_lock(device.hardware.uuid)),
    )


class Instances:
    """Every instance's process, from its start to its end.

    Attributes:
        signatures: what models take and give, as their runtimes last reported it.
        largest_decoded: bytes that an input may take once it is decoded; for loads to come.
        groups: where processes are counted and bounded with what they start.
        events: what happened to them lately.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        inventory: Inventory,
        registry: Registry,
        footprints: Footprints,
        statistics: AllCounters,
        paths: Paths,
    ) -> None:
        self.signatures: dict[str, Signature] = {}
        self.largest_decoded = DaemonSettings().max_decoded_bytes
        self.groups = ControlGroups()
        self.events = EventLog()
        self._crew = supervisor
        self._inventory = inventory
        self._registry = registry
        self._footprints = footprints
        self._statistics = statistics
        self._paths = paths
        self._specs: dict[int, ModelSpec] = {}

    def start(self, do: StartWorker) -> None:
        """Start a process for an instance and have it load its model."""
        spec = self._registry.get(do.model.name)
        self._specs[do.instance] = spec
        log.info(
            "loading %s on %s, %d bytes reserved", spec.name, do.device, do.memory, extra=DECIDED
        )
        self.events.note("loading", spec.name, do.device, f"{format_bytes(do.memory)} reserved")
        device = self._inventory.device(do.device)
        bound = self._bound(device, spec, do.memory)
        job = LoadModel(
            spec,
            grant(device, self._paths, do.memory),
            cache=str(self._paths.model_cache(spec.name)),
            largest_decoded=self.largest_decoded,
            memory_bound=bound,
            group=self.groups.make(do.instance, bound),
        )
        self._crew.start(do.instance, job, self._paths.model_log(spec.name))

    def _bound(self, device: Device, spec: ModelSpec, charge: int) -> int:
        """Bytes of main memory a process may take: what is charged, or all that its device has.

        Weights that are mapped take address space, however little of them is ever in memory.
        """
        if device.hardware.kind != "cpu":
            return 0
        free = self._inventory.main_memory_free()
        room = device.capacity_bytes if free is None else min(device.capacity_bytes, free)
        return max(charge, room) + spec.weight_bytes

    def spec_of(self, model: str) -> ModelSpec | None:
        """A model as it is registered."""
        return self._registry.models.get(model)

    def signature_of(self, model: str) -> Signature:
        """What a model takes and gives: as declared, else as reported, else empty."""
        spec = self._registry.models.get(model)
        declared = spec.signature if spec is not None else Signature()
        return declared.completed_by(self.signatures.get(model, declared))

    def ready(self, instance: int, device: str, message: ModelReady) -> int:
        """Note that a model is loaded; returns the bytes that it takes on its device."""
        spec = self._specs[instance]
        self.signatures[spec.name] = message.signature
        counters = self._statistics.of(spec.name)
        counters.loads[device] += 1
        counters.last_load_seconds = message.load_seconds
        memory = max(message.memory_bytes, self._memory_by_driver(instance, device))
        counters.peak_memory = max(counters.peak_memory, memory)
        log.info(
            "loaded in %.3f s, %d bytes", message.load_seconds, memory, extra=of_worker(spec.name)
        )
        took = f"{format_bytes(memory)} in {format_duration(message.load_seconds)}"
        self.events.note("loaded", spec.name, device, took)
        return memory

    def slept(self, instance: int, device: str, message: Slept) -> int:
        """Note that a model sleeps; returns the bytes that it still takes on its device."""
        spec = self._specs[instance]
        self._statistics.of(spec.name).sleeps += 1
        held = max(message.device_bytes, self._memory_by_driver(instance, device))
        log.info(
            "asleep after %.3f s, %d bytes left", message.seconds, held, extra=of_worker(spec.name)
        )
        self.events.note("slept", spec.name, device, f"in {format_duration(message.seconds)}")
        return held

    def woke(self, instance: int, device: str, message: Woke) -> int:
        """Note that a model woke; returns the bytes that it takes on its device."""
        spec = self._specs[instance]
        counters = self._statistics.of(spec.name)
        counters.wakes += 1
        counters.last_wake_seconds = message.seconds
        held = max(message.memory_bytes, self._memory_by_driver(instance, device))
        log.info("woke in %.3f s, %d bytes", message.seconds, held, extra=of_worker(spec.name))
        self.events.note("woke", spec.name, device, f"in {format_duration(message.seconds)}")
        return held

    def _memory_by_driver(self, instance: int, device: str) -> int:
        """What the GPU's driver says the process holds, context included; 0 if it does not say."""
        pid = self._crew.pid(instance)
        return self._inventory.used_by(device, pid) if pid is not None else 0

    def load_failed(self, instance: int, device: str, error: SireError) -> None:
        """Note why a model could not be loaded."""
        name = self._specs[instance].name
        counters = self._statistics.of(name)
        counters.last_error = str(error)
        counters.load_failures[device] += 1
        self.events.note("failed", name, device, error.message)

    def failed_directly(self, instance: int, failure: DirectFailed) -> None:
        """Count a request that a worker answered with an error to the client itself."""
        counters = self._statistics.of(self._specs[instance].name)
        counters.failed(failure.code, failure.message)

    def gone(self, instance: int, device: str, error: SireError, *, expected: bool) -> None:
        """Note that a process has ended, and how."""
        spec = self._specs.pop(instance)
        self.groups.remove(instance)
        counters = self._statistics.of(spec.name)
        if expected:
            counters.unloads[device] += 1
            self.events.note("unloaded", spec.name, device)
        else:
            counters.crashes += 1
            counters.last_error = str(error)
            # What a model printed stays in its own log: it may be what it was given.
            log.error("%s", error.message.partition("\n")[0], extra=of_worker(spec.name))
            self.events.note("crashed", spec.name, device, error.message.partition("\n")[0])

    def learn(self, do: Learn) -> None:
        """Keep what a model was measured to need."""
        spec = self._registry.models.get(do.model.name)
        counters = self._statistics.of(do.model.name)
        counters.peak_memory = max(counters.peak_memory, do.memory)
        if spec is not None and self._footprints.learn(spec, do.kind, do.memory):
            self._footprints.save()

    def evicted(self, do: Evicted) -> None:
        """Count an eviction."""
        self._statistics.of(do.model).evictions += 1
        log.info("evicting %s to make room for %s", do.model, do.wanted_by, extra=DECIDED)
        self.events.note("evicted", do.model, words=f"for {do.wanted_by}")
