"""``sire devices``."""

from sire.protocol.devices import DeviceInfo, DeviceList, GroupInfo
from sire.protocol.requests import Devices
from sire.units import format_bytes
from sire_cli.daemon_connection import expect
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

_COLUMNS = (
    "DEVICE",
    "KIND",
    "TOTAL>",
    "CAPACITY>",
    "USED>",
    "OTHERS>",
    "FREE>",
    "UTIL>",
    "BOUNDED BY",
    "HARDWARE",
)
_GROUP_COLUMNS = ("GROUP", "MODELS>", "MEMORY>", "USED>")


def devices(json: AsJson = False) -> None:
    """List devices and groups of models with their memory."""
    reply = expect(DeviceList, Devices())
    if json:
        print_json(reply)
        return
    print_table(_COLUMNS, [_row(device) for device in reply.devices])
    if reply.groups:
        print_table(_GROUP_COLUMNS, [_group_row(group) for group in reply.groups])
    for problem in reply.problems:
        print_message(f"! {problem}")
    print_message(f"Placement strategy: {reply.strategy}")


def _row(device: DeviceInfo) -> tuple[str, ...]:
    utilization = device.utilization_percent
    return (
        device.name,
        device.kind if device.available else f"{device.kind} (unavailable)",
        format_bytes(device.total_bytes),
        format_bytes(device.capacity_bytes),
        format_bytes(device.used_bytes),
        format_bytes(device.foreign_bytes),
        format_bytes(device.free_bytes),
        "" if utilization is None else f"{utilization:.0f} %",
        device.bounded_by,
        device.hardware,
    )


def _group_row(group: GroupInfo) -> tuple[str, ...]:
    return (
        group.name,
        str(group.models),
        format_bytes(group.memory_bytes),
        format_bytes(group.used_bytes),
    )
