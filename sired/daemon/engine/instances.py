"""The processes of the brain's instances: how they are started, and what they report.

The brain knows instances by number. Here each number is mapped to a registered model on a device,
and its events are logged and counted.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from sire.errors import SireError, WorkerCrashed
from sire.paths import Paths
from sire.spec import ModelSpec, Signature
from sire.units import format_bytes, format_duration
from sired.config.settings import DaemonSettings
from sired.daemon.host.log_setup import BY_SCHEDULER, of_worker
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.event_log import EventLog
from sired.devices.base import Device
from sired.devices.inventory import Inventory
from sired.runtimes.discovery import is_out_of_process
from sired.scheduler.events import ModelRunsAlone
from sired.scheduler.instructions import Evicted, Learn, StartWorker
from sired.server.failures import log_failure_code
from sired.store.file_states import FileState
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.workers.control_groups import ControlGroups
from sired.workers.messages import (
    DeviceGrant,
    DirectFailed,
    LoadModel,
    ModelReady,
    Slept,
    TrialFinding,
    Woke,
)

log = logging.getLogger(__name__)


def grant(device: Device, paths: Paths, memory: int = 0) -> DeviceGrant:
    """The message that grants a worker a device and ``memory`` bytes on it."""
    return DeviceGrant(
        name=device.name,
        kind=device.hardware.kind,
        uuid=device.hardware.uuid,
        index=device.hardware.index,
        total_bytes=device.hardware.total_bytes if device.hardware.kind == "cuda" else 0,
        cores=device.cores,
        memory_bytes=memory,
        load_lock=str(paths.load_lock(device.hardware.uuid)),
    )


class Instances:
    """The processes of all instances, from start to end.

    Args:
        supervisor: starts the processes.
        inventory: the devices.
        registry: the registered models.
        footprints: the measured memory needs of models.
        counters: counts loads, crashes and the like.
        event_log: lists them for people.
        groups: control groups that account for a process and what it starts.
        paths: where logs and caches are.
        largest_decoded: the largest size of a decoded input, in bytes.

    Attributes:
        check_files: compares the files of a model with those that it was registered with before
            each load, in a thread; returns their states, and raises if it must not be loaded.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        inventory: Inventory,
        registry: Registry,
        footprints: Footprints,
        counters: AllCounters,
        event_log: EventLog,
        groups: ControlGroups,
        paths: Paths,
        largest_decoded: int,
    ) -> None:
        self.check_files: Callable[[ModelSpec], tuple[FileState, ...]] = lambda _: ()
        self._signatures: dict[str, Signature] = {}
        self._changed: dict[str, tuple[str, ...]] = {}
        self._loaded_changed: dict[int, tuple[str, ...]] = {}
        self._largest_decoded = largest_decoded
        self._groups = groups
        self._events = event_log
        self._supervisor = supervisor
        self._inventory = inventory
        self._registry = registry
        self._footprints = footprints
        self._counters = counters
        self._paths = paths
        self._specs: dict[int, ModelSpec] = {}
        self._urls: dict[int, str] = {}

    def start(self, do: StartWorker) -> None:
        """Start a process for an instance and have it load its model."""
        spec = self._registry.get(do.model.name)
        self._specs[do.instance] = spec
        self._loaded_changed[do.instance] = self._changed.pop(spec.name, ())
        log.info(
            "loading %s on %s, %d bytes reserved",
            spec.name,
            do.device,
            do.memory,
            extra=BY_SCHEDULER,
        )
        self._events.add("loading", spec.name, do.device, f"{format_bytes(do.memory)} reserved")
        device = self._inventory.device(do.device)
        bound = self._bound(device, spec, do.memory)
        job = LoadModel(
            spec,
            grant(device, self._paths, do.memory),
            cache=str(self._paths.model_cache(spec.name)),
            largest_decoded=self._largest_decoded,
            memory_bound=bound,
            group=self._groups.make(do.instance, bound),
        )
        check = partial(self.check_files, spec)
        self._supervisor.start(do.instance, job, self._paths.model_log(spec.name), check)

    def _bound(self, device: Device, spec: ModelSpec, charge: int) -> int:
        """Bytes of address space a process may use: as declared, else what the device has free.

        Mapped weights are added, because they use address space even where they are never read.
        Programs may reserve address space that they never use.
        """
        if device.hardware.kind != "cpu":
            return 0
        if spec.max_memory is not None and not is_out_of_process(spec.runtime):
            return spec.max_memory + spec.weight_bytes
        free = self._inventory.main_memory_free()
        room = device.capacity_bytes if free is None else min(device.capacity_bytes, free)
        return max(charge, room) + spec.weight_bytes

    def adopt(self, settings: DaemonSettings) -> None:
        """Apply new settings, to loads from now on."""
        self._largest_decoded = settings.max_decoded_bytes

    def forget_signature(self, model: str) -> None:
        """Forget the signature that a model's runtime reported, when the model is replaced."""
        self._signatures.pop(model, None)

    def files_changed(self, model: str, files: tuple[str, ...]) -> None:
        """Record that files of a model changed, for the load that follows."""
        self._changed[model] = files

    def changed_files(self, instance: int) -> tuple[str, ...]:
        """The files that were found to have changed when an instance was loaded."""
        return self._loaded_changed.get(instance, ())

    def spec_of(self, model: str) -> ModelSpec | None:
        """A model's registration; None if it is not registered."""
        return self._registry.models.get(model)

    def signature_of(self, model: str) -> Signature:
        """A model's inputs and outputs, empty where they are not known.

        They are those declared, reported by its runtime, or stated by its file, in this order.
        """
        spec = self._registry.models.get(model)
        if spec is None:
            return self._signatures.get(model, Signature())
        return spec.signature.completed_by(self._signatures.get(model, spec.stated))

    def ready(self, instance: int, device: str, message: ModelReady) -> int:
        """Record that a model is loaded; returns the bytes it takes on its device."""
        spec = self._specs[instance]
        self._signatures[spec.name] = message.signature
        self._urls[instance] = message.url
        counters = self._counters.of(spec.name)
        counters.loads[device] += 1
        counters.last_load_seconds = message.load_seconds
        memory = max(message.memory_bytes, self.memory_by_driver(instance, device))
        counters.peak_memory = max(counters.peak_memory, memory)
        log.info(
            "loaded in %.3f s, %d bytes", message.load_seconds, memory, extra=of_worker(spec.name)
        )
        took = f"{format_bytes(memory)} in {format_duration(message.load_seconds)}"
        self._events.add("loaded", spec.name, device, took)
        return memory

    def url_of(self, instance: int) -> str:
        """Where a program serves the model of an instance over HTTP; "" if none does."""
        return self._urls.get(instance, "")

    def slept(self, instance: int, device: str, message: Slept) -> int:
        """Record that a model sleeps; returns the bytes it still takes on its device."""
        spec = self._specs[instance]
        self._counters.of(spec.name).sleeps += 1
        held = max(message.device_bytes, self.memory_by_driver(instance, device))
        log.info(
            "asleep after %.3f s, %d bytes left", message.seconds, held, extra=of_worker(spec.name)
        )
        self._events.add("slept", spec.name, device, f"in {format_duration(message.seconds)}")
        return held

    def woke(self, instance: int, device: str, message: Woke) -> int:
        """Record that a model woke; returns the bytes it takes on its device."""
        spec = self._specs[instance]
        counters = self._counters.of(spec.name)
        counters.wakes += 1
        counters.last_wake_seconds = message.seconds
        held = max(message.memory_bytes, self.memory_by_driver(instance, device))
        log.info("woke in %.3f s, %d bytes", message.seconds, held, extra=of_worker(spec.name))
        self._events.add("woke", spec.name, device, f"in {format_duration(message.seconds)}")
        return held

    def memory_by_driver(self, instance: int, device: str) -> int:
        """Bytes the GPU's driver reports for the process, with its context; 0 if none."""
        pid = self._supervisor.pid(instance)
        return self._inventory.used_by(device, pid) if pid is not None else 0

    def load_failed(self, instance: int, device: str, error: SireError) -> None:
        """Record why a model could not be loaded."""
        name = self._specs[instance].name
        counters = self._counters.of(name)
        counters.last_error = str(error)
        counters.load_failures[device] += 1
        self._events.add("failed", name, device, error.message)

    def found(self, instance: int, found: TrialFinding) -> ModelRunsAlone | None:
        """Record what a worker has found out about its model, also for later loads."""
        ran = self._specs[instance]
        spec = self._registry.models.get(ran.name)
        if spec is None or spec.registered_at != ran.registered_at:
            return None
        changes: dict[str, Any] = {}
        if found.alone and not spec.alone:
            changes["alone"] = found.alone
            words = f"requests run alone from now on: {found.alone}"
            log.warning("%s", words, extra=of_worker(spec.name))
            self._events.add("unbatched", spec.name, words=words)
        if found.note and found.note not in spec.notes:
            changes["notes"] = (*spec.notes, found.note)
            log.warning("%s", found.note, extra=of_worker(spec.name))
        if changes:
            try:
                self._registry.update(spec.name, **changes)
            except SireError as error:
                log.warning("this is not stored: %s", error, extra=of_worker(spec.name))
        return ModelRunsAlone(spec.name) if "alone" in changes else None

    def failed_directly(self, instance: int, failure: DirectFailed) -> None:
        """Count and log a request over a direct connection that a worker answered with an error."""
        name = self._specs[instance].name
        self._counters.of(name).failed(failure.code, failure.message)
        what = f"a direct request for {name}"
        log_failure_code(what, failure.code, failure.message, failure.seconds, name)

    def gone(self, instance: int, device: str, error: SireError, *, expected: bool) -> None:
        """Record that a process has ended, and how."""
        spec = self._specs.pop(instance)
        self._urls.pop(instance, None)
        self._loaded_changed.pop(instance, None)
        self._groups.remove(instance)
        counters = self._counters.of(spec.name)
        if expected:
            counters.unloads[device] += 1
            log.info("unloaded from %s", device, extra=of_worker(spec.name))
            self._events.add("unloaded", spec.name, device)
        elif not isinstance(error, WorkerCrashed):  # it was not started
            counters.load_failures[device] += 1
            counters.last_error = str(error)
            log.error("not loaded: %s", error.message, extra=of_worker(spec.name))
            self._events.add("failed", spec.name, device, error.message)
        else:
            counters.crashes += 1
            counters.last_error = str(error)
            # What a model printed stays in its own log: it may contain its input.
            log.error("%s", error.message.partition("\n")[0], extra=of_worker(spec.name))
            self._events.add("crashed", spec.name, device, error.message.partition("\n")[0])

    def learn(self, do: Learn) -> None:
        """Keep the footprint measured for a model."""
        spec = self._registry.models.get(do.model.name)
        counters = self._counters.of(do.model.name)
        counters.peak_memory = max(counters.peak_memory, do.memory)
        if spec is not None and self._footprints.learn(spec, do.kind, do.memory):
            self._footprints.save()

    def evicted(self, do: Evicted) -> None:
        """Record an eviction."""
        self._counters.of(do.model).evictions += 1
        log.info("evicting %s to make room for %s", do.model, do.wanted_by, extra=BY_SCHEDULER)
        self._events.add("evicted", do.model, words=f"for {do.wanted_by}")
