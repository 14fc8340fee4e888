"""``sire devices``."""

from sire.protocol.replies import DeviceInfo, DeviceList
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


def devices(json: AsJson = False) -> None:
    """List devices with their memory and utilization."""
    reply = expect(DeviceList, Devices())
    if json:
        print_json(reply)
        return
    print_table(_COLUMNS, [_row(device) for device in reply.devices])
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
