"""Devices, as clients see them."""

from sire.protocol.devices import DeviceInfo, DeviceList, GpuReadings, GroupInfo
from sired.daemon.services import Services
from sired.devices.base import Device, Reading


def devices(services: Services, message_id: str | int = "") -> DeviceList:
    """All devices and their memory, sampled now."""
    services.conductor.sample()
    readings = services.inventory.read()
    devices = tuple(
        _device(services, device, readings.get(device.name))
        for device in services.inventory.devices
    )
    return DeviceList(
        id=message_id,
        devices=devices,
        strategy=services.settings.placement.strategy,
        groups=tuple(_group(services, name) for name in services.settings.groups),
        problems=services.device_problems,
    )


def _device(services: Services, device: Device, reading: Reading | None) -> DeviceInfo:
    account = services.ledger.accounts[device.name]
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
        available=reading is not None and account.usable_now,
        cores=device.cores,
        utilization_percent=reading.utilization_percent if reading else None,
        gpu=gpu,
        standby=services.supervisor.standby.count(device.name),
        bounded_by=device.bounded_by,
    )


def _group(services: Services, name: str) -> GroupInfo:
    members = [i for i in services.fleet.instances.values() if i.model.group == name]
    return GroupInfo(
        name=name,
        memory_bytes=services.settings.groups[name].memory,
        used_bytes=sum(services.ledger.charge(member.id) for member in members),
        models=sum(model.group == name for model in services.models.values()),
    )
