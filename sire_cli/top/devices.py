"""Devices: a memory bar and the figures of each."""

from collections.abc import Sequence

from rich.text import Text

from sire.protocol.devices import DeviceInfo
from sire.protocol.replies import InstanceInfo
from sire_cli.top.colours import colours_of
from sire_cli.top.format import NOTHING, measured, size
from sire_cli.top.table import Column, Drawn, lay_out

USED, FOREIGN, FREE = "━", "╍", "─"

_COLUMNS = (
    Column("DEVICE", right=False, width=6),
    Column("HARDWARE", right=False, rank=5),
    Column("MEMORY", right=False, width=16, flexible=True),
    Column("USED", width=8),
    Column("OTHERS", rank=3, width=8),
    Column("FREE", width=8),
    Column("TOTAL", rank=1, width=8),
    Column("UTIL", rank=1, width=4),
    Column("TEMP", rank=2, width=4),
    Column("POWER", rank=2, width=5),
)


def device_lines(
    devices: Sequence[DeviceInfo], instances: Sequence[InstanceInfo], width: int
) -> list[Text]:
    """A heading and one line per device."""
    colours = colours_of(instance.model for instance in instances)
    rows = [_row(device, instances, colours) for device in devices]
    has_gpu = any(device.gpu for device in devices)
    shown = [i for i, c in enumerate(_COLUMNS) if has_gpu or c.title not in ("TEMP", "POWER")]
    return lay_out([_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows], width)


def _row(
    device: DeviceInfo, instances: Sequence[InstanceInfo], colours: dict[str, str]
) -> list[Text | Drawn]:
    gpu = device.gpu
    utilization = gpu.utilization_percent if gpu else device.utilization_percent
    shares = _shares(device, instances, colours)

    def bar(width: int) -> Text:
        if not device.available:
            return Text("unavailable", "red")
        return draw_bar(shares, width)

    return [
        Text(device.name, "bold"),
        Text(device.hardware),
        bar,
        size(device.used_bytes),
        size(_others_bytes(device)),
        size(device.free_bytes),
        size(device.capacity_bytes),
        measured(utilization, "%"),
        measured(gpu.temperature_celsius, "°C") if gpu else NOTHING,
        measured(gpu.power_watts, " W") if gpu else NOTHING,
    ]


def _others_bytes(device: DeviceInfo) -> int:
    """Capacity that other processes make unusable; the parts of the bar add up to its whole."""
    return max(0, device.capacity_bytes - device.used_bytes - device.free_bytes)


Share = tuple[int, str, str]


def _shares(
    device: DeviceInfo, instances: Sequence[InstanceInfo], colours: dict[str, str]
) -> list[Share]:
    """The parts of a memory bar as (bytes, glyph, style), from left to right."""
    resident = [one for one in instances if one.device == device.name and one.memory_bytes]
    resident.sort(key=lambda one: (-one.memory_bytes, one.model, one.instance))
    shares = [(one.memory_bytes, USED, colours[one.model]) for one in resident]
    unattributed = device.used_bytes - sum(one.memory_bytes for one in resident)
    return [
        *shares,
        (max(0, unattributed), USED, ""),
        (_others_bytes(device), FOREIGN, "dim"),
        (device.free_bytes, FREE, "dim"),
    ]


def draw_bar(shares: Sequence[Share], width: int) -> Text:
    """A bar of exactly ``width`` cells; even a small model gets a cell if there is room."""
    total = sum(amount for amount, _, _ in shares)
    if not total:
        return Text(FREE * width, "dim")
    bar, summed, end = Text(), 0, 0
    for amount, glyph, style in shares:
        summed += amount
        least = end + 1 if amount and glyph == USED else end
        stop = max(round(width * summed / total), min(least, width))
        bar.append(glyph * (stop - end), style)
        end = stop
    return bar
