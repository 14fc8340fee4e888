"""The brain's state in the words of the protocol."""

import os
import platform
import time
from pathlib import Path

import psutil

import sired
from sired.config import Loaded
from sired.daemon.conductor import Conductor
from sired.daemon.stats import Counters
from sired.devices.base import Device, Reading
from sired.devices.inventory import Inventory
from sired.protocol.replies import (
    DeviceFit,
    DeviceInfo,
    DeviceList,
    EstimateReport,
    GpuReadings,
    HealthReport,
    InstanceInfo,
    InstanceList,
    ModelInfo,
    ModelList,
    ModelStats,
    StatsReport,
    StatsTotals,
    TopReport,
)
from sired.scheduler.instance import Instance, Loading, Ready, Waking, last_used
from sired.scheduler.model import Model
from sired.scheduler.outlook import Outlook
from sired.scheduler.pending import PendingLoad
from sired.spec import ModelSpec
from sired.store.registry import Registry
from sired.units import FOREVER

# The most telling state of a model with several instances comes first.
STATES = (
    "busy",
    "ready",
    "leased",
    "waking",
    "loading",
    "waiting",
    "asleep",
    "dozing",
    "stopping",
)
TIERS = ("device", "dram", "disk")


class Views:
    """Everything clients can look at."""

    def __init__(
        self,
        conductor: Conductor,
        registry: Registry,
        inventory: Inventory,
        socket: Path,
        settings: Loaded,
    ) -> None:
        self.adopt(settings)
        self._conductor = conductor
        self._registry = registry
        self._inventory = inventory
        self._socket = socket
        self._started = time.monotonic()
        self._process = psutil.Process()

    def adopt(self, settings: Loaded) -> None:
        """Go by these settings from now on."""
        self._strategy = settings.settings.placement.strategy

    # Instances

    def instances(self, message_id: str | int = "") -> InstanceList:
        """Every instance and every load that waits for memory."""
        fleet = self._conductor.brain.fleet
        shown = [self.instance(instance) for instance in fleet.instances.values()]
        shown += [self._pending(load) for load in fleet.pending]
        return InstanceList(id=message_id, instances=tuple(shown))

    def instance(self, instance: Instance, message_id: str | int = "") -> InstanceInfo:
        """One instance as it stands."""
        now = time.monotonic()
        fleet = self._conductor.brain.fleet
        expiry = fleet.expiry(instance)
        state = instance.state
        ready = state if isinstance(state, Ready) else None
        reading = state if isinstance(state, Loading) and state.total_bytes else None
        return InstanceInfo(
            id=message_id,
            instance=instance.id,
            model=instance.model.name,
            device=instance.device,
            state=instance.state_name,
            pid=self._conductor.crew.pid(instance.id),
            memory_bytes=fleet.ledger.charge(instance.id),
            uptime_seconds=now - state.since,
            idle_seconds=_idle_seconds(instance, now),
            expires_in_seconds=None if expiry == FOREVER else max(0.0, expiry - now),
            load_seconds=ready.load_seconds if ready else None,
            requests=instance.served,
            queued=len(instance.model.queue) + len(instance.in_flight),
            pinned=instance.model.pinned,
            wait_seconds=self._conductor.brain.expected_wait(instance.model),
            loading_percent=100 * reading.read_bytes / reading.total_bytes if reading else None,
            loading_bytes=reading.read_bytes if reading else None,
            loading_total_bytes=reading.total_bytes if reading else None,
            tier=_tier(instance),
            dram_bytes=fleet.ledger.dram_charge(instance.id),
        )

    def _pending(self, load: PendingLoad) -> InstanceInfo:
        return InstanceInfo(
            instance=0,
            model=load.model.name,
            device=load.device or load.model.device,
            state="waiting",
            pid=None,
            memory_bytes=0,
            uptime_seconds=time.monotonic() - load.since,
            idle_seconds=0.0,
            expires_in_seconds=None,
            load_seconds=None,
            requests=0,
            queued=len(load.model.queue),
            pinned=load.model.pinned,
            wait_seconds=self._conductor.brain.expected_wait(load.model),
            tier="disk",
        )

    # Models

    def models(self, message_id: str | int) -> ModelList:
        """Every registered model."""
        infos = tuple(self.model(name) for name in sorted(self._registry.models))
        return ModelList(id=message_id, models=infos, damaged=self._registry.damaged)

    def model(self, name: str, message_id: str | int = "") -> ModelInfo:
        """One registered model.

        Raises:
            ModelNotFound: there is none of that name.
        """
        spec = self._registry.get(name)
        model = self._conductor.brain.models[name]
        fleet = self._conductor.brain.fleet
        instances = tuple(self.instance(instance) for instance in fleet.of(model))
        footprint, source = model.footprint(self._kind_for(model), self._conductor.brain.rules)
        return ModelInfo(
            id=message_id,
            model=spec,
            state=self._state(model),
            instances=instances,
            footprint_bytes=footprint,
            footprint_source=source,
            signature=self._conductor.instances.signature_of(name),
            last_error=self._conductor.statistics.of(name).last_error,
            tier=min((shown.tier for shown in instances), key=TIERS.index, default="disk"),
        )

    def estimate(self, spec: ModelSpec, model: Model, message_id: str | int) -> EstimateReport:
        """How a model, registered or not, would fare on each device."""
        brain = self._conductor.brain
        return EstimateReport(
            id=message_id,
            path=spec.path,
            runtime=spec.runtime,
            format=spec.format,
            weight_bytes=spec.weight_bytes,
            devices=tuple(map(self._fit, brain.outlook(model, time.monotonic()))),
        )

    def _fit(self, outlook: Outlook) -> DeviceFit:
        account = self._conductor.brain.fleet.ledger.accounts[outlook.device]
        return DeviceFit(
            device=outlook.device,
            need_bytes=outlook.need,
            source=outlook.source,
            fits=outlook.fits,
            capacity_bytes=account.capacity,
            free_bytes=max(0, account.usable()),
            evicts=outlook.evicts,
        )

    def _kind_for(self, model: Model) -> str:
        """The kind of device the model would most likely go to."""
        accounts = self._conductor.brain.fleet.ledger.accounts
        if model.device in accounts:
            return accounts[model.device].kind
        return next((account.kind for account in accounts.values()), "cpu")

    def _state(self, model: Model) -> str:
        fleet = self._conductor.brain.fleet
        states = {instance.state_name for instance in fleet.of(model)}
        if fleet.pending.get(model):
            states.add("waiting")
        return next((state for state in STATES if state in states), "unloaded")

    # Statistics

    def stats(self, name: str | None, message_id: str | int = "") -> StatsReport:
        """What was counted, of one model or of all.

        Raises:
            ModelNotFound: there is none of that name.
        """
        names = [self._registry.get(name).name] if name else sorted(self._registry.models)
        models = tuple(self._stats_of(model) for model in names)
        counted = self._conductor.statistics.by_model.values()
        return StatsReport(
            id=message_id,
            models=models,
            totals=StatsTotals(
                inference_count=sum(c.inference_count for c in counted),
                errors=sum(c.errors.total() for c in counted),
                loads=sum(c.loads for c in counted),
                evictions=sum(c.evictions for c in counted),
                crashes=sum(c.crashes for c in counted),
                cache_hits=sum(c.cache_hits for c in counted),
                cache_misses=sum(c.cache_misses for c in counted),
                cache_bytes=self._conductor.results.held,
                sleeps=sum(c.sleeps for c in counted),
                wakes=sum(c.wakes for c in counted),
            ),
        )

    def _stats_of(self, name: str) -> ModelStats:
        counters = self._conductor.statistics.of(name)
        brain = self._conductor.brain
        model = brain.models[name]
        instances = brain.fleet.of(model)
        return ModelStats(
            model=name,
            state=self._state(model),
            device=instances[0].device if instances else None,
            memory_bytes=sum(brain.fleet.ledger.charge(instance.id) for instance in instances),
            peak_memory_bytes=counters.peak_memory,
            inference_count=counters.inference_count,
            errors=dict(counters.errors),
            queued=len(model.queue) + sum(len(instance.in_flight) for instance in instances),
            average_latency_seconds=_mean(counters.latency_sum, counters),
            p50_latency_seconds=counters.percentile(0.50),
            p99_latency_seconds=counters.percentile(0.99),
            average_compute_seconds=_mean(counters.compute_sum, counters),
            requests_per_second=counters.rate(time.monotonic()),
            loads=counters.loads,
            evictions=counters.evictions,
            crashes=counters.crashes,
            last_load_seconds=counters.last_load_seconds,
            last_used_at=counters.last_used_at,
            cache_hits=counters.cache_hits,
            cache_misses=counters.cache_misses,
            cache_bytes=self._conductor.results.held_by(name),
            wait_seconds=brain.expected_wait(model),
            sleeps=counters.sleeps,
            wakes=counters.wakes,
            last_wake_seconds=counters.last_wake_seconds,
        )

    # Devices and health

    def devices(self, message_id: str | int = "") -> DeviceList:
        """Every device and how full it is."""
        readings = self._inventory.read()
        devices = tuple(
            self._device(device, readings.get(device.name)) for device in self._inventory.devices
        )
        return DeviceList(id=message_id, devices=devices, strategy=self._strategy)

    def _device(self, device: Device, reading: Reading | None) -> DeviceInfo:
        account = self._conductor.brain.fleet.ledger.accounts[device.name]
        gpu = None
        if device.hardware.kind != "cpu" and reading is not None:
            gpu = GpuReadings(
                utilization_percent=reading.utilization_percent,
                temperature_celsius=reading.temperature_celsius,
                power_watts=reading.power_watts,
            )
        return DeviceInfo(
            name=device.name,
            kind=device.hardware.kind,
            hardware=device.hardware.model,
            uuid=device.hardware.uuid,
            total_bytes=device.hardware.total_bytes,
            capacity_bytes=device.capacity_bytes,
            used_bytes=account.charged,
            foreign_bytes=account.foreign,
            free_bytes=max(0, account.usable()),
            available=reading is not None,
            cores=device.cores,
            utilization_percent=reading.utilization_percent if reading else None,
            gpu=gpu,
            standby=self._conductor.crew.standby.count(device.name),
        )

    def health(
        self, message_id: str | int = "", *, status: str = "ok", problems: tuple[str, ...] = ()
    ) -> HealthReport:
        """How the daemon is."""
        brain = self._conductor.brain
        return HealthReport(
            id=message_id,
            status=status,
            version=sired.__version__,
            pid=os.getpid(),
            uptime_seconds=time.monotonic() - self._started,
            memory_bytes=self._process.memory_info().rss,
            models=len(brain.models),
            instances=len(brain.fleet.instances),
            queued=brain.queues.waiting,
            socket=str(self._socket),
            python=platform.python_version(),
            problems=problems,
        )

    def top(self, message_id: str | int, health: HealthReport) -> TopReport:
        """Everything the live view draws."""
        return TopReport(
            id=message_id,
            health=health,
            devices=self.devices().devices,
            instances=self.instances().instances,
            stats=self.stats(None),
        )


def _mean(total: float, counters: Counters) -> float | None:
    return total / counters.inference_count if counters.inference_count else None


def _tier(instance: Instance) -> str:
    """Where an instance's weights are."""
    if instance.asleep or isinstance(instance.state, Waking):
        return "dram"
    return "disk" if isinstance(instance.state, Loading) else "device"


def _idle_seconds(instance: Instance, now: float) -> float:
    used = instance.asleep or (isinstance(instance.state, Ready) and not instance.at_work)
    return now - last_used(instance) if used else 0.0
