"""Instances, as clients see them."""

import time

from sire.protocol.replies import InstanceInfo, InstanceList
from sire.units import FOREVER
from sired.daemon.services import Services
from sired.scheduler.entities.instance import Instance, Loading, Ready, Waking, last_used
from sired.scheduler.entities.pending import PendingLoad


def instances(services: Services, message_id: str | int = "") -> InstanceList:
    """All instances, and the loads that wait for memory."""
    fleet = services.fleet
    shown = [instance(services, each) for each in fleet.instances.values()]
    shown += [_pending(services, load) for load in services.pending_loads]
    return InstanceList(id=message_id, instances=tuple(shown))


def instance(services: Services, instance: Instance, message_id: str | int = "") -> InstanceInfo:
    """The current state of one instance."""
    now = time.monotonic()
    fleet = services.fleet
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
        pid=services.supervisor.pid(instance.id),
        memory_bytes=services.ledger.charge(instance.id),
        uptime_seconds=now - state.since,
        idle_seconds=_idle_seconds(instance, now),
        expires_in_seconds=None if expiry == FOREVER else max(0.0, expiry - now),
        load_seconds=ready.load_seconds if ready else None,
        requests=instance.served,
        queued=len(instance.model.queue) + len(instance.in_flight),
        pinned=instance.model.pinned,
        wait_seconds=services.brain.expected_wait(instance.model),
        loading_percent=100 * reading.read_bytes / reading.total_bytes if reading else None,
        loading_bytes=reading.read_bytes if reading else None,
        loading_total_bytes=reading.total_bytes if reading else None,
        tier=tier(instance),
        dram_bytes=services.ledger.dram_charge(instance.id),
        changed_files=services.instances.changed_files(instance.id),
        addresses=services.gateways.addresses_of(instance.model.name),
    )


def _pending(services: Services, load: PendingLoad) -> InstanceInfo:
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
        wait_seconds=services.brain.expected_wait(load.model),
        tier="disk",
        addresses=services.gateways.addresses_of(load.model.name),
    )


def tier(instance: Instance) -> str:
    """Where an instance's weights are: "device", "dram" or "disk"."""
    if instance.asleep or isinstance(instance.state, Waking):
        return "dram"
    return "disk" if isinstance(instance.state, Loading) else "device"


def _idle_seconds(instance: Instance, now: float) -> float:
    used = instance.asleep or (isinstance(instance.state, Ready) and not instance.at_work)
    return now - last_used(instance) if used else 0.0
